"""A lesson on paper: its questions and the answers that the lesson computes for a text.

Each step is drawn without a browser, with the initial values of its controls. The printed answer comes from the same
results as the check on the page.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

import streamlit as st
from cachetools import LRUCache

from core.errors import ExplorerError
from core.interpretability import Progress
from core.lessons.lesson_text import without_links
from explorer.i18n.language import _, in_units
from explorer.learn.state import FIRST_TEXT, StepState, StillComputing, fitted_value, load_data
from explorer.learn.steps import Question, Step, correct_answer
from explorer.services import shared
from explorer.services.jobs import job, known
from explorer.services.visitors import visitor
from explorer.widgets.layout import literal

WORKSHEET, GUIDE = "worksheet", "guide"
_MAX_PRINTED = 512  # steps


class PrintedStep(NamedTuple):
    """A step as printed; all texts except the problem are Markdown."""

    name: str
    title: str
    questions: Sequence[Question] = ()
    why: str = ""  # explains the answer
    more: str = ""  # what to try afterwards
    expect: str = ""  # what a teacher may expect
    objection: str = ""  # what somebody may ask, with a reply
    problem: str = ""  # why there is no answer
    is_ready: bool = False  # otherwise still being computed


class _PaperState(StepState):
    """A step's state for printing: controls keep their first values, and `compute` does not wait for a result."""

    may_begin = True

    def value(self, _name: str, default: Any, widget: Callable, _label: str, *args: Any, **options: Any) -> Any:
        return fitted_value(default, default, widget.__name__, args, options)

    def compute(self, key: tuple, make: Callable[[], Iterator[Progress]], *_options: Any) -> Any:
        whole = (*self.key, *key)
        current = known(whole)
        if current is None and not self.may_begin:
            raise StillComputing
        current = current or job(whole, make)
        if current.ended and current.stopped:  # because nobody watched it any more
            current = job(whole, make)
        current.watch()
        if current.problem:
            raise ExplorerError(_(current.problem))
        if not current.ended:
            raise StillComputing
        return current.result

    def linked(self, text: str) -> str:
        return without_links(text)


_printed: LRUCache[tuple, PrintedStep] = LRUCache(_MAX_PRINTED)


def printed_steps(lesson: str, steps: Mapping[str, Step], text: str, language: str) -> list[PrintedStep]:
    """Return the steps of a lesson as printed. Call it again if a step is not ready.

    Raises ExplorerError for a text that lessons cannot read. Only one thread may call it at a time.
    """
    may_begin, printed = True, []
    for step in steps.values():
        data = load_data(text if step.uses_text else FIRST_TEXT, shared.data_dir())
        key = (data.name, hash(data.text), lesson, step.name, language)
        if not (made := _printed.get(key)):
            state = _PaperState(lesson, step.name, data, language)
            state.may_begin = may_begin  # one computation at a time, because a class may be working too
            made = _print(step, state)
            if made.is_ready:
                _printed[key] = made
            may_begin = may_begin and (made.is_ready or bool(made.problem))
        printed.append(made)
    return printed


def _print(step: Step, state: StepState) -> PrintedStep:
    notes = {part: state.markdown(part) for part in ("expect", "objection")}
    made = PrintedStep(step.name, in_units(state.prose.title), **notes)
    try:
        state.numbers.update(step.numbers(state))
        if step.predicted:
            questions, why = step.predicted(state)
        else:
            step.draw(state)
            questions, why = _question_of(step, state)
        more = state.markdown("try")
    except StillComputing:
        return made
    except ExplorerError as error:
        return made._replace(problem=str(error))
    return made._replace(questions=questions, why=why, more=more, is_ready=True)


def _question_of(step: Step, state: StepState) -> tuple[list[Question], str]:
    state.numbers |= step.more(state)
    correct, shown = correct_answer(step, state)
    choices = step.named or step.options
    options = [literal(shown(option)) for option in choices(state)] if choices else []
    question = Question(state.markdown("question"), options, literal(shown(correct)))
    return [question], state.markdown("right", answer=shown(correct), given=shown(correct))


def draw_paper_links(lesson: str, text: str = FIRST_TEXT, language: str = "") -> None:
    """Draw links to a lesson's worksheet and, for a teacher, its guide, both with the questions for a text."""
    query = urlencode({"text": text} | ({"language": language} if language else {}))
    labels = {WORKSHEET: _("Worksheet")} | ({GUIDE: _("Teacher's guide")} if visitor().is_teacher else {})
    for kind, label in labels.items():
        icon = ":material/assignment:" if kind == WORKSHEET else ":material/menu_book:"
        st.link_button(label, f"api/lessons/{lesson}/{kind}?{query}", icon=icon, type="tertiary")
