"""Loss curves of several runs in one chart, one color per run; and of a control and a treatment."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from math import inf, isfinite, log
from statistics import fmean, stdev
from typing import Any

from plotly import graph_objects as go

from core.lessons.paired_runs import ModelResult, Outcome
from core.palette import LIGHT, Palette
from explorer.charts.csv_export import Columns
from explorer.charts.loss import NATS, UNITS, LossUnit
from explorer.charts.text_format import plain
from explorer.charts.theme import line, side_note, style
from explorer.i18n.language import N_, _, ngettext

_LABELS, _LABEL = 130, 17  # beside the chart: pixels, and characters per line
_PAIR_LABELS = 104  # pixels, beside the chart of two
_LINE = 17  # pixels, of a label
_AROUND = 60  # pixels above and below the curves: margins, numbers and title of the step axis
_FIRST = 0.04  # left share of the horizontal axis that does not count for the range of the losses

AXES = {"step": N_("step"), "seconds": N_("seconds of training")}  # translated when shown
ACCURACY = "accuracy"
MEASURES = UNITS | {ACCURACY: N_("right answers")}  # loss in a unit, or the share of a task's problems solved

_Points = Sequence[tuple[float, float]]


def comparison_figure(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Mapping[str, str],
    colors: Mapping[str, str],
    palette: Palette = LIGHT,
    *,
    over: str = "step",
    begins: Mapping[str, float] | None = None,
    unit: str = "nats",
    bands: Mapping[str, Sequence[float]] | None = None,
) -> go.Figure:
    """Draw each run's validation loss or accuracy (rows of metrics.jsonl by run id), with its name beside the chart.

    `over` is a column of the rows (see `AXES`), `unit` the unit of their `val_loss`, or ACCURACY (see `MEASURES`).
    `begins` maps a fork's run id to where it branched off, `bands` that of a mean (`averaged`) to its deviations.
    """
    figure, height, begins, accuracy = go.Figure(), 400, begins or {}, unit == ACCURACY
    column, form = ("val_accuracy", ".1%") if accuracy else ("val_loss", ".3f")
    points_of = {}
    for id, run_rows in rows.items():
        complete = [row for row in run_rows if row.get(column) is not None and row.get(over) is not None]
        points_of[id] = [(begins.get(id, 0) + row[over], row[column]) for row in complete]
        if bands and id in bands:
            _add_band(figure, points_of[id], bands[id], colors[id])
        _add_curve(figure, points_of[id], names[id], colors[id], palette, form, forked=id in begins)
    right = max((points[-1][0] for points in points_of.values() if points), default=1) or 1
    low, high = (-0.02, 1.02) if accuracy else _range(points_of.values(), right)
    what = _("validation accuracy") if accuracy else _("validation loss ({unit})", unit=_(UNITS[unit]))
    title = _(AXES[over])
    if begins:
        title = _("{axis}, a fork's counted on from where it branched off", axis=title)
    style(figure, palette, height=height, zoom=True).update_layout(
        hovermode="x unified",
        uirevision=over,
        showlegend=False,
        margin={"r": _LABELS, "t": 14},
        xaxis={"title": {"text": title}, "tickformat": ",d", "range": [0, 1.01 * right]},
        yaxis={"title": {"text": what}, "range": [low, high], "tickformat": ".0%" if accuracy else ""},
    )
    ends = {id: points[-1] for id, points in points_of.items() if points}
    wrapped = {id: textwrap.wrap(names[id], _LABEL, max_lines=2, placeholder=" …") for id in ends}
    labels = {id: "<br>".join(map(plain, lines)) for id, lines in wrapped.items()}
    lines = 2 if any("<br>" in label for label in labels.values()) else 1
    gap = lines * _LINE * (high - low) / (height - _AROUND)
    for id, place in spread({id: min(loss, high) for id, (_x, loss) in ends.items()}, gap, low).items():
        x, y = ends[id]
        leader = line([x, 1.01 * right], [y, place], colors[id], 1, dash="dot", opacity=0.6, hoverinfo="skip")
        figure.add_trace(leader)  # from the end of the curve to its name
        figure.add_annotation(side_note(place, labels[id], colors[id], hovertext=plain(names[id])))
    return figure


def averaged(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Mapping[str, str],
    groups: Sequence[Sequence[str]],
    over: str,
    column: str,
) -> tuple[dict[str, Sequence[Mapping[str, Any]]], dict[str, str], dict[str, list[float]]]:
    """Return rows, names and bands with the mean of each group of runs under the id of its first run.

    A mean covers the steps that all runs of the group have measured; its band is their standard deviation.
    """
    means, labels, bands = dict(rows), dict(names), {}
    for ids in groups:
        by_step = [{row["step"]: row for row in rows[id] if row.get(column) is not None} for id in ids]
        steps = [step for step in by_step[0] if all(step in of_run for of_run in by_step)]
        measured = [[of_run[step] for of_run in by_step] for step in steps]
        for id in ids:
            del means[id]
        means[ids[0]] = [
            {"step": step, column: fmean(row[column] for row in at), over: fmean(row.get(over) or 0 for row in at)}
            for step, at in zip(steps, measured, strict=True)
        ]
        bands[ids[0]] = [stdev(row[column] for row in at) for at in measured]
        labels[ids[0]] = ngettext("{name}, {count} seed", "{name}, {count} seeds", len(ids), name=names[ids[0]])
    return means, labels, bands


def _add_band(figure: go.Figure, points: _Points, widths: Sequence[float], color: str) -> None:
    """Add a band of the given widths above and below a curve."""
    x = [place for place, _loss in points]
    high = [loss + width for (_place, loss), width in zip(points, widths, strict=True)]
    low = [loss - width for (_place, loss), width in zip(points, widths, strict=True)]
    area = {"x": [*x, *x[::-1]], "y": [*high, *low[::-1]], "fill": "toself", "fillcolor": color, "opacity": 0.18}
    figure.add_trace(go.Scatter(area, mode="lines", line={"width": 0}, hoverinfo="skip", showlegend=False))


def _add_curve(
    figure: go.Figure, points: _Points, name: str, color: str, palette: Palette, form: str, *, forked: bool
) -> None:
    """Add a curve with a dot at its end, and a hollow dot where it branched off."""
    x, y = [place for place, _loss in points], [loss for _place, loss in points]
    figure.add_trace(line(x, y, color, 2.4, name, hovertemplate=f"%{{y:{form}}}"))
    begun = 1 if forked and points else 0
    marker = {"color": [palette.surface, color][1 - begun :], "line": {"color": color, "width": 2}, "size": 8}
    ends = {"x": x[:begun] + x[-1:], "y": y[:begun] + y[-1:]}
    figure.add_scatter(**ends, mode="markers", marker=marker, hoverinfo="skip", cliponaxis=False)


def spread(places: Mapping[str, float], gap: float, low: float) -> dict[str, float]:
    """Move places apart as little as possible, so that they are at least `gap` apart and none is below `low`."""
    moved: dict[str, float] = {}
    above = inf
    for name, place in sorted(places.items(), key=lambda item: -item[1]):
        moved[name] = above = min(place, above - gap)
    least = low + gap / 2
    for name in reversed(moved):  # places pushed below the range move back up and push the others
        moved[name] = least = max(moved[name], least)
        least += gap
    return moved


def _range(curves: Iterable[_Points], right: float) -> tuple[float, float]:
    """Return a range fitted to the losses after the first steps, which are cut off at the top."""
    curves = [points for points in curves if points]
    values = [loss for points in curves for _place, loss in points] or [0.0, 4.5]
    shown = [loss for points in curves for place, loss in points if place > _FIRST * right] or values
    shown += [points[-1][1] for points in curves]  # for a run that has just started
    margin = 0.06 * (max(shown) - min(shown)) or 0.1
    return min(shown) - margin, max(shown) + margin


def comparison_columns(rows: Mapping[str, Sequence[Mapping[str, Any]]], names: Mapping[str, str]) -> Columns:
    """Return one row for each measured loss, run after run."""
    lines = [(names[id], row) for id, run_rows in rows.items() for row in run_rows if row.get("val_loss") is not None]
    columns = {"step": "step", "seconds": "seconds", "validation loss": "val_loss", "bits/byte": "val_bits_per_byte"}
    if any(row.get("val_accuracy") is not None for _name, row in lines):
        columns["validation accuracy"] = "val_accuracy"
    return {"run": [name for name, _row in lines]} | {
        name: [row.get(column, float("nan")) for _name, row in lines] for name, column in columns.items()
    }


def courses_figure(
    outcome: Outcome, names: tuple[str, str], guessing: str, vocab_size: int, palette: Palette = LIGHT,
    unit: LossUnit = NATS,
) -> go.Figure:  # fmt: skip
    """Draw both models' losses on validation (solid) and training text (dotted); `guessing` labels the line at ln V."""
    figure, height, top = go.Figure(), 380, unit.of(log(vocab_size))
    courses = [
        replace(course, train=list(map(unit.of, course.train)), val=list(map(unit.of, course.val)))
        for course in (outcome.control, outcome.treatment)
    ]
    low, high = _pair_range(courses, top)
    labels = {guessing: (top, palette.muted)}
    for course, name, color in zip(courses, names, palette.runs, strict=False):
        count = min(len(course.steps), len(course.train), len(course.val))
        steps, val = course.steps[:count], course.val[:count]
        hover = {"hovertemplate": "%{y:.3f}"}
        on_training = _("{name}, training text", name=name)
        figure.add_trace(line(steps, course.train[:count], color, 1.4, on_training, dash="dot", **hover))
        figure.add_trace(line(steps, val, color, 2.6, name, mode="lines+markers", marker={"size": 4}, **hover))
        if val and isfinite(val[-1]):
            labels[name] = (min(val[-1], high), color)
    style(figure, palette, height=height, zoom=True).update_layout(
        hovermode="x unified",
        uirevision="kept",
        showlegend=False,
        margin={"r": _PAIR_LABELS, "t": 14},
        xaxis={"title": {"text": _("step")}, "range": [0, outcome.steps], "nticks": 6},
        yaxis={"title": {"text": unit.title(_("loss"))}, "range": [low, high]},
    )
    figure.add_hline(y=top, line={"color": palette.lines, "width": 1, "dash": "dot"}, layer="below")
    gap = _LINE * (high - low) / (height - _AROUND)
    for name, place in spread({name: y for name, (y, _color) in labels.items()}, gap, low).items():
        figure.add_annotation(side_note(place, plain(name), labels[name][1]))
    return figure


def course_columns(outcome: Outcome) -> Columns:
    """Return one row for each measurement, model after model."""
    courses = (("healthy", outcome.control), ("broken", outcome.treatment))
    lines = [(name, *point) for name, c in courses for point in zip(c.steps, c.train, c.val, strict=False)]
    return {
        name: [line[index] for line in lines]
        for index, name in enumerate(("model", "step", "training loss", "validation loss"))
    }


def _pair_range(courses: Sequence[ModelResult], top: float) -> tuple[float, float]:
    values = [loss for course in courses for curve in (course.train, course.val) for loss in curve[1:]]
    values = [loss for loss in values if isfinite(loss)]
    return min([*values, top - 1]) - 0.15, max([*values, top]) + 0.3
