"""The address of a page: its parameters, one reader and one writer, and what drafts and lessons say in it.

The run on view is in the address (`?run=ID`), so a refresh or a shared link shows it again. So is a draft that is not
a run yet (`?preset=gpt-tiny&set=model.n_layer:6;train.steps:500`), so a teacher can hand out settings as a link.
"""

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote, unquote, urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.atomic_io import parse_json
from core.config import RunConfig
from core.errors import ConfigError
from core.formatting import whole_number
from core.lessons.lesson_text import ENGLISH
from core.presets import PRESETS, preset
from core.settings import differences, fields_of
from explorer.components.page import replace_address
from explorer.i18n.language import _, language
from explorer.widgets.session import recall, remember

ROOT = Path(__file__).resolve().parents[2]
NAVIGATION = ROOT / "explorer" / "navigation.py"  # the script that Streamlit runs for every page
FIRST_PRESET = next(iter(PRESETS))
VIEW_KEY = "inspect_view"  # the widget of the view of Look inside

# Every parameter of an address.
RUN, STEP = "run", "step"  # the run on view, and the step of its weights; without one, the newest
OTHER_RUN, OTHER_STEP = "with", "with_step"  # what it is compared with
VIEW, HEAD = "view", "head"  # of Look inside
PART = "part"  # of the picture of the model that is opened (`explorer.look_inside.opened_part`)
PROMPT = "prompt"  # of Look inside, as typed
PRESET, SET, TEXT = _DRAFTED = "preset", "set", "text"  # the settings of the next run
FORK = "fork"  # the run with whose weights of STEP it begins
PASSAGE, LETTERS = "passage", "letters"  # of TEXT, to be guessed
LESSON, HIDE = "lesson", "hide"  # a lesson, whose step is STEP, with the values of controls in SET; and those hidden
LANGUAGE = "language"  # of the pages
TOUR = "tour"  # the step of the tour (`explorer.home.tour`)
SHOWN = {"train": (RUN, FORK), "learn": (LESSON, STEP)}  # the parameters that say which thing a page shows

_DRAFT, _BEGUN, _STUDENT = "draft_config", "begun_run", "student"  # in the session
_WRITTEN = "address_written"  # in the session: the addresses left with the times they were, and the one written last
_ON_ITS_WAY = 4.0  # seconds that a request may be on its way with the address from before
_LATE = 8.0  # seconds that a request may be on its way, however long the page before it took to draw


class _Begun(NamedTuple):
    """A run that was started in this session, for as long as the browser may not know of it."""

    run_id: str
    left: dict[str, str]  # the address of its draft
    at: float  # seconds of the monotonic clock, at the latest drawing for it
    drawn: bool = False


def parameter(name: str) -> str | None:
    """Return a parameter of the address as it stands there, unchecked; None where it is absent or empty."""
    return st.query_params.get(name) or None


def number_parameter(name: str) -> int | None:
    """Return a parameter of the address that is a whole number; None for anything else."""
    return whole_number(st.query_params.get(name, ""))


def write(changes: Mapping[str, object]) -> None:
    """Change parameters of the address, as one entry in the browser's history; None takes one out."""
    keep_written()  # a callback comes before the page
    here, wanted = st.query_params.to_dict(), _changed(changes)
    if wanted != here:
        left = _recently_written()[0]
        remember(_WRITTEN, ([*left, (here, time.monotonic())], wanted))
        st.query_params.from_dict(wanted)


def keep_written() -> None:
    """Write the address once more where a request brings one from before; call it before a page is drawn.

    A request carries the address as the browser knew it. One that was on its way when a click changed the address (a
    look at a job, the news of a run that trains, the next click) would take the click back. The browser's Back is none
    of these.
    """
    left, wanted = _recently_written()
    here = st.query_params.to_dict()
    if here != wanted and any(here == address for address, _ in left) and not _went_back():
        st.query_params.from_dict(wanted)


