"""A sweep's page: its state and actions, its best recipe, its charts and its points."""

from functools import partial

import streamlit as st

from core.errors import ExplorerError
from core.formatting import duration_in_words
from core.sweeps.driver import extend_sweep, resume_sweep, stop_sweep
from core.sweeps.folder import SweepFolder, SweepRecord, create_sweep, delete_sweep, list_sweeps, open_sweep, planned
from core.sweeps.results import (
    MIN_FOR_IMPORTANCE,
    PointResult,
    best_point,
    best_run,
    importances,
    narrowed,
    sweep_results,
)
from core.sweeps.space import METHODS, Dimension
from explorer.charts.sweeps import (
    contour_figure,
    done_points,
    importance_figure,
    parallel_figure,
    point_columns,
    slice_figure,
)
from explorer.i18n.formatting import SETTING_LABELS, number, when_in_words
from explorer.i18n.language import N_, _, ngettext
from explorer.services import shared, visitors
from explorer.sweeps.scaling_cards import draw_scaling
from explorer.widgets import address, session
from explorer.widgets.forms import distinct_labels
from explorer.widgets.layout import card, chart, current_palette, literal, page_header, table_download

_LOOK_AGAIN = 3.0  # seconds, while it runs
_CHOSEN, _MORE, _AROUND = "sweep_on_view", "sweep_more", "sweep_around"
_STATES = {"running": N_("running"), "stopped": N_("stopped"), "finished": N_("finished")}
_COLORS = {"running": "blue", "stopped": "orange", "finished": "gray"}
_POINT_STATES = {
    "running": N_("training"), "starting": N_("starting"), "paused": N_("paused"), "queued": N_("waiting"),
    "finished": N_("finished"), "pruned": N_("pruned"), "diverged": N_("loss not finite"), "stopped": N_("stopped"),
    "failed": N_("failed"), "deleted": N_("deleted"), "refused": N_("not possible"), "waiting": N_("waiting"),
}  # fmt: skip


def choose_sweep() -> SweepFolder | None:
    """Draw the page's title and the select box of sweeps; return the sweep shown, None if there is none."""
    sweeps = {sweep.id: sweep for sweep in list_sweeps(shared.data_dir())}
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        with st.container(width="content"):
            page_header(
                _("Sweeps"), _("Many runs that differ in chosen settings. Which settings give the lowest loss?")
            )
        place = st.container(width=360)
    wanted = address.parameter(address.SWEEP)
    if wanted:
        open_sweep(shared.data_dir(), wanted)  # raises if a link names a missing sweep
    if not sweeps:
        return None
    on_view = wanted if wanted in sweeps else next(iter(sweeps))
    names = distinct_labels({id: _name(sweep) for id, sweep in sweeps.items()})
    if st.session_state.get(_CHOSEN) != on_view:
        st.session_state[_CHOSEN] = on_view
    with place:
        view = {"on_change": lambda: address.write({address.SWEEP: st.session_state[_CHOSEN]}), "key": _CHOSEN}
        st.selectbox(_("Sweep"), list(sweeps), format_func=names.get, label_visibility="collapsed", **view)
    return sweeps[on_view]


def _name(sweep: SweepFolder) -> str:
    try:
        record = sweep.record()
    except ExplorerError:
        return sweep.id
    owner = visitors.nicknames().get(sweep.data_dir.name, "")
    return f"{record.name} · {owner}" if owner else record.name


def draw_sweep(sweep: SweepFolder) -> None:
    """Draw everything about one sweep, redrawn every few seconds while it runs."""
    is_running = sweep.record().state == "running"
    st.fragment(_draw, run_every=_LOOK_AGAIN if is_running else None)(sweep, was_running=is_running)


def _draw(sweep: SweepFolder, *, was_running: bool) -> None:
    record = sweep.record()
    if was_running != (record.state == "running"):
        st.rerun()  # a button reruns only this fragment, which keeps its old `run_every`
    results = sweep_results(sweep, record)
    state, best = st.columns([1.2, 1], gap="small")
    with state:
        _draw_state(sweep, record, results)
    with best:
        _draw_best(sweep, record, results)
    if record.budget:
        draw_scaling(sweep, record, results)
    _draw_charts(record, results)
    _draw_points(results)


