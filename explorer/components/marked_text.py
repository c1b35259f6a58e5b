"""Texts whose letters are shaded by an amount, with words for the letter that is pointed at."""

from collections.abc import Sequence
from typing import NamedTuple

from explorer.charts.palette import both_palettes
from explorer.components.bundle import component
from explorer.i18n.units import worded

_marked = component("marked_text", "text/marked.js", "text/marked.css")


class MarkedRow(NamedTuple):
    """One text of T tokens."""

    tokens: Sequence[str]  # the text of each, "" where it ends within a character
    shades: Sequence[float]  # 0 to 1
    words: Sequence[str]  # what is said of each when it is pointed at; "" says the note
    lead: str = ""  # a few letters in front of it
    strong: int | None = None  # the token with a ring around it


def marked_text(rows: Sequence[MarkedRow], *, note: str, key: str, breaks: bool = False) -> None:
    """Draw the texts below each other.

    Args:
        note: shown below until something is pointed at.
        breaks: whether a newline also begins a new line.
    """
    _marked(
        key=key,
        data={
            "rows": [
                {
                    "lead": row.lead,
                    "tokens": list(row.tokens),
                    "shades": [round(float(shade), 3) for shade in row.shades],
                    "words": list(row.words),
                    "strong": row.strong,
                }
                for row in rows
            ],
            "note": worded(note),
            "breaks": breaks,
            "palettes": both_palettes(),
        },
    )
