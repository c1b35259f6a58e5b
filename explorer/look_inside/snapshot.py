"""Which moment of a run's training is on view: chosen with one slider, and the same for all sections."""

from dataclasses import replace
from functools import partial

import streamlit as st

from core.errors import ExplorerError
from core.runs.folder import RunFolder, list_runs
from explorer.components.time_machine import Clock, time_bar
from explorer.i18n.language import _
from explorer.look_inside.head_emergence import with_emergence
from explorer.look_inside.view import Inspection, head_of
from explorer.services import shared
from explorer.services.shared import Opened
from explorer.streaming.generation import LONGEST_PROMPT
from explorer.widgets import address
from explorer.widgets.layout import literal, show_error
from explorer.widgets.links import end_absent, say_misread_number
from explorer.widgets.prompt import read_prompt
from explorer.widgets.run_picker import run_problem, step_line


def open_snapshot(folder: RunFolder) -> Opened:
    """The run's model at the step in the address, or the kept one before it; the newest where none is asked for."""
    asked = address.step_on_view()
    say_misread_number(address.STEP, range(10**9), _("This is the newest step."))
    kept = [step for step in folder.moments() if asked is not None and step <= asked]
    try:
        return shared.open_model(folder.id, kept[-1] if kept else None)
    except ExplorerError as error:
        show_error(error)
        _offer_snapshot(folder, kept[-1] if kept else None)
        st.stop()


def _offer_snapshot(folder: RunFolder, damaged: int | None) -> None:
    """A button to the newest snapshot other than the one that cannot be opened."""
    steps = [step for step, _unused in folder.snapshots() if step != damaged]
    if steps:
        shown = _("Show step {step}", step=f"{steps[-1]:,}")
        st.button(shown, key="show_snapshot", on_click=address.view_step, args=(steps[-1],))


def clock_of(folder: RunFolder, opened: Opened, prompt: str) -> Clock | None:
    """What moves the views without reruns; None where this server has no routes of ours."""
    if not shared.live_streams():
        return None
    moments = folder.moments() or [opened.step]
    prompt = prompt[-LONGEST_PROMPT:]  # frames read less of it anyway
    clock = Clock(
        "a",
        folder.id,
        prompt,
        moments,
        opened.step,
        _anchor(folder, moments),
        head_of(opened.model),
    )
    return with_emergence(clock, Inspection(folder, opened, read_prompt("", opened.tokenizer)))


def choose_snapshot(folder: RunFolder, opened: Opened, clock: Clock | None) -> None:
    """The slider, where there is a choice; a run that was imported, say, has no history."""
    moments = folder.moments()
    if len(moments) < 2:
        return step_line(folder, opened.step)
    steps = folder.status().steps
    if clock is None:
        step_line(folder, opened.step)
        st.session_state["time_step"] = opened.step
        st.select_slider(
            _("Moment of the training"),
            sorted({*moments, opened.step}),
            key="time_step",
            format_func=lambda step: _("step {step}", step=f"{step:,}"),
            on_change=lambda: _view(st.session_state["time_step"], moments),
        )
        return
    note = _("on the left") if address.run_beside() else _("everything below is the model as it was then")
    with st.container(border=True, key="time_step"):
        moved = time_bar(clock, steps=steps, note=f" · {note}", key="time_bar")
    asked = address.step_on_view()
    if asked is not None and asked != opened.step:
        st.caption(
            _(
                "The weights of step {asked} were not kept: this is step {step}, the nearest before it.",
                asked=f"{asked:,}", step=f"{opened.step:,}",
            )
        )  # fmt: skip
    if moved:
        address.view_step(None if moved.newest else moved.step)
        st.rerun()


def choose_other(clock: Clock) -> Clock | None:
    """The select of what stands beside the run on view, another moment of it or another run, and that one's slider."""
    runs = {folder.id: folder for folder in list_runs(shared.data_dir()) if folder.has_weights}
    beside = address.run_beside()
    if beside and beside not in runs:
        end_absent(run_problem(beside), _("Compare with nothing"), partial(address.view_beside, None))
    st.session_state["compare_with"] = beside
    chosen = st.selectbox(
        _("Compare with"),
        [clock.run, *(id for id in runs if id != clock.run)],
        index=None,
        key="compare_with",
        format_func=lambda id: _("another moment of this run") if id == clock.run else runs[id].name,
        placeholder=_("Compare with …"),
        label_visibility="collapsed",
        width=320,
        on_change=lambda: address.view_beside(st.session_state["compare_with"]),
    )
    if chosen is None:
        return None
    folder = runs[chosen]
    moments = folder.moments()
    asked = address.step_beside()
    step = asked if asked in moments else moments[0] if chosen == clock.run else moments[-1]
    say_misread_number(address.BESIDE_STEP, moments, _("On the right is step {step}.", step=f"{step:,}"))
    other = replace(
        clock, side="b", run=chosen, moments=moments, step=step, anchor=_anchor(folder, moments), emergence_steps=()
    )
    name = _("the same run") if chosen == clock.run else folder.name
    if len(moments) < 2:
        st.caption(_("On the right: {name} at step {step}.", name=literal(name), step=f"{step:,}"))
        return other
    with st.container(border=True, key="time_step_beside"):
        note = _("on the right, {name}", name=name)
        same = chosen == clock.run
        moved = time_bar(other, steps=folder.status().steps, note=f" · {note}", key="time_bar_beside", same=same)
    if moved:
        address.view_beside(chosen, moved.step)
    return other


def _view(step: int, moments: list[int]) -> None:
    """The newest moment is not written down: the page then goes on to what is newest later."""
    address.view_step(None if step == moments[-1] else step)


def _anchor(folder: RunFolder, moments: list[int]) -> int:
    """The step whose map all others are turned like. While a run trains it stays for a while, so that maps can, too."""
    name = f"anchor-{folder.id}"
    kept = address.recall(name)
    if kept not in moments or folder.status().ended or moments[-1] > 2 * kept:
        kept = moments[-1]
        address.remember(name, kept)
    return kept
