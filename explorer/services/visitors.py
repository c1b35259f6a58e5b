"""The user of a page, route or stream, and that user's data folder.

Without a class there is one user, who owns everything. In a class each student has a data folder; the runs and texts
of others cannot be found in it under any id.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import lru_cache, wraps
from http.cookies import CookieError, SimpleCookie
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar
from urllib.parse import urlencode, urlsplit

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.classroom import Classroom, ClassSettings, Visitor
from core.errors import ExplorerError
from core.paths import data_dir as server_dir
from core.runs.folder import RunFolder
from explorer.i18n.language import N_, _

COOKIE = "gpt_explorer_class"
JOIN, TEACH = "join", "teach"  # the pages for joining a class
LINK = "j"  # before the code in a short link
FROZEN = N_("Your teacher has paused the class for a moment: you can look, but start and change nothing.")
MIRRORED = N_("All see your teacher's screen now: you can look, but start and change nothing.")
_LEFT = N_("You are not in this class any more. Join it again.")
_asking: ContextVar[Visitor | None] = ContextVar("visitor", default=None)
_addresses: list[str] = []
_classrooms: list[Classroom] = []  # empty, or the one that this server serves
Arguments, Result = ParamSpec("Arguments"), TypeVar("Result")


class NotAllowed(ExplorerError):
    """A request that this visitor may not make."""


class Visit(NamedTuple):
    """The last visit of a student's browser."""

    time: float  # seconds since 1970
    page: str


_visits: dict[str, Visit] = {}  # by member


def serve_class(title: str) -> Classroom:
    """Serve a class from now on: all but its teacher and members are refused."""
    _classrooms[:] = [Classroom(server_dir(), title)]
    return _classrooms[0]


def serve_at(address: str) -> None:
    """Store the address at which others in the network reach this server."""
    _addresses[:] = [address]


def class_address() -> str:
    """Return the address that students open; "" if it is unknown."""
    return _addresses[0] if _addresses else ""


def address_for_others() -> str:
    """Return the app's address for links: preferably one that the network reaches, not only this machine."""
    shown = st.context.url or ""
    here = shown.split("?")[0].rpartition("/")[0] if shown else ""
    return next(
        (address for address in (class_address(), here) if address and not is_local(address)), here or class_address()
    )


def is_local(address: str) -> bool:
    """Return whether only this machine reaches an address."""
    host = urlsplit(address).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def join_link(address: str, code: str) -> str:
    """Return the link that students open, with the code filled in."""
    return f"{address}/{JOIN}?{urlencode({'code': code})}"


def teacher_link(address: str, key: str) -> str:
    """Return the link that opens the class for its teacher. The key comes after #, so that no log has it."""
    return f"{address}/{TEACH}#{key}"


def nicknames() -> dict[str, str]:
    """Return the students' nicknames by member, for a teacher; nothing for others."""
    if not _classrooms or not visitor().is_teacher:
        return {}
    return {member.id: member.nickname for member in _classrooms[0].members()}


def note_answer(question: str, response: str, expected: str, *, is_right: bool) -> None:
    """Record a student's answer for the teacher; do nothing for others."""
    if _classrooms and not (asking := visitor()).is_teacher:
        _classrooms[0].note_answer(asking.member, question, response, expected, is_right=is_right)


def hand_in(run_id: str) -> None:
    """Hand in a run of the current student to the teacher."""
    if _classrooms:
        _classrooms[0].hand_in(visitor().member, run_id)


def is_handed_in(run_id: str) -> bool:
    """Return whether a run was handed in."""
    return bool(_classrooms) and run_id in {run for _member, run in _classrooms[0].handed_in()}


def acting_on(run: RunFolder) -> str:
    """Return "the teacher" if the teacher changes a student's run, for its record; else ""."""
    return "the teacher" if _classrooms and run.member and visitor().is_teacher else ""


def note_page(page: str) -> None:
    """Note that the current user has a page open."""
    _visits[visitor().member] = Visit(time.time(), page)


def last_visit_of(member: str) -> Visit | None:
    """Return the page that a student last had open, and when; None if none since the server started."""
    return _visits.get(member)


def served_class() -> Classroom | None:
    """Return the class that is served, if any."""
    return _classrooms[0] if _classrooms else None


def visitor_of(cookies: str) -> Visitor | None:
    """Return the user whose request has this Cookie header; None if the user is not in the class."""
    if not _classrooms:
        return Visitor()
    try:
        cookie = SimpleCookie(cookies).get(COOKIE)
    except CookieError:
        return None
    return _classrooms[0].visitor(cookie.value) if cookie else None


def visitor() -> Visitor:
    """Return the user of the current request, page or job; raises NotAllowed if there is none."""
    if not _classrooms:
        return Visitor()
    if asking := _asking.get():
        return asking
    # Threads without a visitor are refused: start them with `for_visitor`.
    cookie = st.context.cookies.get(COOKIE) if get_script_run_ctx(suppress_warning=True) else None
    if cookie and (asking := _classrooms[0].visitor(cookie)):
        return asking
    raise NotAllowed(_(_LEFT))


def set_visitor(asking: Visitor) -> None:
    """Set the user of this task or thread from now on."""
    _asking.set(asking)


def for_visitor(work: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Return a function that does the same in another thread, for the current user."""
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
    """Return the data folder of the current user; raises ExplorerError if there is none."""
    return visitor().home(server_dir())


@lru_cache(maxsize=1)
def _no_limits() -> ClassSettings:
    return ClassSettings(most_parameters=10**12, most_steps=10**9, most_minutes=10**9)


def limits() -> ClassSettings:
    """Return the limits of the current user: none for a teacher or without a class."""
    if not _classrooms or visitor().is_teacher:
        return _no_limits()
    return _classrooms[0].settings


def check_may_change() -> None:
    """Raise NotAllowed if the current user is a student who may only look now."""
    if (now := limits()).paused:
        raise NotAllowed(_(MIRRORED if now.mirrored else FROZEN))
