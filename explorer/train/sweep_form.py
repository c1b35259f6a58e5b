"""Train: settings that a sweep varies, whose sliders are ranges or lists, and the button that starts the sweep."""

from typing import Any

import streamlit as st

from core.config import RunConfig
from core.errors import ExplorerError
from core.formatting import duration_in_words
from core.runs.ancestry import hidden_settings
from core.settings import Setting
from core.sweeps.folder import SweepCost, SweepRecord, create_sweep, expected_cost, planned
from core.sweeps.space import (
    FIRST_POSITIONS,
    MAX_DIMENSIONS,
    MAX_POSITIONS,
    MAX_RUNS,
    MAX_SEEDS,
    METHODS,
    OFFERED,
    Dimension,
    MethodName,
)
from explorer.i18n.formatting import number
from explorer.i18n.language import _, ngettext
from explorer.services import shared
from explorer.services.cost_trials import end_trial
from explorer.services.visitors import check_may_change
from explorer.widgets import address
from explorer.widgets.forms import distinct_labels, divisors, positions
from explorer.widgets.layout import errors_shown, show_error
from explorer.widgets.session import click_result, do_once, forget_click, ticket

_OVER, _START = "sweep_over", "sweep_start"
_METHOD, _POINTS, _SEEDS, _PRUNE, _GRID = "sweep_method", "sweep_points", "sweep_seeds", "sweep_prune", "sweep_grid"
_NOT_VARIED = ("train.seed", "train.device", "model.kind")
_GROUPS = ("Architecture", "Attention", "Training")
_SPAN = 10.0  # a range in factors first goes from a tenth of the current value to ten times that value


def varied_settings(used: dict[str, Setting]) -> list[str]:
    """Return the settings, among those with an effect, that the visitor has chosen for a sweep."""
    return [path for path in st.session_state.get(_OVER, []) if path in used]


def range_input(path: str, setting: Setting, value: Any, *, whole: int = 0, most: Any = None) -> None:
    """Draw a varied setting as a range or a list, for `dimension_of`; compare `setting_input`."""
    label = f"{_(setting.label)} :violet-badge[{_('sweep')}]"
    options = _options(setting, value, whole)
    if options is not None:
        st.multiselect(label, options, default=_first_values(options, value), key=f"list-{path}", help=_(setting.help),
                       format_func=number)  # fmt: skip
        return
    key, about = f"range-{path}", _(setting.help)
    low, high = setting.low, setting.high if most is None else max(most, value)
    if setting.in_factors:
        stops = [stop for stop in positions(setting, {value, high}) if 0 < stop <= high]
        ends = _first_ends(stops, value)
        st.select_slider(label, stops, ends, format_func=number, key=key, help=about)
    elif setting.step is None and high - low > 1000:
        st.slider(label, low, high, (low, min(high, max(low + 1, 2 * value))), format="%,d", key=key, help=about)
    else:
        step = setting.type(setting.step or 1)
        half = max(step, setting.type((high - low) / 8))
        ends = (max(setting.type(low), value - half), min(setting.type(high), value + half))
        st.slider(label, setting.type(low), setting.type(high), ends, step=step, key=key, help=about)


def _options(setting: Setting, value: Any, whole: int) -> list[Any] | None:
    """Return the values of a setting that is varied over a list; None for one with a range."""
    if setting.type is bool:
        return [False, True]
    if setting.choices:
        return list(setting.choices)
    if whole:
        return sorted({*divisors(setting, whole), value})
    return None


def _first_values(options: list[Any], value: Any) -> list[Any]:
    near = [options.index(value) + step for step in (-1, 0, 1)] if value in options else [0, 1]
    return [options[place] for place in near if 0 <= place < len(options)]


def _first_ends(stops: list[Any], value: Any) -> tuple[Any, Any]:
    """Return the positions of a slider nearest to a tenth and to ten times a value."""
    low, high = (min(stops, key=lambda stop: abs(stop - wanted)) for wanted in (value / _SPAN, value * _SPAN))
    return (low, high) if low < high else (stops[0], stops[-1])


def dimension_of(path: str, count: int) -> Dimension:
    """Return the dimension that the widgets of a varied setting describe, with `count` positions in a grid."""
    if (values := st.session_state.get(f"list-{path}")) is not None:
        return Dimension(path=path, values=tuple(values))
    low, high = st.session_state.get(f"range-{path}", (None, None))
    return Dimension(path=path, low=low, high=high, positions=count)


