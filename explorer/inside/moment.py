"""Which moment of a run's training is on view: chosen with one slider, and the same for all sections."""

import streamlit as st

from core.errors import ExplorerError
from core.runs.folder import RunFolder
from explorer import service, state
from explorer.components.time_machine import Clock, time_bar
from explorer.inside.view import head_of
from explorer.run_choice import step_line
from explorer.service import Opened
from explorer.ui import show_error

_NOTE = " · everything below is the model as it was then"


def open_moment(folder: RunFolder) -> Opened:
    """The run's model at the step in the address, or the kept one before it; the newest where none is asked for."""
    asked = state.step_on_view()
    kept = [step for step in folder.moments() if asked is not None and step <= asked]
    try:
        return service.open_model(folder.id, kept[-1] if kept else None)
    except ExplorerError as error:
        show_error(error)
        st.stop()


def clock_of(folder: RunFolder, opened: Opened, prompt: str) -> Clock | None:
    """What moves the views without reruns; None where this server has no routes of ours."""
    if not service.live_streams():
        return None
    moments = folder.moments() or [opened.step]
    return Clock("a", folder.id, prompt, moments, opened.step, _anchor(folder, moments), head_of(opened.model))


def choose_moment(folder: RunFolder, opened: Opened, clock: Clock | None) -> None:
    """The slider, where there is a choice; a run that was imported, say, has no history."""
    moments = folder.moments()
    if len(moments) < 2:
        return step_line(folder, opened.step)
    steps = folder.status().steps
    if clock is None:
        step_line(folder, opened.step)
        st.session_state["time_step"] = opened.step
        st.select_slider(
            "Moment of the training",
            sorted({*moments, opened.step}),
            key="time_step",
            format_func=lambda step: f"step {step:,}",
            on_change=lambda: _view(st.session_state["time_step"], moments),
        )
        return
    with st.container(border=True, key="time_step"):
        moved = time_bar(clock, steps=steps, note=_NOTE, key="time_bar")
    if moved:
        state.view_step(None if moved.newest else moved.step)
        st.rerun()


def _view(step: int, moments: list[int]) -> None:
    """The newest moment is not written down: the page then goes on to what is newest later."""
    state.view_step(None if step == moments[-1] else step)


def _anchor(folder: RunFolder, moments: list[int]) -> int:
    """The step whose map all others are turned like. While a run trains it stays for a while, so that maps can, too."""
    name = f"anchor-{folder.id}"
    kept = state.recall(name)
    if kept not in moments or folder.status().ended or moments[-1] > 2 * kept:
        kept = moments[-1]
        state.remember(name, kept)
    return kept
