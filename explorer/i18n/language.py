"""The language in which the pages are shown, and the one door that their own sentences go through."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.lessons.lesson_text import ENGLISH, app_sentence, fill, languages

_KEY = "language"  # in the session: the address of a page need not say it again
_asked: ContextVar[str | None] = ContextVar("asked", default=None)


def _(english: str, /, **numbers: object) -> str:
    """A sentence of ours in the language on view, `{name}` filled with what is given for it.

    Write the sentence itself here, as one literal: whoever adds a language finds it in `core/lessons/text/en/app.md`,
    which `make words` collects from the code.

    Args:
        numbers: as they shall be written; they are not translated, nor is anything in them read as a placeholder.
    """
    return fill(app_sentence(english, language()), **numbers)


def N_(english: str) -> str:
    """A sentence that stands in a table and is said with `say` when it is shown; marks it for the collection."""
    return english


def language() -> str:
    """The language on view; outside of a visitor's session the one of `in_language`, else English."""
    if asked := _asked.get():
        return asked
    if get_script_run_ctx(suppress_warning=True) is None:
        return ENGLISH
    return st.session_state.get(_KEY, ENGLISH)


@contextmanager
def in_language(asked: str) -> Iterator[None]:
    """Inside, everything is said in a language, whoever's thread it is; what is no language is English."""
    before = _asked.set(asked if asked in languages() else ENGLISH)
    try:
        yield
    finally:
        _asked.reset(before)


def use_language(asked: str | None) -> None:
    """Show everything in a language from now on; what is no language changes nothing."""
    if asked in languages():
        st.session_state[_KEY] = asked
