"""The teacher's screen: students' browsers open one of its pages once, or follow it continuously."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import streamlit as st

from core.classroom import Classroom, ClassSettings
from core.errors import ExplorerError
from core.paths import is_shared, mark_shared
from core.runs.folder import RunFolder, open_run
from core.sampling_config import GenerationConfig
from core.settings import fields_of
from explorer.i18n.language import _
from explorer.services.visitors import served_class, visitor
from explorer.widgets.address import (
    GENERATE_REQUEST,
    LANGUAGE,
    LESSON,
    OTHER_RUN,
    PRESET,
    PROMPT,
    RUN,
    SET,
    STEP,
    TOUR,
    go_to_page,
    parameter,
)
from explorer.widgets.forms import widget_key
from explorer.widgets.layout import literal
from explorer.widgets.run_picker import newest_run
from explorer.widgets.session import notifying, put_input, recall, remember

CLASS_PAGE = "classroom"  # never shown to students this way
_OF_ONE_RUN = ("look_inside", "generate")
_OWN = (LANGUAGE, TOUR)  # parameters that differ between browsers
_SETTLED_BY_PAGE = (PRESET, SET)  # that Train itself writes into the address
_BROUGHT, _BROUGHT_TO, _LED = "class_page_number", "class_brought_to", "class_led"  # in the session
_OF_GENERATE = ("generate_prompt", *(widget_key(path) for path, _setting in fields_of(GenerationConfig)))
_GENERATED = "generated"  # a key of the inputs: which text the teacher has generated
_AGAIN = 1.5  # seconds before a student's page that left is brought back again


def shown_query(page: str) -> dict[str, str]:
    """Return the parameters of the teacher's page that let another browser show the same run, step and prompt."""
    query = {name: value for name, value in st.query_params.to_dict().items() if name not in _OWN}
    if page in _OF_ONE_RUN and not query.get(RUN) and (newest := newest_run()):
        query[RUN] = newest
    if page == "look_inside" and not query.get(PROMPT) and (typed := st.session_state.get("inspect_prompt")):
        query[PROMPT] = typed
    return query


def shown_inputs(page: str) -> dict[str, Any]:
    """Return the values of the page's controls that are not in its address: Generate's, or a lesson step's."""
    values = {str(key): value for key, value in st.session_state.items()}
    step = f"lesson-{parameter(LESSON)}-{parameter(STEP) or ''}"
    inputs = {
        key: value
        for key, value in values.items()
        if (page == "generate" and key in _OF_GENERATE)
        or (page == "learn" and (key == "lesson-text" or key.startswith(step)))
    }
    if page == "generate" and (request := recall(GENERATE_REQUEST)):
        inputs[_GENERATED] = request["go"]
    return {key: value for key, value in inputs.items() if isinstance(value, bool | int | float | str)}


def _take_inputs(inputs: Mapping[str, Any]) -> None:
    """Set the controls of the next page to the teacher's values."""
    for key, value in inputs.items():
        if key != _GENERATED:
            put_input(key, value)
        elif recall(_GENERATED) != value:
            remember(_GENERATED, value)
            remember(GENERATE_REQUEST, None)  # so that the page generates the text without a click


def unshared_runs(classroom: Classroom, query: Mapping[str, str]) -> list[RunFolder]:
    """Return the runs in an address that the class cannot read yet."""
    runs = []
    for id in filter(None, map(query.get, (RUN, OTHER_RUN))):
        with suppress(ExplorerError):  # deleted, which the page itself reports
            run = open_run(classroom.root, id)
            if not run.in_gallery and not is_shared(classroom.root, id):
                runs.append(run)
    return runs


def run_of_whom(classroom: Classroom, run_id: str) -> str:
    """Return a run's name and owner in words for the current visitor; "" if there is no such run."""
    try:
        run = open_run(classroom.root, run_id)
    except ExplorerError:
        return ""
    nicknames = {member.id: member.nickname for member in classroom.members()}
    if run.in_gallery:
        return _("the gallery's model {name}", name=run.name)
    if run.member and run.member == visitor().member:
        return _("your own run {name}", name=run.name)
    if run.member:
        return _("{student}'s run {name}", student=nicknames.get(run.member, _("a student")), name=run.name)
    return _("the teacher's run {name}", name=run.name)


def draw_screen_controls(classroom: Classroom, page: str) -> None:
    """Draw the controls that bring the class to this page or keep it there; an unshared run needs a confirmation."""
    if page == CLASS_PAGE:  # it has its own switch
        return
    query, mirrored = shown_query(page), classroom.settings.mirrored
    shares = [
        _("The button shares {run} with the class.", run=run_of_whom(classroom, run.id))
        for run in unshared_runs(classroom, query)
    ]
    if shares:
        shares.append(
            _("All can then read it, fork it and see it on the wall. To undo it, switch its sharing off on Train.")
        )
    if mirrored and shares:
        st.warning(literal(" ".join([_("Students do not see this page: its run is not shared."), *shares])))
        st.button(_("Share the run and show it"), key="mirror_share", on_click=_share, args=(classroom, query))
    with st.sidebar:
        draw_mirror_switch(classroom, "mirror")
        if not mirrored:
            _draw_bring(classroom, page, query, shares)