def _recently_written() -> tuple[list[tuple[dict[str, str], float]], dict[str, str]]:
    """Return the addresses that requests on their way may bring, with the times they were left, and the one written."""
    left, wanted = recall(_WRITTEN, ([], {}))
    return [(address, at) for address, at in left if time.monotonic() - at < _ON_ITS_WAY], wanted


def _went_back() -> bool:
    request = get_script_run_ctx(suppress_warning=True)
    return request is not None and request.is_history_navigation


def rewrite(changes: Mapping[str, object]) -> None:
    """Change the same without an entry in the browser's history; this very rerun does not know of it."""
    with st.sidebar:
        replace_address(st.query_params.to_dict(), _changed(changes))


def _changed(changes: Mapping[str, object]) -> dict[str, str]:
    now = st.query_params.to_dict()
    return {name: str(value) for name, value in (now | changes).items() if value is not None}


def view_run(run_id: str | None) -> None:
    """Put a run into the address, or take it out."""
    draft = dict.fromkeys((PRESET, SET, FORK, STEP)) if run_id else {}  # that this run began as
    write({RUN: run_id or None, **draft})


def lead_to_run(run_id: str) -> None:
    """Let the page on view open a run that was started just now: see `run_to_open`."""
    st.session_state[_BEGUN] = _Begun(run_id, st.query_params.to_dict(), time.monotonic())


def run_to_open() -> str | None:
    """Return the run that was started from this page, for the request of the click and those already on their way.

    Such are a second click, the look at a trial that a page takes twice a second, and the redraw that the news of the
    new run asks for: without this they would bring the left page back. The browser's Back is none of these.
    """
    begun = st.session_state.get(_BEGUN)
    on_its_way = begun is not None and not _went_back() and time.monotonic() - begun.at < _LATE
    # A browser may have the new address a moment before the new page, and then sends it with the left one.
    here, known = st.query_params.to_dict(), begun and begun.left | {RUN: begun.run_id}
    return begun.run_id if on_its_way and here in (begun.left, known) else None


def stay_with_begun_run() -> None:
    """Keep a run on view for requests of its draft, until the browser has come with the run's address."""
    begun = st.session_state.get(_BEGUN)
    run_id = run_to_open()
    if run_id and run_id != parameter(RUN):
        view_run(run_id)
    elif begun and begun.drawn:
        del st.session_state[_BEGUN]
    elif begun:  # the very request that started it
        st.session_state[_BEGUN] = begun._replace(drawn=True)


def begun_run_is_drawn() -> None:
    """Count the time of requests on their way from now on: they waited while the page of the new run was drawn."""
    if begun := st.session_state.get(_BEGUN):
        st.session_state[_BEGUN] = begun._replace(at=time.monotonic())


def page_file(name: str) -> str:
    """Return the file of a page, by its name ("train") or its path in the repository ("pages/train.py")."""
    return str(ROOT / "pages" / f"{Path(name).stem}.py")


def query_for(run_id: str | None, page: str = "") -> dict[str, str]:
    """Return what the address of another page needs to keep the run on view, the page's view of it, and the tour."""
    view = recall(VIEW_KEY) if page == "look_inside" else None
    query = {RUN: run_id, VIEW: view, TOUR: parameter(TOUR)}
    return {name: value for name, value in query.items() if value}


def open_page(
    name: str, run_id: str | None = None, config: RunConfig | None = None, query: Mapping[str, str] | None = None
) -> NoReturn:
    """Go to a page, with a run on view, a draft to start from, or further parameters."""
    draft = address_of(config) if config else {}
    st.switch_page(page_file(name), query_params=query_for(run_id, name) | dict(query or {}) | draft)


def address_of(config: RunConfig) -> dict[str, str]:
    """Return the query parameters that say the same as `config`: its preset, and what differs from it."""
    name = config.preset if config.preset in PRESETS else FIRST_PRESET
    changed = differences(config, preset(name))
    parts = [f"{path}:{json.dumps(value).strip(chr(34))}" for path, value in changed.items()]
    return {PRESET: name} | ({SET: ";".join(parts)} if parts else {})


