"""The settings of the next run, in the address and the session, until the run that starts with them is shown."""

import time
from typing import NamedTuple

import streamlit as st

from core.config import RunConfig
from core.presets import preset
from explorer.widgets.address import (
    DRAFTED,
    FIRST_PRESET,
    RUN,
    SET,
    STARTED_RUN,
    TEXT,
    address_of,
    config_from,
    parameter,
    rewrite,
    setting_parts,
    view_run,
    went_back,
    write,
)

_DRAFT = "draft_config"  # in the session
_LATE = 8.0  # seconds that a request may be under way, however long the page before it took to draw


class _StartedRun(NamedTuple):
    """A run that was started in this session, kept until the browser has its address."""

    run_id: str
    left: dict[str, str]  # the address of its draft
    at: float  # seconds of the monotonic clock, when it was last drawn
    drawn: bool = False


def draft() -> RunConfig:
    """Return the next run's settings: from the address, the session or the first preset. Raises ConfigError."""
    return config_from(st.query_params.to_dict()) or st.session_state.get(_DRAFT) or preset(FIRST_PRESET)


def keep_draft(config: RunConfig) -> None:
    """Remember the settings of the next run for this visitor, on every page."""
    st.session_state[_DRAFT] = config
    if any(name in st.query_params for name in DRAFTED):
        write_draft(config)


def write_draft(config: RunConfig, *, opening: bool = False) -> None:
    """Write a draft to the address if that has another one; `opening`: nothing was chosen on the page yet."""
    if config != (config_from(st.query_params.to_dict()) or preset(FIRST_PRESET)):
        (rewrite if opening else write)(dict.fromkeys(DRAFTED) | address_of(config))


def leave_draft() -> None:
    """Remove the settings of the next run from the address and the session."""
    st.session_state.pop(_DRAFT, None)
    write(dict.fromkeys(DRAFTED))


def text_of_link() -> str | None:
    """Return the text that the address names for a new run, unchecked."""
    return dict(part.partition(":")[::2] for part in setting_parts(parameter(SET))).get("data.corpus") or parameter(
        TEXT
    )


def leave_text_of_link() -> None:
    """Remove the text from the address; all other settings stay."""
    others = [part for part in setting_parts(parameter(SET)) if not part.startswith("data.corpus:")]
    write({SET: ";".join(others) or None, TEXT: None})


def note_started_run(run_id: str) -> None:
    """Let the current page open a run that was just started; see `run_to_open`."""
    st.session_state[STARTED_RUN] = _StartedRun(run_id, st.query_params.to_dict(), time.monotonic())


def run_to_open() -> str | None:
    """Return the run that was started from this page, for the request of the click and those already under way.

    These are a second click, the page's check of a trial twice a second, and the rerun that the news of the new run
    causes: without this they would bring the old page back. The browser's Back is none of these.
    """
    started = st.session_state.get(STARTED_RUN)
    on_its_way = started is not None and not went_back() and time.monotonic() - started.at < _LATE
    # A browser may have the new address shortly before the new page, and then sends it with the old page.
    here, known = st.query_params.to_dict(), started and started.left | {RUN: started.run_id}
    return started.run_id if on_its_way and here in (started.left, known) else None


def keep_started_run() -> None:
    """Keep showing a run for requests from its draft, until the browser sends the run's address."""
    started = st.session_state.get(STARTED_RUN)
    run_id = run_to_open()
    if run_id and run_id != parameter(RUN):
        view_run(run_id)
    elif started and started.drawn:
        del st.session_state[STARTED_RUN]
    elif started:  # the request that started it
        st.session_state[STARTED_RUN] = started._replace(drawn=True)


def note_started_run_drawn() -> None:
    """Restart the time limit for requests under way: they waited while the page of the new run was drawn."""
    if started := st.session_state.get(STARTED_RUN):
        st.session_state[STARTED_RUN] = started._replace(at=time.monotonic())
