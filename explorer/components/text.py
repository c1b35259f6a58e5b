"""Text as tokens: shaded by their probabilities or any amounts, over their numbers, and as the examples of a batch."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, NotRequired, TypedDict

from core.text.token_display import kind_of, visible
from explorer.components.modules import Component
from explorer.i18n.language import in_units, unit

_text = Component("text")
_tokens = Component("tokens")
_merges = Component("merges")


class WrittenToken(TypedDict):
    """One token as assets/components/text/view.js draws it and the route `api/runs/{id}/generate` sends it."""

    text: str  # what it completes: "" where it ends within a character
    visible: str
    p: float  # what the model gave it, before temperature and cuts
    sampled: NotRequired[float]  # its probability after them, where it was sampled with any
    alternatives: list[tuple[str, float, str]]  # the likeliest tokens, best first: as shown, probability, text


def token_text(
    *, prompt: str, go: str, key: str, url: str | None = None, tokens: Sequence[WrittenToken] = (), total: int = 0,
    on_branch: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """Show tokens that are there, or let at most `total` stream in from `url`; another `go` begins another text.

    `on_branch` is called when an alternative is clicked, with {"branch": the text before it and its own} as the state.
    """
    data = {"prompt": prompt, "go": go, "url": url, "tokens": list(tokens), "total": total, "unit": unit()}
    options = {"on_branch_change": on_branch} if on_branch else {}
    _text("generated", data | {"branches": on_branch is not None}, key=key, **options)


class MarkedRow(NamedTuple):
    """One text of T tokens."""

    tokens: Sequence[str]  # the text of each, "" where it ends within a character
    shades: Sequence[float]  # 0 to 1
    words: Sequence[str]  # what is said of each when it is pointed at; "" says the note
    lead: str = ""  # a few letters in front of it
    strong: int | None = None  # the token with a ring around it


def marked_text(rows: Sequence[MarkedRow], *, note: str, key: str, breaks: bool = False) -> None:
    """Draw texts below each other, and a note until something is pointed at; `breaks`: a newline begins a line."""
    drawn = [row._asdict() | {"shades": [round(float(shade), 3) for shade in row.shades]} for row in rows]
    _text("marked", {"rows": drawn, "note": in_units(note), "breaks": breaks}, key=key)


def token_strip(
    text: Sequence[str], ids: Sequence[int | None], *, note: str, key: str, bytes_of: Sequence[bytes] = ()
) -> None:
    """Show each token over its number and its bytes, in the color of its kind; one without a number is drawn hollow."""
    data = {"tokens": list(map(visible, text)), "ids": list(ids), "kinds": list(map(kind_of, text)), "note": note}
    _tokens("strip", data | {"bytes": [data.hex(" ").upper() for data in bytes_of]}, key=key)


def token_pairs(x: list[list[int]], y: list[list[int]], tokens: Sequence[str], *, key: str) -> None:
    """Draw a batch of ids (B, T) and, for the row that is picked, every context in it with the token that follows."""
    used = sorted({id for rows in (x, y) for row in rows for id in row})
    shown = {str(id): visible(tokens[id]) for id in used}
    _tokens("pairs", {"x": x, "y": y, "tokens": shown, "kinds": {str(id): kind_of(tokens[id]) for id in used}}, key=key)


class MergeFilm(NamedTuple):
    """What merges do to a text, as assets/components/merges/view.js draws it."""

    pairs: str  # base64 of uint16 (K, 2)
    counts: str  # base64 of uint32 (K,)
    bytes: list[int]  # of the first tokens
    names: list[str]  # of all tokens, as they are shown
    passage: list[int]  # after all merges
    length: int  # of the whole text, bytes


def merge_film(film: MergeFilm, *, parameters: Sequence[int], start: int, key: str) -> None:
    """Draw a slider over all merges and the passage in its tokens, at first after `start` of them.

    `parameters` are those of the model with one token, how many the second adds, and how many more the third.
    """
    _merges("", film._asdict() | {"parameters": list(parameters), "start": start}, key=key)
