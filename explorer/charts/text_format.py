"""How tokens and shares are written in charts."""

from collections.abc import Iterable

from core import formatting
from core.text import token_display
from explorer.i18n.language import _


def plain(text: str) -> str:
    """Return text for plotly, which reads a little HTML in labels, so that nothing of it is a tag."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def quoted_for_plotly(token: str) -> str:
    """Return a shown token in quotes, for plotly: 'e'."""
    return plain(token_display.quoted(token))


def percent(share: float) -> str:
    """Return `core.formatting.format_percent` in the language on view."""
    return _("less than 0.1%") if 0 < share < 0.001 else formatting.format_percent(share)


def stage_words(stages: int) -> list[str]:
    """Return the stages of a model from the bottom up, in the language on view: the embedding, then each block."""
    return [_("embedding"), *(_("block {block}", block=block) for block in range(1, stages))]


def short(letters: str) -> str:
    """Return the letters of a group, or where they are many, the first few and the last."""
    return letters if len(letters) <= 9 else f"{letters[:5]}…{letters[-1]}"


def cut(token: str, most: int = 8) -> str:
    """Return a shown token short enough for a cell."""
    return token if len(token) <= most else token[: most - 1] + "…"


def least_width_for(tokens: Iterable[str], columns: int) -> int | None:
    """Return the pixels of width that a chart with a column a token needs; None where all tokens are letters."""
    longest = max((min(8, len(token)) for token in tokens), default=1)
    return None if longest <= 2 else 110 + columns * (12 + 8 * longest)
