"""Text whose tokens are shaded: by their probabilities as a model generates it, or by any amounts."""

from collections.abc import Sequence
from typing import NamedTuple, TypedDict

from explorer.components.bundle import component
from explorer.i18n.units import unit, worded

_text = component("text")


class WrittenToken(TypedDict):
    """One token as assets/components/text/view.js draws it and the route `api/runs/{id}/generate` sends it."""

    text: str  # what it completes: "" where it ends within a character
    visible: str
    p: float  # what the model gave it, before temperature and cuts
    alternatives: list[tuple[str, float]]  # the likeliest tokens as shown, best first


def token_text(
    *,
    prompt: str,
    go: str,
    key: str,
    url: str | None = None,
    tokens: Sequence[WrittenToken] = (),
    total: int = 0,
) -> None:
    """Show tokens that are there already, or let them stream in from `url`.

    Args:
        prompt: what the text continues; shown in front of it and copied with it.
        go: a word that changes when a new text is asked for; while it stays, reruns of the page leave the text alone.
        url: relative to the page, of a stream of `token`, `problem` and `end` events.
        tokens: all of them, where they are known already.
        total: how many tokens the stream will bring at most.
    """
    _text(
        "generated",
        {
            "prompt": prompt,
            "go": go,
            "url": url,
            "tokens": list(tokens),
            "total": total,
            "unit": unit(),
        },
        key=key,
    )


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
    _text(
        "marked",
        {
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
        },
        key=key,
    )