def _draw_state(sweep: SweepFolder, record: SweepRecord, results: list[PointResult]) -> None:
    with card(_("State"), _("How far is it, and how does it search?"), key="sweep_state"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            draw_badge(record)
            method = METHODS[record.method]
            searched = literal(f"{_(method.label)}: {_(method.about)}")
            st.caption(f"{searched} · {when_in_words(record.created)}", width="content")
        draw_progress(record, _time_left(record, results))
        counts = [_("seeds per point: {count}", count=record.seeds)]
        if record.prune:
            counts.append(_("median pruning: {count} stopped early", count=len(record.pruned)))
        st.caption(literal(" · ".join(counts)))
        if record.reason:
            st.warning(literal(record.reason), icon=":material/warning:")
        for notice in _notices(sweep, record):
            st.info(literal(notice), icon=":material/info:")
        _draw_actions(sweep, record)


def _notices(sweep: SweepFolder, record: SweepRecord) -> list[str]:
    """Return what the runs wait for if none trains, or what a cluster's store fails to do; each sentence once."""
    if record.state != "running":
        return []
    open_runs = [run.status() for run in sweep.runs(record) if run.id not in record.ended]
    if any(status.state == "running" and not status.notices for status in open_runs):
        return []
    return list(dict.fromkeys(status.notices for status in open_runs if status.notices))


def draw_badge(record: SweepRecord) -> None:
    """Draw the state of a sweep as a colored word."""
    st.badge(_(_STATES[record.state]), color=_COLORS[record.state])


def draw_progress(record: SweepRecord, further: str = "") -> None:
    """Draw how many runs of a sweep have ended."""
    done = len(record.ended)
    words = ngettext("{done} of {count} run", "{done} of {count} runs", record.total, done=done)
    st.progress(min(1.0, done / record.total), words + further)


def _time_left(record: SweepRecord, results: list[PointResult]) -> str:
    """Return roughly how much longer the sweep takes, estimated from the ended runs."""
    seconds = [run.seconds for point in results for run in point.runs if run.id in record.ended and run.seconds]
    left = record.total - len(record.ended)
    if record.state != "running" or not seconds or not left:
        return ""
    time = duration_in_words(left * sum(seconds) / len(seconds) / max(1, shared.supervisor().slots))
    return _(", about {time} left", time=time)


def _draw_actions(sweep: SweepFolder, record: SweepRecord) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="sweep_actions"):
        if record.state == "running":
            stop = session.notifying()(lambda: stop_sweep(sweep, shared.supervisor_for_visitor()))
            st.button(_("Stop"), key="sweep_stop", icon=":material/stop:", on_click=stop)
            return
        if record.state == "stopped":
            resume = session.notifying()(lambda: resume_sweep(sweep, shared.supervisor_for_visitor()))
            look = {"icon": ":material/play_arrow:", "type": "primary"}
            st.button(_("Resume"), key="sweep_resume", on_click=resume, **look)
        if record.method != "fixed_points":
            about = _("Train further combinations. A grid continues with TPE in the same ranges.")
            st.number_input(_("More points"), 1, 100, 4, key=_MORE, width=110, help=about)
            st.button(_("Extend"), key="sweep_extend", icon=":material/add:", on_click=_extend, args=(sweep,))
        st.button(_("Delete"), key="sweep_delete", type="tertiary", help=_("The runs stay on the page Runs."),
                  on_click=_delete, args=(sweep,))  # fmt: skip


@session.notifying()
def _extend(sweep: SweepFolder) -> None:
    visitors.check_may_change()
    extend_sweep(sweep, st.session_state[_MORE])


@session.notifying()
def _delete(sweep: SweepFolder) -> None:
    visitors.check_may_change()
    delete_sweep(sweep)
    address.write({address.SWEEP: None})


def _draw_best(sweep: SweepFolder, record: SweepRecord, results: list[PointResult]) -> None:
    with card(_("Best recipe"), _("Which point has the lowest validation loss, over its seeds?"), key="sweep_best"):
        if (best := best_point(results)) is None:
            st.caption(_("It stands here when the first run has finished."))
            return
        loss = f"{best.loss:.3f}"
        if best.spread is not None:
            words = _("**{loss}** nats/token ± {spread} over {count} seeds", loss=loss, spread=f"{best.spread:.3f}",
                      count=len(best.losses))  # fmt: skip
        else:
            words = _("**{loss}** nats/token", loss=loss)
        values = [
            f"{literal(_(SETTING_LABELS[path]))}: **{literal(number(value, path))}**"
            for path, value in best.shown.items()
        ]
        st.markdown("  \n".join([words, *values]))
        with st.container(horizontal=True, gap="small"):
            first = "secondary" if record.state == "stopped" else "primary"  # then Resume is the primary button
            if st.button(_("Open"), key="sweep_open", type=first, icon=":material/open_in_full:"):
                address.open_page("train", best_run(best))
            if st.button(_("Train with these settings"), key="sweep_train"):
                address.open_page("train", config=record.config_of(best.values))
            if record.state != "running" and record.method != "fixed_points":
                number_of_click = session.ticket(_AROUND)
                st.button(_("Continue around the best"), key=_AROUND, on_click=_continue_around,
                          args=(sweep, number_of_click))  # fmt: skip
        if id := session.click_result(_AROUND):
            session.forget_click(_AROUND)
            address.write({address.SWEEP: id})
            st.rerun()


def _continue_around(sweep: SweepFolder, ticket: str) -> None:
    def start() -> str:
        visitors.check_may_change()
        record = sweep.record()
        dimensions = narrowed(record, sweep_results(sweep, record))
        name = _("{name}, narrower", name=record.name)
        further = planned(record.config, dimensions, "tpe", points=record.size, seeds=record.seeds, name=name[:80])
        create_sweep(sweep.data_dir, further)
        shared.supervisor()
        return further.id

    session.do_once(ticket, start)


