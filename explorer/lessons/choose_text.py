"""Which text a lesson is about: any that the app has."""

import streamlit as st

from core.lessons.prose import word
from core.text.corpora import Corpus, catalogue
from explorer import service, state

_KEY = "lesson-text"


def choose_text(language: str) -> Corpus:
    """The select of all texts; a teacher's link may set it, and hide it."""
    corpora = {corpus.name: corpus for corpus in catalogue(service.home())}
    chosen = st.session_state.get(_KEY, state.recall(_KEY, state.lesson_values().get("text")))
    chosen = chosen if chosen in corpora else next(iter(corpora))
    if "text" not in state.hidden_controls():
        st.session_state[_KEY] = chosen
        chosen = st.selectbox(
            word("text", language), list(corpora), key=_KEY, format_func=lambda name: corpora[name].title,
            label_visibility="collapsed", width=230,
        )  # fmt: skip
    state.remember(_KEY, chosen)
    return corpora[chosen]
