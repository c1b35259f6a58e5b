"""How tokens and shares are written in charts."""


def plain(text: str) -> str:
    """Text for plotly, which reads a little HTML in labels: here nothing of it is a tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quoted(token: str) -> str:
    """A shown token in quotes, for plotly: 'e'."""
    return f"'{plain(token)}'"


def percent(share: float) -> str:
    """A share as a person says it: 62 %, 3.4 %, less than 0.1 %."""
    if share >= 0.0995:
        return f"{share * 100:.0f} %"
    if share >= 0.001:
        return f"{share * 100:.1f} %"
    return "less than 0.1 %" if share else "0 %"
