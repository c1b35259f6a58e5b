"""The definition of a lesson's step, its question, and its layout."""

import inspect
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.formatting import decimal
from core.lessons import LESSONS
from core.lessons.lesson_text import load_prose
from explorer.charts.lessons import curves, share_pairs
from explorer.charts.loss import UNITS, LossUnit
from explorer.components.lesson_views import lesson_path
from explorer.components.page import preload_plotly
from explorer.i18n.formatting import name_signs
from explorer.i18n.language import _, in_units
from explorer.learn.state import FIRST_TEXT, StepState, StillComputing, absent_in_link, choose_text, load_lesson_text
from explorer.services.visitors import note_answer
from explorer.widgets import address, lesson_links, session
from explorer.widgets.class_link import link_popover
from explorer.widgets.invalid_links import quoted_part
from explorer.widgets.layout import card, chart, current_palette, literal, show_error

_UNIT = "lesson-unit"
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?")
_DECIMAL = re.compile(r"[+-]?(\d{1,30}\.?\d{0,30}|\.\d{1,30})(e[+-]?\d{1,2})?", re.ASCII | re.IGNORECASE)


class Question(NamedTuple):
    """A question as printed, in Markdown."""

    words: str
    options: list[str]  # to choose from; empty if the answer is a number
    answer: str


class Step(NamedTuple):
    """One step: its text is in `core/lessons/text/<language>/<lesson>/<name>.md`, its code in `core.lessons`.

    With an `answer` it asks a question: its parts "question", "right" and "wrong" may use `{answer}`, `{given}`.
    """

    name: str
    draw: Callable[[StepState], None]  # controls and result; raises StillComputing
    code: tuple[Callable, ...] = ()  # functions whose source is shown
    numbers: Callable[[StepState], Mapping[str, Any]] = lambda state: {}  # fill the placeholders of its text
    answer: Callable[[StepState], Any] | None = None  # the correct one for this text and model
    options: Callable[[StepState], Sequence[str]] | None = None  # texts to choose from
    named: Callable[[StepState], Sequence[str]] | None = None  # or names of parts of its text; else asks for a number
    tolerance: float = 0.0  # how far a number may be off
    show: Callable[[StepState, Any], None] | None = None  # explains a wrong answer, given the response
    more: Callable[[StepState], dict[str, Any]] = lambda state: {}  # further numbers for the question's text
    uses_text: bool = True  # otherwise it has its own models, and no text is chosen
    # Without an `answer`: the questions to predict and the explanation, as Markdown; raises StillComputing.
    predicted: Callable[[StepState], tuple[list[Question], str]] | None = None


def draw_question(step: Step, state: StepState) -> bool:
    """Draw the question, its form and, after the check, the verdict. Return whether the answer is right."""
    slot, key = _answer_keys(state)
    state.numbers |= step.more(state)
    state.write("question")
    with st.form(key, border=False, enter_to_submit=True):
        if choices := step.named or step.options:
            response = st.radio(
                state.word("your_answer"), list(choices(state)), index=None, key=f"{key}-given",
                format_func=state.label if step.named else lambda choice: literal(name_signs(choice)),
                label_visibility="collapsed",
            )  # fmt: skip
        else:
            typed = st.text_input(state.word("your_answer"), key=f"{key}-given", width=220, max_chars=40)
            response = number_typed(typed)
        if st.form_submit_button(state.word("check"), key=f"{key}-check"):
            session.remember(slot, (state.key, response))
            if response is not None:
                _note(step, state, response)
            if response is None and not choices:
                st.caption(state.word("no_number"))
    checked, response = session.recall(slot, (None, None))
    return checked == state.key and response is not None and _draw_verdict(step, state, response)


def _answer_keys(state: StepState) -> tuple[str, str]:
    """Return the session key of the last checked answer, and the key of the question's form."""
    return f"answer-{state.lesson}-{state.step}", f"question-{state.lesson}-{state.step}-{state.data.name}"


def is_answered(state: StepState) -> bool:
    """Return whether an answer to the question was checked, or is checked further down in this run of the page."""
    slot, key = _answer_keys(state)
    if st.session_state.get(f"{key}-check"):
        return st.session_state.get(f"{key}-given") is not None
    checked, response = session.recall(slot, (None, None))
    return checked == state.key and response is not None


def correct_answer(step: Step, state: StepState) -> tuple[Any, Callable[[Any], str]]:
    """Return the correct answer to a step's question, and a function that formats answers. Draw the step first."""
    shown = state.label if step.named else name_signs
    if not (step.named or step.options):
        shown = partial(decimal, places=2 if 0 < step.tolerance < 10 else 0)
    return step.answer(state), shown


def _judge(step: Step, state: StepState, response: Any) -> tuple[Any, bool, Callable[[Any], str]]:
    """Return the correct answer, whether the response is right, and a function that formats answers."""
    correct, shown = correct_answer(step, state)
    right = response == correct if step.named or step.options else abs(response - correct) <= step.tolerance + 1e-9
    return correct, right, shown


