"""Forks, in which a run starts from another run's weights, and help for failed runs."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from core.config import RunConfig
from core.errors import ExplorerError, RunError
from core.formatting import format_rate
from core.live_settings import RATE, STEPS, with_change
from core.runs.ancestry import fork, fork_config
from core.runs.commands import config_now
from core.runs.documents import progress_of
from core.runs.folder import RunFolder, open_run
from core.runs.records import RunRecord, Status
from core.runs.weights import weights_step
from core.training.progress_summary import SENTENCES
from explorer.i18n.formatting import model_in_words
from explorer.i18n.language import N_, _, ngettext
from explorer.services import shared
from explorer.services.cost_trials import submit_run
from explorer.streaming.jsonl_tail import curve_rows
from explorer.train.estimated_cost import most_steps
from explorer.widgets import address
from explorer.widgets.forms import forget_inputs
from explorer.widgets.layout import errors_shown, literal
from explorer.widgets.session import click_result, do_once, forget_click, notifying, recall, remember, ticket


class Parent(NamedTuple):
    """The run whose weights a new run starts from."""

    folder: RunFolder
    step: int
    config: RunConfig  # the settings that those weights were trained with


class ForkSteps(NamedTuple):
    """The steps whose weights are saved, so that another run can start from them."""

    steps: list[int]
    usual: int  # the newest; if the loss has risen, the best one before that
    risen_after: int  # the last step before the loss rose; the newest if it did not
    advice: str  # what happened and which step to go back to; "" if all is well

    def warning(self, step: int) -> str:
        """Return a warning for a step after which the loss had already risen; "" for any other step."""
        return self.advice if step > self.risen_after else ""


def fork_steps(folder: RunFolder) -> ForkSteps | None:
    """Return the steps to fork a run from; None if it has saved no weights yet."""
    steps = sorted({step for step, _unused in folder.snapshots()} | {weights_step(folder.weights_path)} - {-1})
    if not steps:
        return None
    progress = progress_of(folder, curve_rows(folder))
    if progress is None or progress.risen_after is None:
        return ForkSteps(steps, steps[-1], steps[-1], "")
    usual = progress.back if progress.back in steps else steps[-1]
    return ForkSteps(steps, usual, progress.risen_after, _(SENTENCES[progress.kind], **progress.numbers))


@st.fragment
def draw_fork(folder: RunFolder) -> None:
    """Draw the form for a fork of this run: from which step, and for how many steps."""
    with st.popover(_("Fork"), icon=":material/fork_right:", key="fork", on_change="rerun"):
        st.caption(_("A new run that starts from a checkpoint of this one, with training settings of your choice."))
        if not folder.status().ended:
            st.caption(_("This run continues to train."))
        offered = fork_steps(folder)
        if offered is None:
            st.caption(_("This run has no saved weights yet; the first are saved when training starts."))
            return
        steps = offered.steps
        chosen = recall(f"fork_step-{folder.id}")  # if none, the usual one, which advances while the run trains
        st.session_state["fork_step"] = step = chosen if chosen in steps else offered.usual
        losses = losses_about(curve_rows(folder), steps)
        st.selectbox(
            _("Start from checkpoint"),
            steps,
            key="fork_step",
            format_func=lambda step: _step_in_words(step, losses.get(step), risen=step > offered.risen_after),
            accept_new_options=True,  # for a typed step that is not saved, `_choose` takes the nearest
            filter_mode="contains",
            on_change=_choose,
            args=(folder, steps),
        )
        if sentence := recall(f"fork_told-{folder.id}"):
            st.caption(sentence)
        config, label = _settings(folder, step), _("Choose the fork's settings")
        if config and st.button(label, key="fork_go", icon=":material/tune:", width="stretch"):
            _open_settings(folder, step, config)
        if warning := offered.warning(step):
            st.warning(warning)


def open_fork_at(folder: RunFolder, step: int) -> None:
    """Open the settings of a new run that starts from the weights of a step."""
    with errors_shown():
        config = fork_config(folder, step).replace({STEPS: usual_steps(folder.status(), step)})
        _open_settings(folder, step, config)


def _open_settings(folder: RunFolder, step: int, config: RunConfig) -> None:
    address.open_page("train", config=config, query={address.FORK: folder.id, address.STEP: str(step)})


def _step_in_words(step: int, loss: float | None, *, risen: bool) -> str:
    if loss is None:
        return _("step {step}", step=f"{step:,}")
    numbers = {"step": f"{step:,}", "loss": f"{loss:.2f}"}
    return _("step {step} · loss {loss} (increased)", **numbers) if risen else _("step {step} · loss {loss}", **numbers)


def _settings(folder: RunFolder, step: int) -> RunConfig | None:
    slot, label = f"fork_steps-{folder.id}-{step}", _("Steps to train from there")
    st.session_state["fork_steps"] = recall(slot) or usual_steps(folder.status(), step)
    keep = {"key": "fork_steps", "on_change": lambda: remember(slot, st.session_state["fork_steps"])}
    most = max(most_steps(), st.session_state["fork_steps"])
    steps = st.number_input(label, 1, most, step=100, **keep)
    with errors_shown():
        return fork_config(folder, step).replace({STEPS: steps})


def usual_steps(status: Status, step: int) -> int:
    """Return the parent's remaining steps, so that both curves end together; at its end, half of its steps."""
    left = max(status.step, status.steps) - step
    return left if left > 0 else max(100, int(round(step / 2, -2)))