def _draw_bring(classroom: Classroom, page: str, query: dict[str, str], shares: list[str]) -> None:
    # A new key makes a new popover, which is closed: so it closes once the class was brought.
    with st.popover(
        _("Bring the class here"), icon=":material/co_present:", key=f"bring_{classroom.settings.page_number}"
    ):
        st.caption(literal(" ".join([_("Every student's browser opens this page. Students may leave it."), *shares])))
        label = _("Share and bring the class") if shares else _("Bring the class")
        st.button(label, type="primary", key="bring_class", on_click=_bring, args=(classroom, page, query))


def draw_mirror_switch(classroom: Classroom, key: str) -> None:
    """Draw the switch that lets the students' pages follow the teacher's."""
    about = _(
        "Students' pages show your run, prompt, training step and a lesson's controls, and change nothing, until you "
        "switch this off. While you are on Class, they stay."
    )
    st.session_state[key] = classroom.settings.mirrored
    mirror = notifying()(lambda: classroom.change(mirrored=st.session_state[key]))
    st.toggle(_("Everybody looks at my screen"), key=key, help=about, on_change=mirror)


@notifying()
def _share(classroom: Classroom, query: Mapping[str, str]) -> None:
    for run in unshared_runs(classroom, query):
        mark_shared(classroom.root, run.id)


@notifying()
def _bring(classroom: Classroom, page: str, query: Mapping[str, str]) -> None:
    _share(classroom, query)
    classroom.show(page, query, shown_inputs(page))
    st.toast(_("The class is brought to this page."))


def publish_screen(page: str) -> None:
    """Publish the teacher's page while the class follows the teacher's screen; call it after drawing the page."""
    classroom = served_class()
    if classroom is None or page == CLASS_PAGE or not visitor().is_teacher:
        return
    now, shown = classroom.settings, (page, shown_query(page), shown_inputs(page))
    if now.mirrored and shown != (now.page, now.page_query, now.page_inputs) and not unshared_runs(classroom, shown[1]):
        classroom.show(*shown)


def follow_teacher(page: str) -> None:
    """Open the page that the teacher shows: once, or whenever it changes while the class follows the screen.

    A browser that joins after the class was brought to a page stays where it is.
    """
    if (classroom := served_class()) is None or visitor().is_teacher:
        return
    now = classroom.settings
    if recall(_BROUGHT) is None:
        remember(_BROUGHT, now.page_number)
    led = recall(_LED, 0.0)
    if is_behind(now, page) and (recall(_BROUGHT) < now.page_number or time.monotonic() - led > _AGAIN):
        remember(_BROUGHT, now.page_number)
        remember(_BROUGHT_TO, (now.page, now.page_query.get(RUN)))
        remember(_LED, time.monotonic())
        _take_inputs(now.page_inputs)
        go_to_page(now.page, now.page_query)


def is_behind(now: ClassSettings, page: str) -> bool:
    """Return whether a student's browser must switch to the page that the teacher shows."""
    return (recall(_BROUGHT) or 0) < now.page_number or (now.mirrored and bool(now.page) and not _is_at(now, page))


def _is_at(now: ClassSettings, page: str) -> bool:
    here = {name: value for name, value in st.query_params.to_dict().items() if name not in (*_OWN, *_SETTLED_BY_PAGE)}
    wanted = {name: value for name, value in now.page_query.items() if name not in _SETTLED_BY_PAGE}
    return (page, here) == (now.page, wanted)


def draw_banner(classroom: Classroom, now: ClassSettings, page: str) -> None:
    """Draw a notice for students that the teacher shows this page, and whose run is on it."""
    if now.mirrored and now.page:
        run = run_of_whom(classroom, now.page_query.get(RUN, ""))
        words = (
            _("All see your teacher's screen now: {run}.", run=run) if run else _("All see your teacher's screen now.")
        )
        words = f"{words} {_('You can look, but start and change nothing.')}"
    elif recall(_BROUGHT_TO) == (page, parameter(RUN)):
        run = run_of_whom(classroom, parameter(RUN) or "")
        words = _("Your teacher brought the class here: {run}.", run=run)
        words = words if run else _("Your teacher brought the class here.")
    else:
        remember(_BROUGHT_TO, None)  # the student has left the page
        return
    st.info(literal(words), icon=":material/co_present:")