def _note(step: Step, state: StepState, response: Any) -> None:
    correct, right, shown = _judge(step, state, response)
    note_answer(f"{state.lesson}: {state.step}", shown(response), shown(correct), is_right=right)


def _draw_verdict(step: Step, state: StepState, response: Any) -> bool:
    correct, right, shown = _judge(step, state, response)
    part, draw, icon = ("right", st.success, "check") if right else ("wrong", st.warning, "search")
    words = state.markdown(part, answer=shown(correct), given=shown(response))
    draw(f"**{state.word(part)}** {words}", icon=f":material/{icon}:")
    if step.show and not right:
        step.show(state, response)
    return right


def redraw_button(state: StepState, slot: str, word: str = "again", key: str = "lesson_again") -> int:
    """Draw a button that asks for another random draw; return how often it was clicked."""
    return session.reseed_button(state.word(word), slot, key)


def choose_unit(state: StepState, bytes_per_token: float | None = None) -> LossUnit:
    """Draw the unit switch for the step's losses and return the unit; the default is the last choice in a lesson."""
    chosen = state.value(
        "unit", session.recall(_UNIT, "nats"), st.segmented_control, _("Unit"), list(UNITS),
        format_func=lambda name: _(UNITS[name]), label_visibility="collapsed",
    )  # fmt: skip
    session.remember(_UNIT, chosen)
    return LossUnit(chosen, bytes_per_token or state.bytes_per_token)


def draw_curves(
    x: Sequence[float], lines: Mapping[str, Sequence[float]], colors: Sequence[str], titles: tuple[str, str],
    columns: Sequence[str], *, key: str, name: str, mode: str = "lines", hover: str = ".2f", **layout: Any,
) -> None:  # fmt: skip
    """Draw `charts.lessons.curves` with plotly's `layout`; `columns` name x and the lines in the downloaded file."""
    figure = curves(x, lines, colors, titles, current_palette(), mode=mode, hover=hover).update_layout(**layout)
    chart(figure, key=key, name=name, numbers=lambda: dict(zip(columns, [x, *lines.values()], strict=True)))


def draw_shares(
    tokens: Sequence[str], shares: Mapping[str, Sequence[float]], colors: Sequence[str],
    columns: Sequence[str], *, key: str, name: str, most: int | None = None, height: int = 260,
) -> None:  # fmt: skip
    """Draw labeled shares of the first `most` tokens; `columns` name tokens and shares in the downloaded file."""
    shown = {label: values[:most] for label, values in shares.items()}
    figure = share_pairs(tokens[:most], shown, colors, current_palette(), height=height)
    chart(figure, key=key, name=name, numbers=lambda: dict(zip(columns, [tokens, *shares.values()], strict=True)))


def draw_table(state: StepState, key: str, columns: Mapping[str, Sequence[Any]], width: int | str = "stretch") -> None:
    """Draw a table; each column's title is a part of the step's text."""
    shown = {state.label(part): values for part, values in columns.items()}
    figures = {
        name: st.column_config.Column(alignment="right") for name, values in shown.items() if _is_figures(values)
    }
    rows = len(next(iter(columns.values())))
    # Streamlit's own height, but set from the first paint, so that nothing below moves.
    height = min(400, 35 * (rows + 1) + 2)
    st.dataframe(shown, hide_index=True, width=width, height=height, key=key, column_config=figures)


def _is_figures(values: Sequence[Any]) -> bool:
    """Return whether a column has numbers alone, also written with a unit, a sign or separators."""
    texts = [str(value) for value in values]
    return any(texts) and all(not text or re.fullmatch(r"[+−-]?[\d,.]+%?", text) for text in texts)


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