def _choose(folder: RunFolder, steps: list[int]) -> None:
    picked, note = st.session_state["fork_step"], ""
    if isinstance(picked, str):
        picked, note = nearest_saved_step(picked, steps)
    remember(f"fork_step-{folder.id}", picked)
    remember(f"fork_told-{folder.id}", note)


def nearest_saved_step(typed: str, steps: Sequence[int]) -> tuple[int, str]:
    """Return the saved step nearest to the typed one, of which only the digits count, and a note if it differs."""
    digits = re.sub(r"[^0-9]", "", typed)[:9]
    if not digits:
        return steps[-1], _("A step is a whole number, so the newest one is chosen.")
    wanted = int(digits)
    nearest = min(steps, key=lambda step: abs(step - wanted))
    if nearest == wanted:
        return nearest, ""
    steps = {"wanted": f"{wanted:,}", "nearest": f"{nearest:,}"}
    return nearest, _("No weights are saved for step {wanted}; the nearest are those of step {nearest}.", **steps)


def losses_about(rows: Sequence[Mapping[str, Any]], steps: Sequence[int]) -> dict[int, float]:
    """Return the loss at each step: on validation text if measured near it, else on the batches around it."""
    losses = {}
    for column, share in (("loss", 0.08), ("val_loss", 0.04)):  # the latter takes precedence
        known = [row for row in rows if row.get(column) is not None]
        at = np.array([row["step"] for row in known])
        values = np.array([row[column] for row in known])
        for step in steps:
            near = np.abs(at - step) <= 1 + share * step
            if near.any():
                closest = np.abs(at - step)[near].argmin()
                losses[step] = float(values[near].mean() if column == "loss" else values[near][closest])
    return losses


def draw_parent(record: RunRecord) -> None:
    """Draw where the run's first weights come from, with a link."""
    if not record.parent or record.parent_step is None:
        return
    step = f"{record.parent_step:,}"
    try:
        name = open_run(shared.data_dir(), record.parent).name
    except ExplorerError:
        st.caption(_("Started from step {step} of a run that was deleted.", step=step))
        return
    with st.container(gap=None, key="parent"):
        st.caption(_("Started from step {step} of", step=step))
        _draw_link(record.parent, literal(name))


def _draw_link(run_id: str, label: str) -> None:
    query = address.query_for(run_id)
    st.page_link(address.page_file("train"), label=label, icon=":material/fork_right:", query_params=query)


def parent_from_address() -> Parent | None:
    """Return the run to fork, if the address names one. Raises RunError if it cannot be forked there."""
    run_id, wanted = address.parameter(address.FORK), address.number_parameter(address.STEP)
    if run_id is None:
        return None
    folder = open_run(shared.data_dir(), run_id)
    offered = fork_steps(folder)
    step = offered.usual if wanted is None and offered else wanted
    name = repr(folder.name)
    if step is None:
        raise RunError(
            _("The run {name} has no saved weights yet. The new run starts from scratch instead.", name=name)
        )
    if offered is None or step not in offered.steps:
        problem = _(
            "The run {name} has no saved weights for step {step}. The new run starts from scratch instead.",
            name=name, step=f"{step:,}",
        )  # fmt: skip
        raise RunError(problem)
    return Parent(folder, step, fork_config(folder, step))


