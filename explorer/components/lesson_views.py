"""The steps of a lesson as links, and a passage to be guessed letter by letter on the keyboard."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import streamlit as st

from core.text.token_display import visible
from explorer.components.modules import Component

_TAKEN = "taken-"  # prefix of the session key that has the number of the last letter handled
_board = Component("guess_board")
_path = Component("lesson_path")


def lesson_path(
    lesson: str, steps: Sequence[tuple[str, str, str]], *, here: str | None, right: Collection[str], label: str,
    key: str, listed: bool = False, resume: str = "",
) -> str | None:  # fmt: skip
    """Draw the steps, as a list or a row of dots, and return the one just clicked.

    The browser remembers the steps opened (`here`) and mastered (`right`). Without `here` it stores
    nothing, and marks the step that was last opened with the words of `resume`.
    """
    data = {"lesson": lesson, "steps": list(map(list, steps)), "here": here, "right": sorted(right)}
    words = {"label": label, "listed": listed, "resume": resume}
    clicked = _path(key=key, data=data | words, triggers=["step"]).step
    return str(clicked) if clicked in {name for name, _title, _url in steps} else None


def guess_board(
    before: str, known: Sequence[str], guesses: list[int], left: int, wrong: Sequence[str], *,
    note: str, words: dict[str, str], key: str, on_guess: Callable[[str], None],
) -> None:  # fmt: skip
    """Draw the known part of the passage with the number of guesses for each letter, 0 if it was revealed.

    `on_guess` is called with each character typed, before the page reruns.
    """
    shown = {"before": before, "known": list(map(visible, known)), "guesses": guesses, "left": left}
    tried = {"wrong": list(map(visible, wrong)), "note": note, "taken": st.session_state.get(_TAKEN + key)}
    _board(key=key, data=shown | tried | {"words": words}, on_guess_change=partial(_typed, key, on_guess))


def _typed(key: str, on_guess: Callable[[str], None]) -> None:
    """Handle each typed letter once: they are numbered, because the browser may send one twice."""
    typed = st.session_state[key].get("guess")
    letter, number = (typed.get("letter"), typed.get("number")) if isinstance(typed, Mapping) else (None, None)
    if isinstance(letter, str) and letter and number != st.session_state.get(_TAKEN + key):
        st.session_state[_TAKEN + key] = number
        on_guess(letter[0])
