"""Who asks, and for what data folder: every page, route and stream takes its folder from here.

Without a class there is one user, who owns everything. In a class a visitor's data folder has what is its own, so
that anything else is not found, whoever asks and by whatever id.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache, wraps
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar
from urllib.parse import urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.classroom import Classroom, ClassSettings, Visitor
from core.errors import ExplorerError
from core.paths import data_dir as home
from explorer.i18n.language import N_, _

COOKIE = "gpt_explorer_class"
JOIN, TEACH = "join", "teach"  # the pages on which one comes in
FROZEN = N_("Your teacher has paused the class for a moment: you can look, but start and change nothing.")
_LEFT = N_("You are not in this class any more. Join it again.")
_asking: ContextVar[Visitor | None] = ContextVar("visitor", default=None)
_addresses: list[str] = []
_classrooms: list[Classroom] = []  # none, or the one that this server serves
Arguments, Result = ParamSpec("Arguments"), TypeVar("Result")


class NotAllowed(ExplorerError):
    """A request that this visitor may not make."""


class Visit(NamedTuple):
    """The last sign of a student's browser."""

    time: float  # seconds since 1970
    page: str


_visits: dict[str, Visit] = {}  # by member


def serve_class(title: str, address: str = "") -> Classroom:
    """Serve a class from now on: everybody but its teacher and members is refused. Students open the address."""
    _classrooms[:] = [Classroom(home(), title)]
    _addresses[:] = [address]
    return _classrooms[0]


def class_address() -> str:
    """Return the address that students open; "" where it is not known."""
    return _addresses[0] if _addresses else ""


def join_link(address: str, code: str) -> str:
    """Return the link that students open, with the code filled in."""
    return f"{address}/{JOIN}?{urlencode({'code': code})}"


def teacher_link(address: str, key: str) -> str:
    """Return the link that opens the class for its teacher. The key stands behind #, so that no log has it."""
    return f"{address}/{TEACH}#{key}"


def nicknames() -> dict[str, str]:
    """Return the students' nicknames by member, for a teacher; nothing for others."""
    if not _classrooms or not visitor().is_teacher:
        return {}
    return {member.id: member.nickname for member in _classrooms[0].members()}


def note_answer(question: str, response: str, expected: str, *, is_right: bool) -> None:
    """Note for the teacher what a student has answered; nothing for others."""
    if _classrooms and not (asking := visitor()).is_teacher:
        _classrooms[0].note_answer(asking.member, question, response, expected, is_right=is_right)


def hand_in(run_id: str) -> None:
    """Hand a run of the student who asks in to the teacher."""
    if _classrooms:
        _classrooms[0].hand_in(visitor().member, run_id)


def is_handed_in(run_id: str) -> bool:
    """Return whether a run was handed in."""
    return bool(_classrooms) and run_id in {run for _member, run in _classrooms[0].handed_in()}


def note_page(page: str) -> None:
    """Note that whoever asks has a page open."""
    _visits[visitor().member] = Visit(time.time(), page)


def last_visit_of(member: str) -> Visit | None:
    """Return which page a student had open last, and when; None since before the server was started."""
    return _visits.get(member)


def classroom() -> Classroom | None:
    """Return the class that is served, if any."""
    return _classrooms[0] if _classrooms else None


def visitor_of(cookies: str) -> Visitor | None:
    """Return whose request has this Cookie header; None for a request of nobody in the class."""
    if not _classrooms:
        return Visitor()
    try:
        cookie = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return _classrooms[0].visitor(cookie.value) if cookie else None


def visitor() -> Visitor:
    """Return who asks: of the request, the page or the job that runs this. Raises NotAllowed for nobody."""
    if not _classrooms:
        return Visitor()
    if asking := _asking.get():
        return asking
    # A thread that works for nobody in particular is refused, too: it must be told for whom (`for_visitor`).
    cookie = st.context.cookies.get(COOKIE) if get_script_run_ctx(suppress_warning=True) else None
    if cookie and (asking := _classrooms[0].visitor(cookie)):
        return asking
    raise NotAllowed(_(_LEFT))


def set_visitor(asking: Visitor) -> None:
    """Say who asks in this task or thread, from now on."""
    _asking.set(asking)


def for_visitor(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return the same function for another thread, working for whoever asks now."""
    asking = visitor()

    @wraps(work)
    def done(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        before = _asking.set(asking)
        try:
            return work(*args, **kwargs)
        finally:
            _asking.reset(before)

    return done


def visitor_dir() -> Path:
    """Return the data folder of whoever asks; raises ExplorerError where there is none."""
    return visitor().home(home())


@lru_cache(maxsize=1)
def _no_limits() -> ClassSettings:
    return ClassSettings(most_parameters=10**12, most_minutes=10**9)


def limits() -> ClassSettings:
    """Return what holds for whoever asks: nothing is limited for a teacher or without a class."""
    if not _classrooms or visitor().is_teacher:
        return _no_limits()
    return _classrooms[0].settings


def check_may_change() -> None:
    """Raise NotAllowed where the teacher has frozen the class."""
    if limits().frozen:
        raise NotAllowed(_(FROZEN))
