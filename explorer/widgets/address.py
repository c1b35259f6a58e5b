"""The address of a page: its parameters, their one reader and writer, and a run's settings in them.

The current run is in the address (`?run=ID`), so a reload or a shared link shows it again. So is a draft that is not
a run yet (`?preset=gpt-tiny&set=model.n_layer:6;train.steps:500`), so a teacher can share settings as a link.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.atomic_io import parse_json
from core.config import SETTINGS, RunConfig
from core.errors import ConfigError
from core.formatting import whole_number
from core.presets import PRESETS, preset
from core.settings import differences
from explorer.components.page import replace_address
from explorer.i18n.language import _
from explorer.widgets.session import recall, remember

ROOT = Path(__file__).resolve().parents[2]
NAVIGATION = ROOT / "explorer" / "navigation.py"  # the script that Streamlit runs for every page
FIRST_PRESET = next(iter(PRESETS))
VIEW_KEY = "inspect_view"  # the widget of the view of Look inside

# Every parameter of an address.
RUN, STEP = "run", "step"  # the current run, and the step of its weights; without one, the newest
OTHER_RUN, OTHER_STEP = "with", "with_step"  # the run and step that it is compared with
VIEW, HEAD = "view", "head"  # of Look inside
PART = "part"  # the opened part of the model picture (`explorer.look_inside.opened_part`)
PROMPT = "prompt"  # of Look inside, as typed
PRESET, SET, TEXT = DRAFTED = "preset", "set", "text"  # the settings of the next run
FORK = "fork"  # the run whose weights at STEP it starts from
PASSAGE, LETTERS = "passage", "letters"  # of TEXT, to be guessed
LESSON, HIDE = "lesson", "hide"  # a lesson, whose step is STEP, with control values in SET; and its hidden controls
LANGUAGE = "language"  # of the pages
SWEEP = "sweep"  # the current sweep
TOUR = "tour"  # the step of the tour (`explorer.home.tour`)
SHOWN = {"train": (RUN, FORK), "learn": (LESSON, STEP)}  # the parameters that decide what a page shows

PROMPT_FOLLOWED = "prompt_followed"  # the name for `recall` of the prompt that the page last took from the address
GENERATE_REQUEST = "generate_request"  # the name for `recall` of the text last requested on Generate
STARTED_RUN = "started_run"  # in the session: a run that a page has started, see `explorer.widgets.drafts`
_WRITTEN = "address_written"  # in the session: earlier addresses and when they were left, and the one written last
_ON_ITS_WAY = 4.0  # seconds for which a request may still bring an earlier address


def parameter(name: str) -> str | None:
    """Return a parameter of the address, unchecked; None if it is absent or empty."""
    return st.query_params.get(name) or None


def number_parameter(name: str) -> int | None:
    """Return a parameter of the address that is a whole number; None for anything else."""
    return whole_number(st.query_params.get(name, ""))


def write(changes: Mapping[str, object]) -> None:
    """Change parameters of the address, as one entry in the browser's history; None removes one."""
    keep_written()  # a callback runs before the page
    here, wanted = st.query_params.to_dict(), _changed(changes)
    if wanted != here:
        left = _recently_written()[0]
        remember(_WRITTEN, ([*left, (here, time.monotonic())], wanted))
        st.query_params.from_dict(wanted)


def keep_written() -> None:
    """Write the address again if a request brings an earlier one; call this before a page is drawn.

    A request has the address that the browser knew when it was sent. A request under way while a click changes the
    address (a check of a job, the news of a training run, the next click) would undo the click. The browser's Back is
    none of these: after it, earlier writes no longer count, because the next request would undo Back.
    """
    if went_back():
        remember(_WRITTEN, ([], {}))
        return
    left, wanted = _recently_written()
    here = st.query_params.to_dict()
    if here != wanted and any(here == address for address, _ in left):
        st.query_params.from_dict(wanted)


