"""Settings that change while a run trains, and continuing one that has ended."""

from collections.abc import Callable
from typing import Any, get_args

import streamlit as st

from core.config import SETTINGS, RunConfig, used_settings
from core.errors import ExplorerError
from core.formatting import format_rate
from core.live_settings import LIVE_SETTINGS, RATE, STEPS
from core.runs.ancestry import hidden_settings
from core.runs.commands import CHANGE, NO_TRAINING_OF_ITS_OWN, Schedule, config_now, extended_config, requested_changes
from core.runs.folder import RunFolder
from core.runs.records import Status
from core.runs.supervisor import Supervisor
from core.settings import value_at
from core.training.schedule import learning_rate_at, learning_rates
from explorer.charts.loss import rates_figure
from explorer.components.dashboard import live_rate, live_setting_changes
from explorer.i18n.formatting import change_in_words
from explorer.i18n.language import N_, _
from explorer.services import shared
from explorer.streaming.jsonl_tail import curve_rows
from explorer.train.estimated_cost import most_steps
from explorer.train.forks import usual_steps
from explorer.widgets.forms import setting_input
from explorer.widgets.layout import card, current_palette, errors_shown, show_error
from explorer.widgets.session import recall, remember

_DRAWER = "live_settings"  # the switch with which assets/app.css shows them; kept from run to run
_SCHEDULE = "continue_schedule"  # the choice of the learning rate of further steps
_SMALL = ("train.eval_interval", STEPS)  # number fields, side by side
_NOTE = N_("Takes effect at the next step and is marked on the curve.")
_HELP = N_(
    "These settings can change during training; the architecture cannot. Changing the learning rate scales its "
    "whole schedule; changing the last step leaves the schedule as it is."
)


def draw_drawer_switch(status: Status) -> None:
    """Draw the switch that opens the live settings beside the charts, or the form to continue an ended run."""
    label = _("Continue training") if status.state == "finished" else _("Live settings")
    is_open = st.session_state.setdefault(_DRAWER, recall(_DRAWER, False))
    st.toggle(label, is_open, key=_DRAWER, on_change=lambda: remember(_DRAWER, st.session_state[_DRAWER]))


@st.fragment
def draw_live_settings(folder: RunFolder) -> None:
    """Draw the live settings of a run, or the settings with which an ended run continues or resumes."""
    status = folder.status()
    ended, finished = status.ended, status.state == "finished"
    title = _("Change settings while it trains")
    if ended:
        title = _("Continue training") if finished else _("Change settings first")
    with card(title, key="setting_sliders", height="stretch"), errors_shown():
        if folder.record().origin:
            st.caption(_(NO_TRAINING_OF_ITS_OWN))
            return
        if not ended:
            st.caption(_(_NOTE), help=_(_HELP))
        config = config_now(folder)
        if finished:
            _draw_continue(folder, status, config)
        elif ended:
            st.caption(_("Changes take effect when the run resumes."))
        # The settings appear above their changes, but are drawn after them, because these may have restored a setting.
        settings = st.expander(_("Change settings first")) if finished else st.container()
        _draw_changes(folder, status)
        with settings:
            _draw_all(folder, status, config_now(folder))


def _draw_all(folder: RunFolder, status: Status, config: RunConfig) -> None:
    hidden = hidden_settings(folder.data_dir)
    if status.state == "finished":  # the field above has the number of steps
        hidden.append(STEPS)
    shown = [path for path in used_settings(config) if path in LIVE_SETTINGS and path not in hidden]
    first = folder.record().config
    wide, small = (
        [name for name in LIVE_SETTINGS if name in shown and (name in _SMALL) is narrow] for narrow in (False, True)
    )
    for name in wide:
        _draw_setting(folder, name, config, first)
    for column, name in zip(st.columns(max(1, len(small))), small, strict=False):
        with column:
            _draw_setting(folder, name, config, first)
    _show_problem(folder)


