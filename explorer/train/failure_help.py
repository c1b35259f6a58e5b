"""What to do when training ran into trouble: why it probably happened, and one button that leads on."""

import streamlit as st

from core.config import RunConfig
from core.errors import ExplorerError
from core.live_settings import with_change
from core.runs.ancestry import fork, fork_config
from core.runs.folder import RunFolder
from core.runs.records import Status
from core.runs.setting_changes import config_now
from explorer.i18n.formatting import number
from explorer.i18n.language import N_, _
from explorer.services import shared
from explorer.services.cost_trials import train
from explorer.train.forks import fork_steps
from explorer.widgets.address import open_page, view_run
from explorer.widgets.layout import literal
from explorer.widgets.session import notify, ticket, use_ticket

_SLOWER = 3  # a third of the learning rate
_NOT_FINITE = N_(
    "**Probable cause:** the learning rate is too high. Each step moved the weights too far, which raised the "
    "loss and the next gradient until the numbers overflowed. A lower learning rate takes shorter steps."
)
_MEMORY = N_(
    "**Probable cause:** the batch is too large. The activations of every sequence stay in memory until the step "
    "is done, so half the batch needs about half of that."
)


def draw_trouble(folder: RunFolder, status: Status) -> None:
    """The reason why a run ended or waits, and what can be done about it."""
    if status.notice:
        st.info(literal(status.notice), icon=":material/info:")
    if not status.reason or status.reason == status.notice:
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
    st.markdown(_(_NOT_FINITE))
    offered = fork_steps(folder)
    try:
        config = fork_config(folder)
        rate = float(f"{config.train.learning_rate / _SLOWER:.2g}")
        slower = with_change(config, "train.learning_rate", rate)
    except ExplorerError:  # its settings cannot be read, or it cannot be slower
        return
    if offered is None:
        return
    step = offered.usual
    st.button(
        _("Fork from step {step} with a third of the learning rate ({rate})", step=f"{step:,}", rate=number(rate)),
        key="trouble_slower",
        type="primary",
        icon=":material/fork_right:",
        on_click=_fork,
        args=(folder, step, slower, ticket("trouble_slower")),
    )
    st.caption(_("This starts a new run from the best weights that this run has saved. This run stays unchanged."))


def _offer_smaller(folder: RunFolder) -> None:
    st.markdown(_(_MEMORY))
    config = config_now(folder)
    half = config.train.batch_size // 2
    if half and st.button(
        _("Open settings with batch size {count}", count=half),
        key="trouble_smaller",
        type="primary",
        icon=":material/tune:",
    ):
        open_page("train", config=config.replace({"train.batch_size": half}))


def _fork(folder: RunFolder, step: int, config: RunConfig, drawn: str) -> None:
    """Start one fork, however often the button was clicked before the page changed."""
    if not use_ticket("trouble_slower", drawn):
        return
    try:
        new = fork(shared.data_dir(), folder, step, config)
        train(new)
    except ExplorerError as error:
        notify(str(error))
        return
    view_run(new.id)
