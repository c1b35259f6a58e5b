"""Which text a lesson is about: any that the app has."""

import streamlit as st

from core.errors import ExplorerError
from core.lessons.lesson_text import word
from core.text.corpora import Corpus, catalogue
from explorer.learn.lab import Material, material
from explorer.services import shared
from explorer.widgets import address, session
from explorer.widgets.layout import show_error
from explorer.widgets.links import absent_text

_KEY = "lesson-text"
_CHOSEN = "lesson-text-chosen"  # whether the visitor has chosen a text
_AT_HAND = "python"  # on every machine, as Python's own library is


def choose_text(language: str) -> Corpus:
    """The select of all texts; a teacher's link may set it, and hide it."""
    corpora = {corpus.name: corpus for corpus in catalogue(shared.data_dir())}
    chosen = st.session_state.get(_KEY, session.recall(_KEY, address.lesson_values().get("text")))
    chosen = chosen if chosen in corpora else next(iter(corpora))
    if "text" not in address.hidden_controls():
        st.session_state[_KEY] = chosen
        chosen = st.selectbox(
            word("text", language), list(corpora), key=_KEY, format_func=lambda name: corpora[name].title,
            label_visibility="collapsed", width=230, on_change=lambda: session.remember(_CHOSEN, True),
        )  # fmt: skip
    session.remember(_KEY, chosen)
    return corpora[chosen]


def absent_in_link() -> str | None:
    """What to say where a teacher's link asks for a text that is not here, until the visitor has chosen one."""
    asked = address.lesson_values().get("text")
    if not asked or session.recall(_CHOSEN) or asked in {corpus.name for corpus in catalogue(shared.data_dir())}:
        return None
    return absent_text(asked)


def read_text(corpus: Corpus) -> tuple[Corpus, Material]:
    """What lessons read of a text; where it cannot be had that is said, and they go on with one that always can."""
    try:
        return corpus, material(corpus.name, shared.data_dir())
    except ExplorerError as error:
        show_error(error)
    known = {corpus.name: corpus for corpus in catalogue(shared.data_dir())}
    return known[_AT_HAND], material(_AT_HAND, shared.data_dir())