def draw_sweep_form(config: RunConfig, used: dict[str, Setting], vocab_size: int) -> None:
    """Draw the unobtrusive button to choose settings for a sweep and, if there are some, its cost and start button."""
    hidden = {"data.corpus", *hidden_settings(shared.data_dir()), *_NOT_VARIED}
    labels = distinct_labels(
        {path: _(setting.label) for path, setting in used.items() if setting.group in _GROUPS and path not in hidden}
    )
    if _OVER in st.session_state:
        st.session_state[_OVER] = [path for path in st.session_state[_OVER] if path in labels]
    about = _("Train many runs that differ in some settings, whose sliders become ranges.")
    with st.popover(_("Sweep over settings"), icon=":material/tune:", type="tertiary", help=about, key="sweep_form"):
        st.multiselect(_("Settings to vary"), list(labels), key=_OVER, format_func=labels.get,
                       max_selections=MAX_DIMENSIONS)  # fmt: skip
        if varied := varied_settings(used):
            _draw_method()
            st.caption(_("Their sliders on the page have ranges now. Set them, then press Start sweep."))
    if varied:
        st.space("small")
        with st.container(gap="small", key="sweep_plan"):
            _draw_start(config, varied, vocab_size)


def _draw_method() -> None:
    about = "  \n".join(f"{_(METHODS[name].label)}: {_(METHODS[name].about)}." for name in OFFERED)
    st.segmented_control(
        _("Method"), OFFERED, default="tpe", required=True, key=_METHOD, help=about,
        format_func=lambda name: _(METHODS[name].label),
    )  # fmt: skip
    with st.container(horizontal=True, gap="small"):
        if st.session_state.get(_METHOD) == "grid":
            about = _("Values of each range; a list has its own.")
            st.number_input(_("Positions"), 2, MAX_POSITIONS, FIRST_POSITIONS, key=_GRID, width=120, help=about)
        else:
            about = _("A point is one combination of values.")
            st.number_input(_("Points"), 1, MAX_RUNS, 12, key=_POINTS, width=120, help=about)
        about = _("Runs of each point with different random seeds: they show how much of a difference is chance.")
        st.number_input(_("Seeds"), 1, MAX_SEEDS, 1, key=_SEEDS, width=110, help=about)
    about = _("Stop a run whose validation loss is above the median of the finished runs at the same step.")
    st.toggle(_("Median pruning"), True, key=_PRUNE, help=about)


def _plan(config: RunConfig, varied: list[str]) -> SweepRecord:
    """Return the sweep that the widgets describe; raises ConfigError."""
    state = st.session_state
    method: MethodName = state.get(_METHOD) or "tpe"
    dimensions = [dimension_of(path, state.get(_GRID, FIRST_POSITIONS)) for path in varied]
    seeds, prune = state.get(_SEEDS, 1), state.get(_PRUNE, True)
    return planned(config, dimensions, method, points=state.get(_POINTS, 12), seeds=seeds, prune=prune)


def _draw_start(config: RunConfig, varied: list[str], vocab_size: int) -> None:
    record, problem = None, None
    try:
        check_may_change()
        record = _plan(config, varied)
    except ExplorerError as error:
        problem = error
    click = {"on_click": start_sweep, "args": (record, ticket(_START))}
    st.button(_("Start sweep"), key=_START, icon=":material/apps:", width="stretch", disabled=record is None, **click)
    if problem:
        show_error(problem)
    if record:
        with errors_shown():
            cost = sweep_cost(record, vocab_size, shared.supervisor().slots)
            st.markdown(cost_in_markdown(cost, prune=record.prune))


def cost_in_markdown(cost: SweepCost, *, prune: bool) -> str:
    """Return how many runs a sweep has and about how long it takes."""
    runs = ngettext("**{count}** run", "**{count}** runs", cost.runs)
    lines = [_("{runs}, about **{time}** in all", runs=runs, time=duration_in_words(cost.seconds))]
    if cost.at_a_time > 1:
        lines.append(_("{count} at a time", count=cost.at_a_time))
    if prune:
        lines.append(_("less with pruning"))
    return ", ".join(lines)


@st.cache_data(
    max_entries=32, show_spinner=False,
    hash_funcs={SweepRecord: lambda record: record.model_dump_json(exclude={"id", "name", "created"})},
)  # fmt: skip
def sweep_cost(record: SweepRecord, vocab_size: int, slots: int) -> SweepCost:
    """Return the expected cost of a planned sweep with `slots` runs at a time; raises ExplorerError."""
    return expected_cost(shared.data_dir(), record, vocab_size, slots)


def start_sweep(record: SweepRecord, number_of_click: str) -> None:
    """Start a planned sweep, once for each click; `click_result` then has its id."""

    def start() -> str:
        check_may_change()
        end_trial()  # the sweep needs the cores
        create_sweep(shared.data_dir(), record)
        shared.supervisor()
        return record.id

    do_once(number_of_click, start)


def open_started_sweep(button: str = _START) -> None:
    """Open the page of a sweep that a click on a button has started."""
    with errors_shown():
        if id := click_result(button):
            forget_click(button)
            st.session_state.pop(_OVER, None)
            address.open_page("sweeps", query={address.SWEEP: id})
