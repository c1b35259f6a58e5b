"""Forks: where a run begins with another one's weights, from the one's board to the other's."""

from typing import NamedTuple

import streamlit as st

from core.config import RunConfig
from core.errors import ExplorerError, RunError
from core.runs.folder import RunFolder, open_run
from core.runs.forks import fork_config
from core.runs.records import RunRecord
from core.runs.weights import weights_step
from explorer import service
from explorer.forms import forget_inputs
from explorer.state import fork_asked, leave_fork, open_fork, page_file, query_for, recall, remember
from explorer.ui import literal, show_error
from explorer.words import model_in_words

_FORK = "A new run that begins with what this one had learned by then, with other learning settings if you like."


class Parent(NamedTuple):
    """The run whose weights a new one shall begin with."""

    folder: RunFolder
    step: int
    config: RunConfig  # its settings, as they are turned now


def fork_steps(folder: RunFolder) -> list[int]:
    """The steps whose weights are kept, so that another run can begin with them."""
    return sorted({step for step, _ in folder.snapshots()} | {weights_step(folder.weights_path)} - {-1})


def draw_fork(folder: RunFolder) -> None:
    """Another run that begins where this one was."""
    with st.popover("Try from here with other settings", icon=":material/fork_right:", key="fork"):
        steps = fork_steps(folder)
        st.caption(_FORK)
        if not steps:
            st.caption("It has kept no weights yet; its first are saved as it begins.")
            return
        chosen = recall(f"fork_step-{folder.id}")  # until then the newest, which moves on while it trains
        st.session_state["fork_step"] = chosen if chosen in steps else steps[-1]
        step = st.selectbox(
            "Begin with the weights of step",
            steps,
            key="fork_step",
            format_func=lambda step: f"{step:,}",
            on_change=lambda: remember(f"fork_step-{folder.id}", st.session_state["fork_step"]),
        )
        if st.button("Choose its settings", key="fork_go", icon=":material/tune:", width="stretch"):
            try:
                open_fork(folder.id, step, fork_config(folder, step))
            except ExplorerError as error:
                show_error(error)


def draw_parent(record: RunRecord) -> None:
    """Where its first weights come from, with a link."""
    if not record.parent or record.parent_step is None:
        return
    try:
        name = open_run(service.home(), record.parent).name
    except ExplorerError:
        st.caption(f"It began with the weights of step {record.parent_step:,} of a run that was deleted.")
        return
    with st.container(gap=None, key="parent"):
        st.caption(f"It began with the weights of step {record.parent_step:,} of")
        st.page_link(
            page_file("train"), label=literal(name), icon=":material/fork_right:", query_params=query_for(record.parent)
        )


def parent_asked() -> Parent | None:
    """The run whose weights the new one shall begin with, if the address asks for one. Raises RunError."""
    asked = fork_asked()
    if asked is None:
        return None
    folder = open_run(service.home(), asked.run_id)
    steps = fork_steps(folder)
    step = steps[-1] if asked.step is None and steps else asked.step
    if step not in steps:
        raise RunError(f"The run {folder.name!r} keeps no weights of step {step}. This begins from scratch instead.")
    return Parent(folder, step, fork_config(folder, step))


def draw_beginning(parent: Parent) -> None:
    """What is settled already, and why."""
    model = parent.config.model
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="parent"):
        with st.container(gap=None, width="content"):
            st.markdown(f"With what **{literal(parent.folder.name)}** had learned by step **{parent.step:,}**.")
            st.page_link(
                page_file("train"),
                label="Look at that run",
                icon=":material/fork_right:",
                query_params=query_for(parent.folder.id),
            )
        st.button("Begin from scratch instead", key="fork_leave", on_click=_leave_fork)
    shape = f", {model.n_head} heads, width {model.n_embd}" if model.kind == "gpt" else ""
    st.caption(
        f":material/lock: {model_in_words(model)}{shape}, context {model.block_size}: the model keeps its shape, "
        "because learned weights fit only the shape they were learned in. Optimizer and learning rate begin afresh."
    )


def _leave_fork() -> None:
    leave_fork()
    forget_inputs()
