"""Values in a visitor's session besides widgets, values of widgets that depend on others, and the language."""

import secrets
import threading
from collections.abc import Callable, Container, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from typing import Any

import streamlit as st
from cachetools import LRUCache
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.errors import ExplorerError
from core.lessons.lesson_text import ENGLISH, languages
from explorer.i18n.language import use_session_language
from explorer.widgets.layout import literal

_TICKET, _NOTICE, _LANGUAGE = "tickets", "notice", "language"
_PAGE = "page-"
_results: LRUCache[str, Future] = LRUCache(256)  # of clicked buttons, by ticket
_clicking = threading.Lock()


def remember(name: str, value: Any) -> None:
    """Keep a value of one page for this visitor, even while other pages are open."""
    st.session_state[f"{_PAGE}{name}"] = value


def recall(name: str, default: Any = None) -> Any:
    """Return what `remember` kept."""
    return st.session_state.get(f"{_PAGE}{name}", default)


def fit_choice(key: str, choices: Container[Any], default: Any) -> Any:
    """Return the value that a widget should show, and put it into the session before the widget is drawn.

    This is the session's value, else the last one returned here, else the default; an earlier default does not count.
    The session can have a choice for an earlier prompt or run, and also its label: a browser sends the label of a
    select box, and Streamlit passes it on as a string if no option has that label any longer.
    """
    held, last_default = st.session_state.get(key), recall(f"{key}_default")
    earlier = last_default if last_default != default else None  # not chosen by anybody
    chosen = (value for value in (held, recall(key)) if value in choices and value != earlier)
    fitting = next(chosen, default)
    remember(f"{key}_default", default)
    if held != fitting:  # once its widget is drawn, it fits and must not be written
        st.session_state[key] = fitting
    remember(key, fitting)
    return fitting


def fit_input(key: str, kind: str, default: Callable[[], Any]) -> bool:
    """Restore an input's last value for this kind of thing, initially the default, before it is drawn.

    Return whether it was drawn for another kind before.
    """
    changed = recall(f"{key}_kind") not in (None, kind)
    if changed or key not in st.session_state:
        before = recall(f"{key}_of_{kind}")
        st.session_state[key] = default() if before is None else before
    remember(f"{key}_kind", kind)
    keep_input(key, kind)
    return changed


def put_input(key: str, value: Any) -> None:
    """Set the value that an input has when it is next drawn, for any kind of thing."""
    st.session_state[key] = value
    remember(f"{key}_kind", None)


def keep_input(key: str, kind: str) -> None:
    """Keep an input's value for the next time it is drawn for this kind of thing."""
    remember(f"{key}_of_{kind}", st.session_state[key])


def ticket(purpose: str) -> str:
    """Return a random number for one click on one button: a second click under way has the same number."""
    tickets = st.session_state.setdefault(_TICKET, {})
    return tickets.setdefault(purpose, secrets.token_hex(8))


def do_once(number: str, work: Callable[[], Any]) -> None:
    """Do the work of a button in its callback, once for a ticket; `click_result` returns the result to the page.

    While a callback runs, another request of the visitor, such as a second click, is served in parallel, and Streamlit
    ends the first one at its next use of the session. So the result is kept outside the session, and the second request
    does the work if the first one was ended.
    """
    while True:
        with _clicking:
            known, result = number in _results, _results.setdefault(number, Future())
        if not known:
            break
        if not _was_cancelled(result):
            return
    try:
        result.set_result(work())
    except Exception as error:  # so that nobody waits forever
        result.set_exception(error)
        if not isinstance(error, ExplorerError):
            raise
    except BaseException:  # Streamlit has ended this request
        with _clicking:
            _results.pop(number, None)
        result.cancel()
        raise


def _was_cancelled(result: Future) -> bool:
    """Wait for a result, and return whether there is none because its request was ended."""
    try:
        result.exception()
    except CancelledError:
        return True
    return False


def click_result(purpose: str) -> Any:
    """Wait for the result of a button's click and return it; None without a click. Raises its ExplorerError, once.

    The page calls `forget_click` when it has shown the result: until then, any request may be the one to show it.
    """
    number = st.session_state.get(_TICKET, {}).get(purpose)
    with _clicking:
        result = _results.get(number)
    if result is None or _was_cancelled(result):
        return None
    if result.exception():
        forget_click(purpose)
    return result.result()


def forget_click(purpose: str) -> None:
    """Let the next `ticket` be a new one."""
    st.session_state.get(_TICKET, {}).pop(purpose, None)


def notify(sentence: str) -> None:
    """Show a sentence on the next page that calls `take_notice`: callbacks cannot write to the page themselves."""
    st.session_state[_NOTICE] = sentence


@contextmanager
def notifying() -> Iterator[None]:
    """Notify of an ExplorerError that is raised inside; also a decorator for callbacks."""
    try:
        yield
    except ExplorerError as error:
        notify(str(error))


def take_notice() -> str | None:
    """Return the sentence of `notify`, once, as Markdown that shows exactly that: it may quote what a user typed."""
    notice = st.session_state.pop(_NOTICE, None)
    return None if notice is None else literal(notice)


def use_language(wanted: str | None) -> None:
    """Show everything in this language from now on; an unknown language changes nothing."""
    if wanted in languages():
        st.session_state[_LANGUAGE] = wanted


def _language() -> str:
    in_session = get_script_run_ctx(suppress_warning=True) is not None
    return st.session_state.get(_LANGUAGE, ENGLISH) if in_session else ENGLISH


use_session_language(_language)


def reseed_button(label: str, slot: str, key: str) -> int:
    """Draw a button that increments the seed remembered under `slot`; return the seed."""
    number = recall(slot, 0)
    st.button(label, icon=":material/casino:", key=key, on_click=lambda: remember(slot, number + 1))
    return number
