"""What one step of a lesson consists of, and its question."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import streamlit as st

from core.formatting import decimal
from explorer.learn.state import StepState
from explorer.widgets import session
from explorer.widgets.layout import literal

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_DECIMAL = re.compile(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)


class Question(NamedTuple):
    """One question. Its words are the parts "question", "right" and "wrong" of the step.

    They may use `{answer}`, the right answer, and `{given}`, the learner's.
    """

    answer: Callable[[StepState], Any]  # the right answer for this text and model
    show: Callable[[StepState, Any], None] | None = None  # explains a wrong answer, given the response
    options: Callable[[StepState], Sequence[str]] | None = None  # None asks for a number
    named: bool = False  # the options name parts of the step's words; else they are text
    tolerance: float = 0.0  # how far a number may be off
    more: Callable[[StepState], dict[str, Any]] | None = None  # further numbers for its words


def draw_question(question: Question, state: StepState) -> bool:
    """Draw the question, its form and, after the check, the verdict. Return whether the answer was right."""
    slot = f"answer-{state.lesson}-{state.step}"
    more = question.more(state) if question.more else {}
    state.write("question", **more)
    key = f"question-{state.lesson}-{state.step}-{state.data.name}"
    with st.form(key, border=False, enter_to_submit=True):
        if question.options:
            response = st.radio(
                state.word("your_answer"), list(question.options(state)), index=None, key=f"{key}-given",
                format_func=state.label if question.named else literal,
                label_visibility="collapsed",
            )  # fmt: skip
        else:
            typed = st.text_input(state.word("your_answer"), key=f"{key}-given", width=220, max_chars=40)
            response = number_typed(typed)
        if st.form_submit_button(state.word("check"), key=f"{key}-check"):
            session.remember(slot, (state.key, response))
            if response is None and not question.options:
                st.caption(state.word("no_number"))
    checked = session.recall(slot)
    if not checked or checked[0] != state.key or checked[1] is None:
        return False
    return _draw_verdict(question, state, checked[1], more)


def _draw_verdict(question: Question, state: StepState, response: Any, more: dict[str, Any]) -> bool:
    correct = question.answer(state)
    right = response == correct if question.options else abs(response - correct) <= question.tolerance + 1e-9
    values = {"answer": _shown(correct, question, state), "given": _shown(response, question, state)}
    words = state.markdown("right" if right else "wrong", **more, **values)
    if right:
        st.success(f"**{state.word('right')}** {words}", icon=":material/check:")
    else:
        st.warning(f"**{state.word('wrong')}** {words}", icon=":material/search:")
        if question.show:
            question.show(state, response)
    return right


def _shown(value: Any, question: Question, state: StepState) -> str:
    if question.options:
        return state.label(value) if question.named else str(value)
    return decimal(value, 2 if question.tolerance else 0)


def redraw_button(state: StepState, slot: str, word: str = "again", key: str = "lesson_again") -> int:
    """Draw a button that asks for another random draw; return how often it was clicked."""
    count = session.recall(slot, 0)
    st.button(state.word(word), icon=":material/casino:", key=key, on_click=session.remember, args=(slot, count + 1))
    return count


def number_typed(typed: str) -> float | None:
    """Parse a number as people type it: 4.17, 4,17, 0,125, 1,204 or 1/5; None for anything else.

    A comma followed by three digits separates thousands, except after a leading 0.
    """
    parts = [_decimal(part) for part in "".join(typed.split()).replace("−", "-").split("/")]
    if None in parts or len(parts) > 2:
        return None
    number = parts[0]
    if len(parts) == 2:
        if not parts[1]:
            return None
        number /= parts[1]
    return number if abs(number) < 1e18 else None


def _decimal(text: str) -> float | None:
    plain = text.replace(",", "") if _THOUSANDS.fullmatch(text) else text.replace(",", ".")
    return float(plain) if _DECIMAL.fullmatch(plain) else None


class Step(NamedTuple):
    """One step: its words are in `core/lessons/text/<language>/<lesson>/<name>.md`, its code in `core.lessons`."""

    name: str
    draw: Callable[[StepState], None]  # controls and result; raises StillComputing
    code: tuple[Callable, ...] = ()  # functions whose source is shown
    question: Question | None = None
    numbers: Callable[[StepState], Mapping[str, Any]] = lambda state: {}  # fill the placeholders of its words
