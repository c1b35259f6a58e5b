"""Loss curves of several runs in one chart, one color a run; and of a control and a treatment."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from math import inf, isfinite, log
from typing import Any

import numpy as np
from plotly import graph_objects as go

from core.lessons.paired_runs import ModelResult, Outcome
from explorer.charts.csv_export import Columns
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import plain
from explorer.charts.theme import legend_above, style
from explorer.i18n.language import N_, _

_LABELS, _LABEL = 130, 17  # beside the chart: pixels, and characters on a line
_PAIR_LABELS = 104  # pixels, beside the chart of two
_LINE = 17  # pixels, of a label
_AROUND = 60  # pixels above and below the curves: margins, numbers and title of the step axis
_FIRST = 0.04  # share of the horizontal axis whose losses are still those of the very beginning

AXES = {"step": N_("step"), "seconds": N_("seconds of training")}  # said where they are shown


def comparison_figure(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Mapping[str, str],
    colors: Mapping[str, str],
    palette: Palette = LIGHT,
    *,
    over: str = "step",
    begins: Mapping[str, float] | None = None,
    height: int = 400,
) -> go.Figure:
    """Draw the validation loss of each run, its name beside the chart, in the order of their last losses.

    Args:
        rows: of metrics.jsonl by run id; rows without a validation loss are passed over.
        names, colors: of the runs by id.
        over: a column of the rows, the horizontal axis (see `AXES`).
        begins: of forks, where they branched off, by run id; their curves begin there.
    """
    figure, begins = go.Figure(), begins or {}
    curves = {
        id: [
            (begins.get(id, 0) + row[over], row["val_loss"])
            for row in run_rows
            if row.get("val_loss") is not None and row.get(over) is not None
        ]
        for id, run_rows in rows.items()
    }
    for id, points in curves.items():
        x, y = [place for place, _unused in points], [loss for _unused, loss in points]
        figure.add_scatter(
            x=x,
            y=y,
            name=plain(names[id]),
            mode="lines",
            line={"color": colors[id], "width": 2.4},
            hovertemplate="%{y:.3f}",
        )
        ends = [*points[:1], *points[-1:]] if id in begins else points[-1:]
        figure.add_scatter(
            x=[place for place, _unused in ends],
            y=[loss for _unused, loss in ends],
            mode="markers",
            marker={
                "color": [palette.surface, colors[id]][-len(ends) :],  # hollow where it branched off
                "line": {"color": colors[id], "width": 2},
                "size": 8,
            },
            showlegend=False,
            hoverinfo="skip",
            cliponaxis=False,
        )
    right = max((points[-1][0] for points in curves.values() if points), default=1) or 1
    low, high = _range(curves.values(), right)
    style(figure, palette, height=height)
    figure.update_layout(
        hovermode="x unified",
        uirevision=over,
        showlegend=False,
        margin={"l": 8, "r": _LABELS, "t": 14, "b": 8},
        xaxis={"title": {"text": _axis_title(over, begins)}, "showgrid": False, "tickformat": ",d"},
        yaxis={"title": {"text": _("validation loss (nats/token)")}, "range": [low, high]},
    )
    figure.update_xaxes(range=[0, 1.01 * right])
    per_pixel = (high - low) / (height - _AROUND)
    ends = {id: points[-1] for id, points in curves.items() if points}
    labels = {id: _on_two_lines(names[id]) for id in ends}
    gap = _LINE * (2 if any("<br>" in label for label in labels.values()) else 1)
    for id, place in spread(
        {id: min(loss, high) for id, (_unused, loss) in ends.items()}, gap * per_pixel, low
    ).items():
        x, y = ends[id]
        figure.add_scatter(  # from the end of the curve to its name
            x=[x, 1.01 * right],
            y=[y, place],
            mode="lines",
            line={"color": colors[id], "width": 1, "dash": "dot"},
            opacity=0.6,
            showlegend=False,
            hoverinfo="skip",
        )
        figure.add_annotation(
            xref="paper",
            x=1,
            xanchor="left",
            xshift=4,
            y=place,
            yanchor="middle",
            text=labels[id],
            hovertext=plain(names[id]),
            align="left",
            showarrow=False,
            font={"color": colors[id], "size": 12.5},
        )
    return figure


def spread(places: Mapping[str, float], gap: float, low: float) -> dict[str, float]:
    """Return the places moved apart as little as possible, all at least `gap` apart and none below `low`."""
    moved: dict[str, float] = {}
    above = inf
    for name, place in sorted(places.items(), key=lambda item: -item[1]):
        moved[name] = above = min(place, above - gap)
    least = low + gap / 2
    for name in reversed(moved):  # what was pushed out below comes back up, and pushes the others
        moved[name] = least = max(moved[name], least)
        least += gap
    return moved


def _range(curves: Iterable[Sequence[tuple[float, float]]], right: float) -> tuple[float, float]:
    """Fitted to what the runs came down to: their first steps fall from far above and leave at the top."""
    curves = [points for points in curves if points]
    values = [loss for points in curves for _unused, loss in points] or [0.0, 4.5]
    N_ = [loss for points in curves for place, loss in points if place > _FIRST * right] or values
    N_ += [points[-1][1] for points in curves]  # a run that has only begun
    margin = 0.06 * (max(N_) - min(N_)) or 0.1
    return min(N_) - margin, max(N_) + margin


def _axis_title(over: str, begins: Mapping[str, float]) -> str:
    if not begins:
        return _(AXES[over])
    return _("{axis}, a fork's counted on from where it branched off", axis=_(AXES[over]))


def comparison_columns(rows: Mapping[str, Sequence[Mapping[str, Any]]], names: Mapping[str, str]) -> Columns:
    """Return a line for each measured loss, of all runs below each other."""
    lines = [(names[id], row) for id, run_rows in rows.items() for row in run_rows if row.get("val_loss") is not None]
    columns = {"step": "step", "seconds": "seconds", "validation loss": "val_loss"}
    return {"run": [name for name, _unused in lines]} | {
        name: [row.get(column, float("nan")) for _unused, row in lines] for name, column in columns.items()
    }


def _on_two_lines(name: str) -> str:
    """Return a name for plotly on at most two lines; it is cut where even those are too short."""
    lines = textwrap.wrap(name, _LABEL, max_lines=2, placeholder=" …")
    return "<br>".join(plain(line) for line in lines)


def pair_colors(palette: Palette) -> tuple[str, str]:
    """Return the colors of the control and of the treatment."""
    return palette.runs[0], palette.runs[1]


def courses_figure(
    outcome: Outcome, names: tuple[str, str], guessing: str, vocab_size: int, palette: Palette = LIGHT
) -> go.Figure:
    """Draw the loss over steps of both models: on validation text (solid) and on training text (dotted).

    Args:
        names: of the two curves, the control first.
        guessing: label of the line that guessing at random reaches, ln V.
    """
    figure, height, top = go.Figure(), 380, log(vocab_size)
    courses = (outcome.control, outcome.treatment)
    low, high = _pair_range(courses, top)
    ends = {}
    for course, name, color in zip(courses, names, pair_colors(palette), strict=True):
        points = list(zip(course.steps, course.train, course.val, strict=False))
        x, train, val = (
            [place for place, _unused, _unused in points],
            [loss for _unused, loss, _unused in points],
            [v for _unused, _unused, v in points],
        )
        dotted = {"color": color, "width": 1.4, "dash": "dot"}
        common = {"x": x, "showlegend": False, "hovertemplate": "%{y:.3f}"}
        figure.add_scatter(
            **common, y=train, mode="lines", line=dotted, name=plain(_("{name}, training text", name=name))
        )
        figure.add_scatter(
            **common, y=val, mode="lines+markers", line={"color": color, "width": 2.6}, marker={"size": 4},
            name=plain(name),
        )  # fmt: skip
        if val and isfinite(val[-1]):
            ends[name] = (x[-1], val[-1], color)
    style(figure, palette, height=height)
    figure.update_layout(
        hovermode="x unified", uirevision="kept", margin={"l": 8, "r": _PAIR_LABELS, "t": 14, "b": 8},
        xaxis={"title": {"text": _("step")}, "showgrid": False, "range": [0, outcome.steps], "nticks": 6},
        yaxis={"title": {"text": _("loss (nats/token)")}, "range": [low, high]},
    )  # fmt: skip
    figure.add_hline(y=top, line={"color": palette.lines, "width": 1, "dash": "dot"}, layer="below")
    per_pixel = (high - low) / (height - 60)
    wanted = {name: min(loss, high) for name, (_unused, loss, _unused) in ends.items()}
    if guessing not in wanted:
        wanted[guessing] = top
    for name, place in spread(wanted, _LINE * per_pixel, low).items():
        color = ends[name][2] if name in ends else palette.muted
        figure.add_annotation(
            xref="paper", x=1, xanchor="left", xshift=6, y=place, text=plain(name), showarrow=False, align="left",
            font={"color": color, "size": 12.5},
        )  # fmt: skip
    return figure


def by_place_figure(
    control: np.ndarray, treatment: np.ndarray, names: tuple[str, str], palette: Palette = LIGHT
) -> go.Figure:
    """Draw the loss at each position of a window, (T,) each; the last one has no later token to read off."""
    figure = go.Figure()
    for losses, name, color in zip((control, treatment), names, pair_colors(palette), strict=True):
        figure.add_scatter(
            x=np.arange(1, len(losses) + 1), y=losses, mode="lines+markers", name=plain(name),
            line={"color": color, "width": 2.2}, marker={"size": 5}, hovertemplate="%{y:.2f}",
        )  # fmt: skip
    style(figure, palette, height=280)
    legend_above(figure).update_layout(hovermode="x unified")
    figure.update_xaxes(title_text=_("position in the window"), showgrid=False, fixedrange=True)
    figure.update_yaxes(title_text=_("loss, nats"), rangemode="tozero", fixedrange=True)
    return figure


def course_columns(outcome: Outcome) -> Columns:
    """Return every measurement of both, below each other."""
    courses = (("healthy", outcome.control), ("broken", outcome.treatment))
    lines = [(name, *point) for name, c in courses for point in zip(c.steps, c.train, c.val, strict=False)]
    return {
        name: [line[index] for line in lines]
        for index, name in enumerate(("model", "step", "training loss", "validation loss"))
    }


def _pair_range(courses: Sequence[ModelResult], top: float) -> tuple[float, float]:
    """All of both curves but their very beginning, which may lie far above."""
    values = [loss for course in courses for curve in (course.train, course.val) for loss in curve[1:]]
    values = [loss for loss in values if isfinite(loss)]
    return min([*values, top - 1]) - 0.15, max([*values, top]) + 0.3
