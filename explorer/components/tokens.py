"""A text as tokens over their numbers, and a batch as the examples hidden in it."""

from collections.abc import Mapping, Sequence

from core.text.token_display import kind_of, visible
from explorer.components.bundle import component

_tokens = component("tokens")


def token_strip(text: Sequence[str], ids: Mapping[str, int], *, note: str, key: str) -> None:
    """Show each token over its number, in the colour of its kind.

    Args:
        text: the tokens in order.
        ids: every known token's number; a token that is not in it is drawn hollow, without one.
        note: shown below until something is pointed at.
    """
    _tokens(
        "strip",
        {
            "tokens": [visible(token) for token in text],
            "ids": [ids.get(token) for token in text],
            "kinds": [kind_of(token) for token in text],
            "note": note,
        },
        key=key,
    )


def token_pairs(x: Sequence[Sequence[int]], y: Sequence[Sequence[int]], tokens: Sequence[str], *, key: str) -> None:
    """Draw a batch and, for the row that is picked, every context in it with the token that follows.

    Args:
        x, y: token ids (B, T); y is x moved on by one.
        tokens: all tokens of the tokenizer; ids count into it.
    """
    used = sorted({id for rows in (x, y) for row in rows for id in row})
    _tokens(
        "pairs",
        {
            "x": [list(row) for row in x],
            "y": [list(row) for row in y],
            "tokens": {str(id): visible(tokens[id]) for id in used},
            "kinds": {str(id): kind_of(tokens[id]) for id in used},
        },
        key=key,
    )
