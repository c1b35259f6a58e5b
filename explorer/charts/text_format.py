"""How tokens and shares are written in charts."""

from collections.abc import Iterable

from core import formatting
from core.text import token_display
from explorer.i18n.language import _


def plain(text: str) -> str:
    """Escape text for plotly, which reads some HTML tags in labels."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quoted_for_plotly(token: str) -> str:
    """Return a displayed token in quotes, escaped for plotly: 'e'."""
    return plain(token_display.quoted(token))


def percent(share: float) -> str:
    """Return `core.formatting.format_percent` in the current language."""
    return _("less than 0.1%") if 0 < share < 0.001 else formatting.format_percent(share)


def stage_words(stages: int) -> list[str]:
    """Return the stages of a model from the bottom up, in the current language: the embedding, then each block."""
    return [_("embedding"), *(_("block {block}", block=block) for block in range(1, stages))]


def short(letters: str) -> str:
    """Return the letters of a group; if there are many, the first few and the last."""
    return letters if len(letters) <= 9 else f"{letters[:5]}…{letters[-1]}"


def cut(token: str, most: int = 8) -> str:
    """Shorten a displayed token to fit into a cell."""
    return token if len(token) <= most else token[: most - 1] + "…"


def least_width_for(tokens: Iterable[str], columns: int) -> int | None:
    """Return the width in pixels of a chart with one column per token; None if all tokens are letters."""
    longest = max((min(8, len(token)) for token in tokens), default=1)
    return None if longest <= 2 else 110 + columns * (12 + 8 * longest)