def draw_step(lesson: str, step_name: str, steps: dict[str, Step], language: str) -> None:
    """Draw one step of a lesson: its head, idea, result, code, question, notes and navigation."""
    step, names = steps[step_name], list(steps)
    spread = {"horizontal_alignment": "distribute", "vertical_alignment": "center", "gap": "small"}
    row = st.container(horizontal=True, key="lesson_head", **spread)
    title = row.container(width="content")
    right = row.container(horizontal=True, vertical_alignment="center", width="content", gap="small")
    with right.container(width="content"):
        text = choose_text(language) if step.uses_text else FIRST_TEXT
    links = right.container(horizontal=True, width="content")
    if problem := absent_in_link():
        show_error(problem)
    state = StepState(lesson, step_name, load_lesson_text(text), language)
    lesson_title, place = load_prose(lesson, "lesson", language).title, names.index(step_name) + 1
    title.caption(f"{lesson_title} · {state.word('step_of', number=place, count=len(names))}")
    # Drawn first, so that nothing below moves later; a step completed below is marked by the rerun.
    clicked = draw_path(lesson, language, step_name, key="lesson_path")
    if clicked and clicked != step_name:
        lesson_links.view_lesson(lesson, clicked)
        st.rerun()
    st.title(in_units(state.prose.title), anchor=False)
    state.numbers.update(step.numbers(state))
    st.markdown(state.markdown("idea"), width=820)
    ready = True
    try:
        step.draw(state)
    except StillComputing:
        ready = False
    if step.code:
        with st.expander(state.word("code"), icon=":material/code:"):
            source = (textwrap.dedent(inspect.getsource(function)).strip() for function in step.code)
            st.code("\n\n".join(source), language="python")
    if step.answer and ready:
        with card(state.word("question"), key="lesson_question"):
            state.completed = draw_question(step, state)
    unknown = set(lesson_links.lesson_values()) | lesson_links.hidden_controls()
    unknown = [*state.rejected, *sorted(unknown - set(state.controls))] if ready else []
    if unknown:
        parts = ", ".join(map(quoted_part, unknown))
        show_error(_("The link sets what this step does not have: {parts}. Perhaps it is misspelled.", parts=parts))
    if ready:  # else the question would push them down while they are read
        _draw_notes(state)
    _draw_navigation(state, names)
    _fill_head(state, links)  # last, when answers and values are known
    preload_plotly()  # so that a growing curve shows from its first point
    if state.completed and state.step not in _completed_steps(lesson):
        _completed_steps(lesson).add(state.step)
        st.rerun()


def _completed_steps(lesson: str) -> set[str]:
    completed = session.recall(f"answered-{lesson}", set())
    session.remember(f"answered-{lesson}", completed)
    return completed


def draw_path(lesson: str, language: str, here: str | None = None, **options: Any) -> str | None:
    """Draw the steps of a lesson as links, with `lesson_path`; return the clicked one."""
    query = partial(lesson_links.lesson_query, lesson)
    path = [(name, load_prose(lesson, name, language).title, query(name)) for name in LESSONS[lesson]]
    title = load_prose(lesson, "lesson", language).title
    return lesson_path(lesson, path, here=here, right=_completed_steps(lesson), label=title, **options)


def _fill_head(state: StepState, links: DeltaGenerator) -> None:
    with links:
        leave = partial(lesson_links.view_lesson, None)
        st.button(state.word("all_lessons"), type="tertiary", key="lesson_all", on_click=leave)
        if not lesson_links.is_student():  # a link with hidden controls is not passed on
            _draw_class_link(state)


def _draw_notes(state: StepState) -> None:
    parts = [part for part in ("try", "read on") if part in state.prose.parts]
    if parts:
        for column, part in zip(st.columns(len(parts)), parts, strict=True):
            with column:
                st.markdown(f"**{state.word(part)}**")
                state.write(part)


def _draw_navigation(state: StepState, names: list[str]) -> None:
    place = names.index(state.step)
    view = partial(partial, lesson_links.view_lesson, state.lesson)
    with st.container(horizontal=True, horizontal_alignment="distribute" if place else "right", key="lesson_way"):
        if place:
            back = {"icon": ":material/arrow_back:", "key": "lesson_back", "shortcut": "b"}
            st.button(state.word("back"), on_click=view(names[place - 1]), **back)
        if place + 1 < len(names):
            look = {"icon": ":material/arrow_forward:", "icon_position": "right", "type": "primary"}
            st.button(state.word("next"), on_click=view(names[place + 1]), key="lesson_next", shortcut="n", **look)
        else:
            with st.container(horizontal=True, width="content", vertical_alignment="center"):
                st.caption(state.word("finished"))
                end = partial(lesson_links.view_lesson, None)
                st.button(state.word("all_lessons"), type="tertiary", key="lesson_end", on_click=end)
                _draw_way_on(state)


def _draw_way_on(state: StepState) -> None:
    """Draw the button that opens the next lesson, or after the last lesson the Train page."""
    lessons, look = list(LESSONS), {"icon": ":material/arrow_forward:", "icon_position": "right", "type": "primary"}
    after = lessons[lessons.index(state.lesson) + 1 :]
    if after:
        label = state.word("next_lesson", title=load_prose(after[0], "lesson", state.language).title)
        begin = partial(lesson_links.view_lesson, after[0], LESSONS[after[0]][0])
        st.button(label, key="lesson_after", on_click=begin, **look)
    elif st.button(state.word("train_own"), key="lesson_train", **look):
        address.open_page("train")


def _draw_class_link(state: StepState) -> None:
    key = f"hide-{state.lesson}-{state.step}"

    def draw() -> None:
        st.caption(state.word("link_idea"))
        st.multiselect(state.word("link_hide"), list(state.controls), key=key, format_func=state.labels.get)

    address_of_step = partial(lesson_links.lesson_query, state.lesson, state.step, state.controls)
    link_popover(state.word("link"), "lesson_link", lambda: address_of_step(st.session_state[key]), draw)
