"""Questions whose answer is computed, at the moment it is checked, from what the step works with."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import streamlit as st

from core.formatting import decimal
from explorer.learn.lab import Lab
from explorer.widgets import session
from explorer.widgets.layout import literal

_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_DECIMAL = re.compile(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)


class Question(NamedTuple):
    """One question. Its words are the parts "question", "right" and "wrong" of the step.

    `{answer}` in them is the right answer, `{given}` the learner's.
    """

    answer: Callable[[Lab], Any]  # what is true on this text and this model
    show: Callable[[Lab, Any], None] | None = None  # the picture that explains it, for (lab, given)
    options: Callable[[Lab], Sequence[str]] | None = None  # to choose from; None asks for a number
    named: bool = False  # the options are names of parts of the step, which say them; else they come from a text
    tolerance: float = 0.0  # how far a number may be off
    more: Callable[[Lab], dict[str, Any]] | None = None  # further numbers for its words, known once the step is drawn


def check(question: Question, lab: Lab, given: Any) -> bool:
    """Whether an answer is right."""
    truth = question.answer(lab)
    return given == truth if question.options else abs(given - truth) <= question.tolerance + 1e-9


def draw_question(question: Question, lab: Lab) -> bool:
    """The question, a place for the answer, and after the check the sentence and the picture. Whether it was right."""
    kept = f"answer-{lab.lesson}-{lab.step}"
    more = question.more(lab) if question.more else {}
    st.markdown(lab.say("question", **more))
    key = f"question-{lab.lesson}-{lab.step}-{lab.material.name}"
    with st.form(key, border=False, enter_to_submit=True):
        if question.options:
            given = st.radio(
                lab.word("your_answer"), list(question.options(lab)), index=None, key=f"{key}-given",
                format_func=lab.plain if question.named else literal,
                label_visibility="collapsed",
            )  # fmt: skip
        else:
            typed = st.text_input(lab.word("your_answer"), key=f"{key}-given", width=220, max_chars=40)
            given = number_typed(typed)
        if st.form_submit_button(lab.word("check"), key=f"{key}-check"):
            session.remember(kept, (lab.key, given))
            if given is None and not question.options:
                st.caption(lab.word("no_number"))
    checked = session.recall(kept)
    if not checked or checked[0] != lab.key or checked[1] is None:
        return False
    return _told(question, lab, checked[1])


def _told(question: Question, lab: Lab, given: Any) -> bool:
    truth = question.answer(lab)
    right = check(question, lab, given)
    more = question.more(lab) if question.more else {}
    said = {"answer": _shown(truth, question, lab), "given": _shown(given, question, lab)}
    words = lab.say("right" if right else "wrong", **more, **said)
    if right:
        st.success(f"**{lab.word('right')}** {words}", icon=":material/check:")
    else:
        st.warning(f"**{lab.word('wrong')}** {words}", icon=":material/search:")
        if question.show:
            question.show(lab, given)
    return right


def _shown(value: Any, question: Question, lab: Lab) -> str:
    if question.options:
        return lab.plain(value) if question.named else str(value)
    return decimal(value, 2 if question.tolerance else 0)


def number_typed(typed: str) -> float | None:
    """A number as people type it: 4.17, 4,17, 0,125, 1,204 or 1/5; None for anything else.

    A comma followed by three digits parts thousands where a number written so could have any: not in 0,125.
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
