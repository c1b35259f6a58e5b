"""Links to steps of lessons: with values of their controls, and with controls hidden from students."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlencode

import streamlit as st

from core.lessons.lesson_text import ENGLISH
from explorer.i18n.language import language
from explorer.widgets.address import HIDE, LANGUAGE, LESSON, SET, STEP, parameter, setting_parts, write
from explorer.widgets.session import recall, remember

_STUDENT = "student"  # in the session


def view_lesson(lesson: str | None, step: str | None = None) -> None:
    """Write a lesson's step to the address, or remove it. Settings that a teacher's link had for it are restored."""
    here = parameter(LESSON), parameter(STEP)
    if here != (lesson, step):
        remember(_handed_out(*here), {name: st.query_params.get(name) for name in (SET, HIDE)})
        chosen = recall(_handed_out(lesson, step), dict.fromkeys((SET, HIDE)))
        write({LESSON: lesson, STEP: step, **chosen})


def _handed_out(lesson: str | None, step: str | None) -> str:
    return f"link-{lesson}-{step}"


def lesson_values() -> dict[str, str]:
    """Return the values that a teacher's link sets, by control; the code that draws a control checks them."""
    parts = [part.partition(":") for part in setting_parts(parameter(SET))] if parameter(LESSON) else []
    return {name: unquote(value) for name, colon, value in parts if colon}


def hidden_controls() -> set[str]:
    """Return the names of the controls that a teacher's link hides."""
    hidden = set(setting_parts(parameter(HIDE)))
    if hidden:
        remember(_STUDENT, True)
    return hidden


def is_student() -> bool:
    """Return whether this visitor came by a link that hides something, at any step."""
    return bool(hidden_controls()) or recall(_STUDENT, False)


def lesson_query(
    lesson: str, step: str | None = None, values: Mapping[str, Any] | None = None, hide: Sequence[str] = ()
) -> str:
    """Return the address of a step, relative to the app's pages, with chosen values and controls hidden."""
    query = {LESSON: lesson, STEP: step, LANGUAGE: language() if language() != ENGLISH else None}
    query[SET] = ";".join(f"{name}:{_escaped(value)}" for name, value in (values or {}).items())
    query[HIDE] = ";".join(hide)
    return "learn?" + urlencode({name: value for name, value in query.items() if value}, safe=":;")


def _escaped(value: Any) -> str:
    """Escape only what separates two settings, because the address as a whole is escaped again."""
    return str(value).replace("%", "%25").replace(";", "%3B")
