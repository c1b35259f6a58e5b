"""The table of all lessons, their overview, and the glossary."""

from functools import partial

import streamlit as st

from core.import_export.notebooks import NOTEBOOKS, lesson_notebook
from core.lessons import LESSONS
from core.lessons.lesson_text import glossary, links, load_prose, word
from explorer.i18n.language import _
from explorer.learn import bigram, equal_compute, experiments, gpt, sudden, tokens
from explorer.learn.printed import draw_paper_links
from explorer.learn.state import chosen_text
from explorer.learn.steps import Step, draw_path
from explorer.widgets import lesson_links
from explorer.widgets.invalid_links import quoted_part
from explorer.widgets.layout import card, page_header, show_error

_STEPS: dict[str, tuple[Step, ...]] = {
    "bigram": bigram.STEPS,
    "gpt": gpt.STEPS,
    "tokens": tokens.STEPS,
    "sudden": sudden.STEPS,
    "scaling": equal_compute.STEPS,
    "break": experiments.STEPS,
}

_ACROSS = 2  # lessons next to each other


def lessons() -> list[str]:
    """Return the lessons that have steps."""
    return [lesson for lesson, steps in LESSONS.items() if steps and lesson in _STEPS]


def steps_of(lesson: str) -> dict[str, Step]:
    """Return the steps of a lesson by name, in order."""
    by_name = {step.name: step for step in _STEPS[lesson]}
    return {name: by_name[name] for name in LESSONS[lesson]}


def draw_overview(language: str) -> None:
    """Draw every lesson with its steps; mark the step that this browser opened last."""
    page_header(word("lessons", language))
    st.markdown(word("lessons_idea", language), width=820)
    columns = [column for _row in range(0, len(lessons()), _ACROSS) for column in st.columns(_ACROSS)]
    for column, lesson in zip(columns, lessons(), strict=False):
        with column, st.container(border=True, height="stretch"):
            prose = load_prose(lesson, "lesson", language)
            st.markdown(f"## {prose.title}")
            st.caption(prose.parts["idea"])
            begun = _draw_ways_in(lesson, language)
            listed = draw_path(lesson, language, key=f"path-{lesson}", listed=True, resume=word("go_on", language))
            if clicked := LESSONS[lesson][0] if begun else listed:
                lesson_links.view_lesson(lesson, clicked)
                st.rerun()
    if st.button(word("glossary", language), icon=":material/menu_book:", type="tertiary", key="lesson_glossary"):
        lesson_links.view_lesson("glossary")
        st.rerun()


def _draw_ways_in(lesson: str, language: str) -> bool:
    """Draw the button that begins a lesson, its notebook and its papers; return whether the button was clicked."""
    with st.container(horizontal=True, gap="small", key=f"papers_{lesson}"):
        first = lesson == lessons()[0]
        begun = st.button(word("begin", language), type="primary" if first else "secondary", key=f"begin-{lesson}")
        if lesson in NOTEBOOKS:
            st.download_button(
                word("notebook", language), partial(lesson_notebook, lesson, language), NOTEBOOKS[lesson],
                "application/x-ipynb+json", on_click="ignore", icon=":material/download:", type="tertiary",
                help=word("notebook_idea", language), key=f"notebook-{lesson}",
            )  # fmt: skip
        draw_paper_links(lesson, chosen_text(), language)
    return begun


def draw_papers(language: str) -> None:
    """Draw the worksheets and guides of all lessons, as a card."""
    note = _("Pages to print, with the questions and answers for the text that your lessons read.")
    with card(_("Worksheets and guides"), note, key="papers"):
        for lesson in lessons():
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                st.markdown(load_prose(lesson, "lesson", language).title, width=420)
                draw_paper_links(lesson, chosen_text(), language)


def draw_glossary(language: str, first_term: str | None) -> None:
    """Draw every term; the one named in the address comes first."""
    page_header(word("glossary", language))
    if st.button(word("all_lessons", language), icon=":material/arrow_back:", key="lesson_all"):
        lesson_links.view_lesson(None)
        st.rerun()
    terms = glossary(language)
    if first_term and first_term not in terms:
        show_error(_("The glossary has no term {term}. Perhaps the link is misspelled.", term=quoted_part(first_term)))
    for term in sorted(terms, key=lambda term: term != first_term):
        text = links(terms[term], lambda other: lesson_links.lesson_query("glossary", other), language)
        with st.container(border=term == first_term):
            st.markdown(f"## {term}\n\n{text}", width=820)