def _draw_setting(folder: RunFolder, name: str, config: RunConfig, first: RunConfig) -> None:
    setting, value, key = SETTINGS[name], value_at(config, name), f"setting_{name.rpartition('.')[2]}"
    # The run's value counts, not this visitor's slider: others may change it, too, and a refused change is undone.
    if st.session_state.get(key) != value:  # else leave it alone: it may be in use
        st.session_state[key] = value
    more = {"key": key, "on_change": lambda: _ask(folder, Supervisor.change_setting, name, st.session_state[key])}
    if name == STEPS:
        most = max(most_steps(), value)
        st.number_input(_("Stop at step"), setting.low, most, value, step=100, help=_(setting.help), **more)
        return
    setting_input(name, setting, value, value_at(first, name), named=N_("initially"), **more)
    if name == RATE:
        live_rate(folder.id, peak=value)


def _draw_changes(folder: RunFolder, status: Status) -> None:
    waiting = [change_in_words(name, value) for name, value in dict(requested_changes(folder)).items()]
    known = sum(row.get("kind") == CHANGE for row in folder.rows("events"))
    state = {"going": status.pid is not None, "ended": status.ended}
    if change := live_setting_changes(folder.id, known=known, waiting=waiting, **state):
        _ask(folder, Supervisor.change_setting, *change)


def _ask(folder: RunFolder, request: Callable[..., None], *values: Any, **options: Any) -> None:
    try:
        request(shared.supervisor_for_visitor(), folder, *values, **options)
    except ExplorerError as error:
        remember(f"setting_problem-{folder.id}", str(error))


def _show_problem(folder: RunFolder) -> None:
    if problem := recall(f"setting_problem-{folder.id}"):
        show_error(problem)
        remember(f"setting_problem-{folder.id}", None)


def _draw_continue(folder: RunFolder, status: Status, config: RunConfig) -> None:
    most = most_steps() - status.step
    if most < 1:
        st.caption(_("This run has reached the maximum number of steps."))
        return
    key = f"continue_steps-{status.step}"  # a new key for each end, so that the last input is not offered again
    usual = min(most, usual_steps(status, status.step))
    more = st.number_input(_("Additional steps"), 1, most, usual, step=min(100, most), key=key)
    _choose_schedule(folder, status, config, more)

    def go_on() -> None:  # with the widgets' values at the click, which may be newer than this rerun's
        values = st.session_state[key], st.session_state.get(_SCHEDULE, "stay")
        _ask(folder, Supervisor.continue_for, *values, shown=status)

    look = {"key": "train_continue", "icon": ":material/fast_forward:", "width": "stretch"}
    clicked = st.button(_("Continue"), on_click=go_on, **look)
    if clicked and not recall(f"setting_problem-{folder.id}"):
        st.rerun()  # the whole page: its buttons and numbers change when the run continues
    _show_problem(folder)


def _choose_schedule(folder: RunFolder, status: Status, config: RunConfig, more: int) -> None:
    """Draw the choice of the learning rate for further steps, unless the schedule is constant."""
    if config.train.schedule == "constant":
        return
    step, train = status.step, config.train
    ways = {schedule: extended_config(config, step, more, schedule).train for schedule in get_args(Schedule)}
    highest, lowest = format_rate(train.learning_rate), format_rate(min(train.learning_rate, train.min_learning_rate))
    stays, usual = _("Follow the schedule"), "stay"
    if step >= max(train.decay_steps or train.steps, train.schedule_start + train.warmup_steps):
        rate = learning_rate_at(step, ways["stay"])
        stays = _("Stay at {rate}", rate=format_rate(float(f"{rate:.3g}")))
        usual = "stay" if rate > 0 else "restart"  # at a rate of 0 it would learn nothing
    labels = {"stay": stays, "restart": _("Restart the schedule")}
    about = _(
        "Restarting warms up to {highest} and decays to {lowest} once more. The loss rises at first, so add many "
        "steps: at least half as many as the run has taken.",
        highest=highest, lowest=lowest,
    )  # fmt: skip
    st.session_state.setdefault(_SCHEDULE, usual)
    chosen = st.radio(_("Learning rate"), labels, key=_SCHEDULE, format_func=labels.get, help=about)
    ahead = {labels[schedule]: learning_rates(step, step + more, way) for schedule, way in ways.items()}
    figure = rates_figure(curve_rows(folder), ahead, labels[chosen], current_palette())
    st.plotly_chart(figure, theme=None, config={"displayModeBar": False}, key="continue_rates", alt=_("Learning rate"))