def config_from(query: Mapping[str, str]) -> RunConfig | None:
    """Return the config that an address asks for; None if it asks for none. Raises ConfigError naming what is wrong."""
    if not any(query.get(name) for name in _DRAFTED):
        return None
    changes: dict[str, Any] = {"data.corpus": query[TEXT]} if query.get(TEXT) else {}
    types = {path: known.type for path, known in fields_of(RunConfig)}
    for part in _parts(query.get(SET)):
        path, colon, value = part.partition(":")
        if not colon:
            raise ConfigError(
                _("The address says set={part}, but a setting has the form model.n_layer:6.", part=repr(part[:60]))
            )
        changes[path] = value if types.get(path) is str else _number(value)
    return preset(query.get(PRESET) or FIRST_PRESET).replace(changes)


def _parts(text: str | None) -> list[str]:
    return [part for part in (text or "").split(";") if part]


def _number(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text


def draft() -> RunConfig:
    """Return the next run's settings: of the address, the visitor or the first preset. Raises ConfigError."""
    return config_from(st.query_params.to_dict()) or st.session_state.get(_DRAFT) or preset(FIRST_PRESET)


def keep_draft(config: RunConfig) -> None:
    """Remember the settings of the next run for this visitor, on every page."""
    st.session_state[_DRAFT] = config
    if any(name in st.query_params for name in _DRAFTED):
        write_draft(config)


def write_draft(config: RunConfig, *, opening: bool = False) -> None:
    """Put a draft into the address where it says another; `opening`: nobody has chosen anything on the page."""
    if config != (config_from(st.query_params.to_dict()) or preset(FIRST_PRESET)):
        (rewrite if opening else write)(dict.fromkeys(_DRAFTED) | address_of(config))


def leave_draft() -> None:
    """Take the settings of the next run out of the address and out of the session."""
    st.session_state.pop(_DRAFT, None)
    write(dict.fromkeys(_DRAFTED))


def text_of_link() -> str | None:
    """Return the text that the address asks a new run to learn from, as it stands there."""
    return dict(part.partition(":")[::2] for part in _parts(parameter(SET))).get("data.corpus") or parameter(TEXT)


def leave_text_of_link() -> None:
    """Take that text out of the address; all other settings stay."""
    others = [part for part in _parts(parameter(SET)) if not part.startswith("data.corpus:")]
    write({SET: ";".join(others) or None, TEXT: None})


def view_lesson(lesson: str | None, step: str | None = None) -> None:
    """Put a lesson's step into the address, or take it out. What a teacher's link chose for it comes back with it."""
    here = parameter(LESSON), parameter(STEP)
    if here != (lesson, step):
        remember(_handed_out(*here), {name: st.query_params.get(name) for name in (SET, HIDE)})
        chosen = recall(_handed_out(lesson, step), dict.fromkeys((SET, HIDE)))
        write({LESSON: lesson, STEP: step, **chosen})


def _handed_out(lesson: str | None, step: str | None) -> str:
    return f"link-{lesson}-{step}"


def lesson_values() -> dict[str, str]:
    """Return what a teacher's link sets, by the name of the control; checked by whoever draws it."""
    parts = [part.partition(":") for part in _parts(parameter(SET))] if parameter(LESSON) else []
    return {name: unquote(value) for name, colon, value in parts if colon}


def hidden_controls() -> set[str]:
    """Return the names of the controls that a teacher's link hides."""
    hidden = set(_parts(parameter(HIDE)))
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
    query[SET] = ";".join(f"{name}:{quote(str(value), safe='')}" for name, value in (values or {}).items())
    query[HIDE] = ";".join(hide)
    return "learn?" + urlencode({name: value for name, value in query.items() if value}, safe=":;")