def _recently_written() -> tuple[list[tuple[dict[str, str], float]], dict[str, str]]:
    """Return the addresses that requests under way may bring, with the times they were left, and the one written."""
    left, wanted = recall(_WRITTEN, ([], {}))
    return [(address, at) for address, at in left if time.monotonic() - at < _ON_ITS_WAY], wanted


def went_back() -> bool:
    """Return whether the browser's Back or Forward caused this rerun."""
    request = get_script_run_ctx(suppress_warning=True)
    return request is not None and request.is_history_navigation


def rewrite(changes: Mapping[str, object]) -> None:
    """Change parameters without an entry in the browser's history; this rerun still sees the old ones."""
    with st.sidebar:
        replace_address(st.query_params.to_dict(), _changed(changes))


def _changed(changes: Mapping[str, object]) -> dict[str, str]:
    now = st.query_params.to_dict()
    return {name: str(value) for name, value in (now | changes).items() if value is not None}


def view_run(run_id: str | None) -> None:
    """Write a run to the address, or remove it."""
    draft = dict.fromkeys((PRESET, SET, FORK, STEP)) if run_id else {}  # the draft of this run
    write({RUN: run_id or None, **draft})


def page_file(name: str) -> str:
    """Return the file of a page, by its name ("train") or its path in the repository ("pages/train.py")."""
    return str(ROOT / "pages" / f"{Path(name).stem}.py")


def go_to_page(name: str, query: Mapping[str, str]) -> NoReturn:
    """Open a page with exactly these parameters, regardless of earlier writes to the address and of started runs."""
    remember(_WRITTEN, ([], {}))
    remember(PROMPT_FOLLOWED, None)
    st.session_state.pop(STARTED_RUN, None)
    st.switch_page(page_file(name), query_params=query)


def query_for(run_id: str | None, page: str = "") -> dict[str, str]:
    """Return the parameters that keep the current run, the page's view of it, and the tour on another page."""
    view = recall(VIEW_KEY) if page == "look_inside" else None
    query = {RUN: run_id, VIEW: view, TOUR: parameter(TOUR)}
    return {name: value for name, value in query.items() if value}


def open_page(
    name: str, run_id: str | None = None, config: RunConfig | None = None, query: Mapping[str, str] | None = None
) -> NoReturn:
    """Open a page, with a run, a draft to start from, or further parameters."""
    draft = address_of(config) if config else {}
    st.switch_page(page_file(name), query_params=query_for(run_id, name) | dict(query or {}) | draft)


def address_of(config: RunConfig) -> dict[str, str]:
    """Return the query parameters for `config`: its preset, and its differences from the preset."""
    name = config.preset if config.preset in PRESETS else FIRST_PRESET
    changed = differences(config, preset(name))
    parts = [f"{path}:{json.dumps(value).strip(chr(34))}" for path, value in changed.items()]
    return {PRESET: name} | ({SET: ";".join(parts)} if parts else {})


def draft_address(config: RunConfig) -> str:
    """Return the address of Train with settings, relative to the app's pages."""
    return "train?" + urlencode(address_of(config), safe=":;")


def config_from(query: Mapping[str, str]) -> RunConfig | None:
    """Return the config in an address; None if there is none. Raises ConfigError, which names what is wrong."""
    if not any(query.get(name) for name in DRAFTED):
        return None
    changes: dict[str, Any] = {"data.corpus": query[TEXT]} if query.get(TEXT) else {}
    types = {path: setting.type for path, setting in SETTINGS.items()}
    for part in setting_parts(query.get(SET)):
        path, colon, value = part.partition(":")
        if not colon:
            raise ConfigError(
                _("The address says set={part}, but a setting has the form model.n_layer:6.", part=repr(part[:60]))
            )
        changes[path] = value if types.get(path) is str else _number(value)
    return preset(query.get(PRESET) or FIRST_PRESET).replace(changes)


def setting_parts(text: str | None) -> list[str]:
    """Return the parts of the parameter SET, "name:value" each."""
    return [part for part in (text or "").split(";") if part]


def _number(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text
