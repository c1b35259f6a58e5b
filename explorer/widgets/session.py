"""What a visitor's session keeps besides widgets, the values of widgets that depend on others, and the language."""

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
    """Keep a value of one page for this visitor, also while other pages are open."""
    st.session_state[f"{_PAGE}{name}"] = value


def recall(name: str, default: Any = None) -> Any:
    """Return what `remember` kept."""
    return st.session_state.get(f"{_PAGE}{name}", default)


def fit_choice(key: str, choices: Container[Any], default: Any) -> Any:
    """Return what a widget shall show, and put it into the session before the widget is drawn.

    That is what the session holds, else what this function returned last, else the default; the default also where only
    that was chosen. The session can hold a choice of an earlier prompt or run, and also its label: a browser sends the
    label of a select box, and Streamlit passes it on as a string where no option has that label any more.
    """
    held, last_default = st.session_state.get(key), recall(f"{key}_default")
    earlier = last_default if last_default != default else None  # chosen by nobody
    chosen = (value for value in (held, recall(key)) if value in choices and value != earlier)
    fitting = next(chosen, default)
    remember(f"{key}_default", default)
    if held != fitting:  # once its widget is drawn, it fits and must not be written
        st.session_state[key] = fitting
    remember(key, fitting)
    return fitting


def fit_input(key: str, kind: str, default: Callable[[], Any]) -> bool:
    """Put into an input what it had last for this kind of thing, at first the default, before it is drawn.

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
    """Let an input have a value when it is drawn next, whatever it is drawn for."""
    st.session_state[key] = value
    remember(f"{key}_kind", None)


def keep_input(key: str, kind: str) -> None:
    """Keep what a text input has, for the next time it is drawn for this kind of thing."""
    remember(f"{key}_of_{kind}", st.session_state[key])


def ticket(purpose: str) -> str:
    """Return a random number for one click on one button: a second click that is on its way carries the same."""
    tickets = st.session_state.setdefault(_TICKET, {})
    return tickets.setdefault(purpose, secrets.token_hex(8))


def do_once(number: str, work: Callable[[], Any]) -> None:
    """Do the work of a button in its callback, once for a ticket; `click_result` gives the page what came of it.

    While a callback works, another request of the visitor, such as a second click, is served beside it, and Streamlit
    ends the first one where it uses the session next. So the result is kept outside of the session, and the second one
    does the work that the first one was ended at.
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
    except Exception as error:  # nobody may wait in vain
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
    """Return what came of a click on a button, waiting for it; None before one. Raises its ExplorerError, once.

    The page calls `forget_click` when it has shown the result: until then any request may be the one that does.
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
    """Let the next `ticket` be another."""
    st.session_state.get(_TICKET, {}).pop(purpose, None)


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


def reseed_button(label: str, slot: str, key: str) -> int:
    """Draw a button that counts up the number remembered under `slot`, a seed of what is random; return the number."""
    number = recall(slot, 0)
    st.button(label, icon=":material/casino:", key=key, on_click=lambda: remember(slot, number + 1))
    return number
