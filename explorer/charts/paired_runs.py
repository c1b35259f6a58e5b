"""A healthy model and its broken twin in one picture."""

from collections.abc import Sequence
from math import isfinite, log

import numpy as np
from plotly import graph_objects as go

from core.lessons.paired_runs import Course, Outcome
from explorer.charts.comparison import spread
from explorer.charts.csv_export import Columns
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import plain
from explorer.charts.theme import style
from explorer.i18n.language import _

_LABELS = 104  # pixels beside the chart
_LINE = 17  # pixels, of a label


def pair_colors(palette: Palette) -> tuple[str, str]:
    """Of the healthy twin and of the broken one."""
    return palette.runs[0], palette.runs[1]


def courses_figure(
    outcome: Outcome, names: tuple[str, str], guessing: str, vocab_size: int, palette: Palette = LIGHT
) -> go.Figure:
    """Loss over steps: of each twin on text kept aside (solid) and on text learned from (dotted).

    Args:
        names: of the two curves, healthy first.
        guessing: label of the line that guessing at random reaches, ln V.
    """
    figure, height, top = go.Figure(), 380, log(vocab_size)
    courses = (outcome.control, outcome.treatment)
    low, high = _range(courses, top)
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
            **common, y=train, mode="lines", line=dotted, name=plain(_("{name}, learned text", name=name))
        )
        figure.add_scatter(
            **common, y=val, mode="lines+markers", line={"color": color, "width": 2.6}, marker={"size": 4},
            name=plain(name),
        )  # fmt: skip
        if val and isfinite(val[-1]):
            ends[name] = (x[-1], val[-1], color)
    style(figure, palette, height=height)
    figure.update_layout(
        hovermode="x unified", uirevision="kept", margin={"l": 8, "r": _LABELS, "t": 14, "b": 8},
        xaxis={"title": {"text": _("step")}, "showgrid": False, "range": [0, outcome.steps], "nticks": 6},
        yaxis={"title": {"text": _("loss, nats a character")}, "range": [low, high]},
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
    """The loss at each place of a window, (T,) each; at the last one there is nothing behind it to be read off."""
    figure = go.Figure()
    for losses, name, color in zip((control, treatment), names, pair_colors(palette), strict=True):
        figure.add_scatter(
            x=np.arange(1, len(losses) + 1), y=losses, mode="lines+markers", name=plain(name),
            line={"color": color, "width": 2.2}, marker={"size": 5}, hovertemplate="%{y:.2f}",
        )  # fmt: skip
    style(figure, palette, height=280)
    figure.update_layout(hovermode="x unified", legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title_text=_("place in the window of characters read"), showgrid=False, fixedrange=True)
    figure.update_yaxes(title_text=_("loss, nats"), rangemode="tozero", fixedrange=True)
    return figure


def course_columns(outcome: Outcome) -> Columns:
    """Every measurement of both, below each other."""
    courses = (("healthy", outcome.control), ("broken", outcome.treatment))
    lines = [(name, *point) for name, c in courses for point in zip(c.steps, c.train, c.val, strict=False)]
    return {
        name: [line[index] for line in lines]
        for index, name in enumerate(("model", "step", "training loss", "validation loss"))
    }


def _range(courses: Sequence[Course], top: float) -> tuple[float, float]:
    """All of both curves but their very beginning, which may lie far above."""
    values = [loss for course in courses for curve in (course.train, course.val) for loss in curve[1:]]
    values = [loss for loss in values if isfinite(loss)]
    return min([*values, top - 1]) - 0.15, max([*values, top]) + 0.3
