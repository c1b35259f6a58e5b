"""How every step of every lesson is laid out."""

import inspect
import textwrap
from collections.abc import Callable
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.lessons import LESSONS
from core.lessons.lesson_text import load_prose
from explorer.components.lesson_path import PathStep, lesson_path
from explorer.components.page import load_ahead
from explorer.i18n.language import _
from explorer.learn.state import StepState, StillComputing, absent_in_link, choose_text, read_text
from explorer.learn.steps import Step, draw_question
from explorer.widgets import address, session
from explorer.widgets.layout import card, show_error, worded
from explorer.widgets.links import quoted_part


def draw_step(lesson: str, step_name: str, steps: dict[str, Step], language: str) -> None:
    """Draw one step of a lesson: its head, idea, result, code, question, notes and navigation."""
    step, names = steps[step_name], list(steps)
    row = st.container(
        horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", gap="small", key="lesson_head"
    )
    title = row.container(width="content")
    right = row.container(horizontal=True, vertical_alignment="center", width="content", gap="small")
    with right.container(width="content"):
        text = choose_text(language)
    links, path = right.container(horizontal=True, width="content"), st.container()
    if problem := absent_in_link():
        show_error(problem)
    state = StepState(lesson, step_name, read_text(text), language)
    state.numbers.update(step.numbers(state))
    st.markdown(state.markdown("idea"), width=820)
    ready = True
    try:
        step.draw(state)
    except StillComputing:
        ready = False
    if step.code:
        with st.expander(state.word("code"), icon=":material/code:"):
            st.code(_source_of(*step.code), language="python")
    if step.question and ready:
        with card(state.word("question"), key="lesson_question"):
            state.completed = draw_question(step.question, state)
    unknown = set(address.lesson_values()) | address.hidden_controls()
    unknown = [*state.rejected, *sorted(unknown - set(state.controls))] if ready else []
    if unknown:
        parts = ", ".join(map(quoted_part, unknown))
        show_error(_("The link sets what this step does not have: {parts}. Perhaps it is misspelled.", parts=parts))
    if state.completed:
        completed_steps(state.lesson).add(state.step)
    _draw_notes(state)
    _draw_navigation(state, names)
    _fill_head(state, names, title, links, path)  # last: only now answers and values are known
    load_ahead()  # so that a growing curve shows from its first point


def completed_steps(lesson: str) -> set[str]:
    """Return the steps that this visitor has completed: a question answered right, or an experiment run."""
    found = session.recall(f"answered-{lesson}")
    if found is None:
        found = set()
        session.remember(f"answered-{lesson}", found)
    return found


def draw_path(lesson: str, language: str, here: str | None = None, **options: Any) -> str | None:
    """Draw the steps of a lesson as links, as `lesson_path`; return the one that was clicked."""
    path = [
        PathStep(name, load_prose(lesson, name, language).title, address.lesson_query(lesson, name))
        for name in LESSONS[lesson]
    ]
    title = load_prose(lesson, "lesson", language).title
    return lesson_path(lesson, path, here=here, right=completed_steps(lesson), label=title, **options)


def _source_of(*functions: Callable) -> str:
    return "\n\n".join(textwrap.dedent(inspect.getsource(function)).strip() for function in functions)


def _fill_head(
    state: StepState, names: list[str], title: DeltaGenerator, links: DeltaGenerator, path: DeltaGenerator
) -> None:
    place, lesson = names.index(state.step), load_prose(state.lesson, "lesson", state.language).title
    title.caption(f"{lesson} · {state.word('step_of', number=place + 1, count=len(names))}")
    with links:
        st.button(
            state.word("all_lessons"), type="tertiary", key="lesson_all", on_click=address.view_lesson, args=(None,)
        )
        if not address.is_student():  # a link with hidden controls is not passed on
            _draw_class_link(state)
    with path:
        clicked = draw_path(state.lesson, state.language, state.step, key="lesson_path")
        if clicked and clicked != state.step:
            address.view_lesson(state.lesson, clicked)
            st.rerun()
        st.header(worded(state.prose.title), anchor=False)


def _draw_notes(state: StepState) -> None:
    parts = [part for part in ("try", "read on") if part in state.prose.parts]
    if parts:
        for column, part in zip(st.columns(len(parts)), parts, strict=True):
            with column:
                st.markdown(f"**{state.word(part)}**")
                state.write(part)


def _draw_navigation(state: StepState, names: list[str]) -> None:
    place = names.index(state.step)
    with st.container(horizontal=True, horizontal_alignment="distribute", key="lesson_way"):
        if place:
            st.button(
                state.word("back"), icon=":material/arrow_back:", key="lesson_back", shortcut="b",
                on_click=address.view_lesson, args=(state.lesson, names[place - 1]),
            )  # fmt: skip
        else:
            st.container(width="content")
        if place + 1 < len(names):
            st.button(
                state.word("next"), icon=":material/arrow_forward:", icon_position="right", type="primary",
                key="lesson_next", shortcut="n", on_click=address.view_lesson, args=(state.lesson, names[place + 1]),
            )  # fmt: skip
        else:
            with st.container(horizontal=True, width="content", vertical_alignment="center"):
                st.caption(state.word("finished"))
                st.button(
                    state.word("all_lessons"),
                    type="primary",
                    key="lesson_end",
                    on_click=address.view_lesson,
                    args=(None,),
                )


def _draw_class_link(state: StepState) -> None:
    with st.popover(state.word("link"), icon=":material/link:", type="tertiary", key="lesson_link"):
        st.caption(state.word("link_idea"))
        hide = st.multiselect(
            state.word("link_hide"),
            list(state.controls),
            key=f"hide-{state.lesson}-{state.step}",
            format_func=state.labels.get,
        )
        base = st.context.url.split("?")[0].removesuffix("/").removesuffix("/learn") if st.context.url else ""
        query = address.lesson_query(state.lesson, state.step, state.controls, hide)
        st.code(f"{base}/{query}" if base else query, language=None, wrap_lines=True)
