"""Text as tokens: shaded by probabilities or other amounts, above their ids, as the examples of a batch, and merged."""

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

    text: str  # the text it completes: "" if it ends within a character
    visible: str
    p: float  # the model's probability, before temperature and truncation
    sampled: NotRequired[float]  # its probability after both, if any was used
    alternatives: list[tuple[str, float, str]]  # the top tokens, best first: as displayed, probability, text


def token_text(
    *, prompt: str, go: str, key: str, url: str | None = None, tokens: Sequence[WrittenToken] = (), total: int = 0,
    on_branch: Callable[[], None] | None = None,
) -> None:  # fmt: skip
    """Show `tokens`, or stream at most `total` from `url`; another `go` starts another text.

    `on_branch` is called when an alternative is clicked; the state is {"branch": text up to and with the alternative}.
    """
    data = {"prompt": prompt, "go": go, "url": url, "tokens": list(tokens), "total": total, "unit": unit()}
    options = {"on_branch_change": on_branch} if on_branch else {}
    _text("generated", data | {"branches": on_branch is not None}, key=key, **options)


class MarkedRow(NamedTuple):
    """One text of T tokens."""

    tokens: Sequence[str]  # the text of each, "" if it ends within a character
    shades: Sequence[float]  # 0 to 1
    words: Sequence[str]  # shown when a token is pointed at; "" shows the note
    lead: str = ""  # a few letters before the text
    strong: int | None = None  # the token with a ring around it


def marked_text(rows: Sequence[MarkedRow], *, note: str, key: str, breaks: bool = False) -> None:
    """Draw texts below each other, and a note until a token is pointed at; `breaks`: a newline starts a new line."""
    drawn = [row._asdict() | {"shades": [round(float(shade), 3) for shade in row.shades]} for row in rows]
    _text("marked", {"rows": drawn, "note": in_units(note), "breaks": breaks}, key=key)


def token_strip(
    text: Sequence[str], ids: Sequence[int | None], *, note: str, key: str, bytes_of: Sequence[bytes] = ()
) -> None:
    """Show each token above its id and bytes, in the color of its kind; a token without an id is drawn hollow."""
    data = {"tokens": list(map(visible, text)), "ids": list(ids), "kinds": list(map(kind_of, text)), "note": note}
    _tokens("strip", data | {"bytes": [data.hex(" ").upper() for data in bytes_of]}, key=key)


def token_pairs(x: list[list[int]], y: list[list[int]], tokens: Sequence[str], *, key: str) -> None:
    """Draw a batch of ids (B, T) and, for the selected row, every context with the token that follows it."""
    used = sorted({id for rows in (x, y) for row in rows for id in row})
    shown = {str(id): visible(tokens[id]) for id in used}
    _tokens("pairs", {"x": x, "y": y, "tokens": shown, "kinds": {str(id): kind_of(tokens[id]) for id in used}}, key=key)


class MergeFilm(NamedTuple):
    """The effect of merges on a text, as assets/components/merges/view.js draws it."""

    pairs: str  # base64 of uint16 (K, 2)
    counts: str  # base64 of uint32 (K,)
    bytes: list[int]  # of the first tokens
    names: list[str]  # of all tokens, as displayed
    passage: list[int]  # after all merges
    length: int  # of the whole text, bytes


def merge_film(film: MergeFilm, *, parameters: Sequence[int], start: int, key: str) -> None:
    """Draw a slider over all merges and the tokens of the passage, initially after `start` merges.

    `parameters`: their number with one token, what the second token adds, and how much more the third adds.
    """
    _merges("", film._asdict() | {"parameters": list(parameters), "start": start}, key=key)