def _draw_charts(record: SweepRecord, results: list[PointResult]) -> None:
    done = done_points(results)
    if not done:
        return
    palette, varied = current_palette(), record.dimensions
    numbers = partial(point_columns, varied, results)
    if varied and len(done) > 1:
        note = _("Each line is a point. Drag along an axis to keep the lines that pass there; a click clears it.")
        with card(_("Parallel coordinates"), note, key="sweep_parallel"):
            figure = parallel_figure(varied, results, palette)
            alt = _("One line for each point of the sweep, through its settings to its validation loss.")
            chart(figure, key="sweep_parallel_chart", numbers=numbers, name="sweep-parallel", alt=alt)
    if varied:
        note = _("How does the loss change with each setting? Bars are one standard deviation over seeds.")
        with card(_("Slice plot"), note, key="sweep_slices"):
            figure = slice_figure(varied, results, best_point(results), palette)
            alt = _("Validation loss over each setting that the sweep varies, one dot for each point.")
            chart(figure, key="sweep_slices_chart", numbers=numbers, name="sweep-slices", alt=alt)
    if len(varied) > 1 and len(done) > 2:
        contour, importance = st.columns(2, gap="small")
        with contour:
            _draw_contour(record, results)
        with importance:
            _draw_importances(record, results)
    elif varied:
        _draw_importances(record, results)


def _draw_contour(record: SweepRecord, results: list[PointResult]) -> None:
    note = _("Where do two settings together give a low loss? Between points the surface is interpolated.")
    by_path = {dimension.path: dimension for dimension in record.dimensions}
    with card(_("Contour plot"), note, key="sweep_contour"):
        across, upward = record.dimensions[:2]
        if len(by_path) > 2:
            left, right = st.columns(2)
            across = by_path[_pick_dimension(left, _("Horizontal"), "sweep_across", list(by_path), by_path)]
            others = [path for path in by_path if path != across.path]
            upward = by_path[_pick_dimension(right, _("Vertical"), "sweep_upward", others, by_path)]
        figure = contour_figure(across, upward, results, current_palette())
        alt = _("Validation loss over two settings as a colored surface, with a dot for each point.")
        numbers = partial(point_columns, [across, upward], results)
        chart(figure, key="sweep_contour_chart", numbers=numbers, name="sweep-contour", alt=alt)


def _pick_dimension(column, label: str, key: str, paths: list[str], by_path: dict[str, Dimension]) -> str:
    session.fit_choice(key, paths, paths[0])
    return column.selectbox(label, paths, key=key, format_func=lambda path: _(by_path[path].setting.label))


def _draw_importances(record: SweepRecord, results: list[PointResult]) -> None:
    note = _("How much of the differences in loss does each setting explain by itself?")
    more = _(
        "The adjusted R² of a parabola through the losses, or of each choice's mean. The rest is interaction and "
        "chance; few points give rough values."
    )
    with card(_("Importances"), note, more=more, key="sweep_importances"):
        if shares := importances(record, results):
            figure = importance_figure(shares, record.dimensions, current_palette())
            columns = {"setting": [each.path for each in shares], "share": [each.share for each in shares]}
            alt = _("A bar for each setting with the share of the variance that it explains.")
            chart(figure, key="sweep_importances_chart", numbers=lambda: columns, name="sweep-importances", alt=alt)
        else:
            st.caption(_("Shown from {count} finished points on.", count=MIN_FOR_IMPORTANCE))


def _draw_points(results: list[PointResult]) -> None:
    with card(_("Points"), _("What came of each combination? Every run is also on the page Runs."), key="sweep_points"):
        if not results:
            st.caption(_("The first point starts in a moment."))
            return
        paths = list(dict.fromkeys(path for point in results for path in point.shown))
        labels = distinct_labels({path: _(SETTING_LABELS[path]) for path in paths})
        ordered = sorted(results, key=lambda point: (point.loss is None, point.loss or 0.0, point.number))
        columns = {
            _("Point"): [point.number for point in ordered],
            _("Validation loss"): [point.loss for point in ordered],  # second, to be visible on a small screen
            **{labels[path]: [number(point.values[path], path) for point in ordered] for path in paths},
            _("± over seeds"): [point.spread for point in ordered],
            _("State"): [point.problem or _(_POINT_STATES[point.state]) for point in ordered],
            _("Steps trained"): [max((run.step for run in point.runs), default=0) for point in ordered],
        }
        decimals, narrow = st.column_config.NumberColumn(format="%.3f", width=116), st.column_config.Column(width=58)
        config = {_("Point"): narrow, _("Validation loss"): decimals, _("± over seeds"): decimals}
        st.dataframe(columns, hide_index=True, key="sweep_points_table", placeholder="–", column_config=config)
        table_download(lambda: columns, key="sweep_points", name="sweep-points")
