"""What a visitor's session keeps besides widgets, the values of widgets that depend on others, and the language."""

import secrets
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.errors import ExplorerError
from core.lessons.lesson_text import ENGLISH, languages
from explorer.i18n.language import use_session_language
from explorer.widgets.layout import literal

_USED, _TICKET, _NOTICE, _LANGUAGE = "used_tickets", "tickets", "notice", "language"
_PAGE = "page-"


def remember(name: str, value: Any) -> None:
    """Keep a value of one page for this visitor, also while other pages are open."""
    st.session_state[f"{_PAGE}{name}"] = value


def recall(name: str, default: Any = None) -> Any:
    """Return what `remember` kept."""
    return st.session_state.get(f"{_PAGE}{name}", default)


def fit_choice(key: str, choices: Container[Any], default: Any) -> Any:
    """Return what a widget shall show, and put it into the session before the widget is drawn.

    That is what the session holds, else what this function returned last, else the default: the first of them that is
    among the choices. What was only the default then, as the last token of a prompt, follows the default. The session
    can hold a choice of an earlier prompt or run, and also its label: a browser sends the label of a select box, and
    Streamlit passes it on as a string where no option has that label any more.
    """
    held, last_default = st.session_state.get(key), recall(f"{key}_default")
    chosen = (value for value in (held, recall(key)) if value in choices and value != last_default)
    fitting = next(chosen, default)
    remember(f"{key}_default", default)
    if held != fitting:  # once its widget is drawn, it fits and must not be written
        st.session_state[key] = fitting
    remember(key, fitting)
    return fitting


def ticket(purpose: str) -> str:
    """Return a random number for one click on one button: a second click that is on its way carries the same."""
    tickets = st.session_state.setdefault(_TICKET, {})
    return tickets.setdefault(purpose, secrets.token_hex(8))


def use_ticket(purpose: str, number: str) -> bool:
    """Return whether this is the first use of the number; the next `ticket` is a new one."""
    used = st.session_state.setdefault(_USED, set())
    if number in used:
        return False
    used.add(number)
    st.session_state.get(_TICKET, {}).pop(purpose, None)
    return True


def notify(sentence: str) -> None:
    """Show a sentence on the next page that calls `take_notice`: callbacks cannot write to the page themselves."""
    st.session_state[_NOTICE] = sentence


@contextmanager
def notifying() -> Iterator[None]:
    """Notify of an ExplorerError that is raised inside; also a decorator of callbacks."""
    try:
        yield
    except ExplorerError as error:
        notify(str(error))


def take_notice() -> str | None:
    """Return the sentence of `notify`, once, as Markdown that shows exactly that: it may quote what a user typed."""
    notice = st.session_state.pop(_NOTICE, None)
    return None if notice is None else literal(notice)


def use_language(wanted: str | None) -> None:
    """Show everything in a language from now on; what is no language changes nothing."""
    if wanted in languages():
        st.session_state[_LANGUAGE] = wanted


def _language() -> str:
    in_session = get_script_run_ctx(suppress_warning=True) is not None
    return st.session_state.get(_LANGUAGE, ENGLISH) if in_session else ENGLISH


use_session_language(_language)


def reseed_button(label: str, slot: str, key: str) -> None:
    """Draw a button that counts up the number remembered under `slot`, which seeds what is drawn at random."""
    number = recall(slot, 0)
    st.button(label, icon=":material/casino:", key=key, on_click=lambda: remember(slot, number + 1))
