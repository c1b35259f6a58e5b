"""A passage that is guessed letter by letter on the keyboard."""

from collections.abc import Sequence

from core.text.display import visible
from explorer.charts.palette import both_palettes
from explorer.components._assets import component

_board = component("guess_board", js=["mount.js", "guess_board.js"], css=["guess_board.css"])


def guess_board(
    before: str, found: Sequence[str], guesses: Sequence[int], left: int, wrong: Sequence[str], *,
    words: dict[str, str], key: str,
) -> str | None:  # fmt: skip
    """Draw the passage as far as it is known, and return the character typed just now.

    Args:
        before: the text in front of it.
        found: the letters known by now.
        guesses: how many each of those took; 0 for one that was given up.
        left: how many are still to be guessed.
        wrong: what was tried for the next one, and is wrong.
        words: "field", the label of the field to type in; "tried", before what was tried.
        key: as of any widget; another game has another one.
    """
    typed = _board(
        key=key,
        data={
            "before": before,
            "found": [visible(letter) for letter in found],
            "guesses": list(guesses),
            "left": left,
            "wrong": [visible(letter) for letter in wrong],
            "words": words,
            "palettes": both_palettes(),
        },
        on_guess_change=_nothing,
    ).guess
    return typed[:1] if isinstance(typed, str) else None


def _nothing() -> None:
    """Streamlit reports a value only for events that have a callback."""