def draw_parent_checkpoint(parent: Parent) -> None:
    """Draw the checkpoint that the fork starts from, and the settings that it fixes."""
    model = parent.config.model
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="parent"):
        with st.container(gap=None, width="content"):
            st.markdown(
                _(
                    "The weights of **{name}** at step **{step}**.",
                    name=literal(parent.folder.name),
                    step=f"{parent.step:,}",
                )
            )
            _draw_link(parent.folder.id, _("Open that run"))
        st.button(_("Start from scratch"), key="fork_leave", on_click=_leave_fork)
    if (offered := fork_steps(parent.folder)) and (warning := offered.warning(parent.step)):
        st.warning(warning)
    shape = model_in_words(model)
    if model.kind == "gpt":
        shape = ngettext(
            "{model}, {count} head, width {width}", "{model}, {count} heads, width {width}",
            model.n_head, model=shape, width=model.n_embd,
        )  # fmt: skip
    note = _(
        "{shape}, context {context}: the architecture is fixed, because trained weights fit only their own "
        "architecture. The optimizer and the learning rate schedule start again.",
        shape=shape,
        context=model.block_size,
    )
    st.caption(f":material/lock: {note}")


def _leave_fork() -> None:
    address.write({address.FORK: None, address.STEP: None})
    forget_inputs()


_SLOWER_FORK = "trouble_slower"  # the button
_SLOWER = 3  # a third of the learning rate
_NOT_FINITE = N_(
    "**Probable cause:** the learning rate is too high. Each step moved the weights too far, until the numbers "
    "overflowed. A lower learning rate takes shorter steps."
)
_MEMORY = N_(
    "**Probable cause:** the batch is too large. The activations of every sequence stay in memory until the step "
    "is done, so half the batch needs about half of that."
)


def draw_trouble(folder: RunFolder, status: Status) -> None:
    """Draw why a run waits or failed, and what can be done about it; `live_status` shows why a run was stopped."""
    if status.notices:
        st.info(literal(status.notices), icon=":material/info:")
    if status.state == "stopped" or not status.reason or status.reason == status.notices:
        return
    if status.state != "failed":
        st.info(literal(status.reason))
        return
    with st.container(gap="small", key="trouble"):
        st.error(literal(status.reason), icon=":material/error:")
        if status.problem == "not_finite":
            _offer_slower(folder)
        elif status.problem == "memory":
            _offer_smaller(folder)


def _offer_slower(folder: RunFolder) -> None:
    with notifying():
        if run_id := click_result(_SLOWER_FORK):
            address.view_run(run_id)
            forget_click(_SLOWER_FORK)
            st.rerun()
    st.markdown(_(_NOT_FINITE))
    offered = fork_steps(folder)
    with suppress(ExplorerError):  # its settings cannot be read, or its rate cannot be lowered
        config = fork_config(folder)
        rate = float(f"{config.train.learning_rate / _SLOWER:.2g}")
        slower = with_change(config, RATE, rate)
        if offered is None:
            return
        values = {"step": f"{offered.usual:,}", "rate": format_rate(rate)}
        label = _("Fork from step {step} with a third of the learning rate ({rate})", **values)
        start = {"on_click": _start_slower, "args": (folder, offered.usual, slower, ticket(_SLOWER_FORK))}
        st.button(label, key=_SLOWER_FORK, type="primary", icon=":material/fork_right:", **start)
        st.caption(_("This starts a new run from the best weights that this run has saved. This run stays unchanged."))


def _offer_smaller(folder: RunFolder) -> None:
    st.markdown(_(_MEMORY))
    config = config_now(folder)
    half = config.train.batch_size // 2
    label = _("Open settings with batch size {count}", count=half)
    if half and st.button(label, key="trouble_smaller", type="primary", icon=":material/tune:"):
        address.open_page("train", config=config.replace({"train.batch_size": half}))


def _start_slower(folder: RunFolder, step: int, config: RunConfig, number: str) -> None:
    do_once(number, lambda: submit_run(fork(shared.data_dir(), folder, step, config)))
