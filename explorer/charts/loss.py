"""The loss chart: training and validation, counted baselines on the same text, and of a fork the parent's curve."""

from collections.abc import Iterable, Mapping, Sequence
from math import ceil, floor, inf, isfinite
from typing import Any, NamedTuple

import numpy as np
from plotly import graph_objects as go

from explorer.charts.csv_export import Columns
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.setting_changes import MARK_AXIS, Mark, mark_traces
from explorer.charts.theme import style
from explorer.i18n.language import N_, _

COUNTED = {  # said where they are shown
    "uniform": N_("uniform guess"),
    "unigram": N_("unigram baseline"),
    "bigram": N_("bigram baseline"),
    "trigram": N_("trigram baseline"),
}
SMOOTHING = 0.8
FAINT = 0.4  # opacity of the parent's curve
_LONGEST = 24  # characters of a name in the chart


class Before(NamedTuple):
    """The past of a fork, counted from the first step of its oldest ancestor that still exists."""

    step: int  # at which the fork begins
    seconds: float  # of training until then
    parent: str  # its name; "" where it was deleted
    parent_step: int  # counted as the parent does
    rows: Sequence[Mapping[str, Any]]  # `step` and `val_loss` of the ancestors; the parent's go on past `step`

    @property
    def parent_in_words(self) -> str:
        if not self.parent:
            return _("a deleted run")
        return self.parent if len(self.parent) <= _LONGEST else f"{self.parent[: _LONGEST - 1]}…"

    @property
    def mark(self) -> Mark:
        """What stands at the fork's own step 0."""
        return Mark(0, _("from step {step} of {parent}", step=f"{self.parent_step:,}", parent=self.parent_in_words))


def loss_figure(
    rows: Sequence[Mapping[str, Any]],
    baselines: Mapping[str, float] | None,
    steps: int,
    palette: Palette = LIGHT,
    *,
    marks: Iterable[Mark] = (),
    before: Before | None = None,
    smoothing: float = SMOOTHING,
    height: int = 360,
) -> go.Figure:
    """The chart of one run.

    The live board draws the same figure without rows and fills it in the browser, so the order of the traces and the
    names of the lines are a contract with `assets/components/loss_chart/view.js`: training as measured,
    training smoothed, validation, its last point, lines at setting changes, labels beside them, the validation
    of its ancestors; a line and a label by every name in `COUNTED`, hidden while its value is not known.

    A fork is drawn from the step at which it branched off, over what it had learned by then and how its parent went on.

    Args:
        rows: of metrics.jsonl, in the order of their steps.
        baselines: nats a token by the names in `COUNTED`; None while they are not counted.
        steps: where the step axis ends.
        marks: setting changes while it trained.
        before: of a fork, what it began with; its own steps are then counted on from there.
        smoothing: share of the past in the smoothed line, 0 for none.
    """
    trained = [row for row in rows if row.get("loss") is not None]
    measured = [row for row in rows if row.get("val_loss") is not None]
    training = [row["loss"] for row in trained]
    validation = [row["val_loss"] for row in measured]
    last = validation[-1:]
    begins = before.step if before else 0
    marks = [mark._replace(step=begins + mark.step) for mark in [*([before.mark] if before else []), *marks]]
    hover = _("{loss} at its own step {step}", loss="%{y:.3f}", step="%{customdata:,d}") if before else "%{y:.3f}"
    line = {"mode": "lines", "hovertemplate": hover}
    figure = go.Figure(
        [
            go.Scatter(
                x=[begins + row["step"] for row in trained],
                y=training,
                name=_("training, each batch"),
                line={"color": palette.training, "width": 1},
                opacity=0.28,
                showlegend=False,
                mode="lines",
                hoverinfo="skip",
            ),
            go.Scatter(
                x=[begins + row["step"] for row in trained],
                y=smoothed(training, smoothing),
                customdata=[row["step"] for row in trained],
                name=_("training"),
                line={"color": palette.training, "width": 2.2},
                **line,
            ),
            go.Scatter(
                x=[begins + row["step"] for row in measured],
                y=validation,
                customdata=[row["step"] for row in measured],
                name=_("validation"),
                line={"color": palette.validation, "width": 2.4},
                **line,
            ),
            go.Scatter(
                x=[begins + row["step"] for row in measured][-1:],
                y=last,
                text=[f"{value:.2f}" for value in last],
                mode="markers+text",
                textposition="top right",
                textfont={"color": palette.validation, "size": 14, "weight": 700},
                marker={"color": palette.validation, "size": 9},
                showlegend=False,
                hoverinfo="skip",
                cliponaxis=False,
            ),
            *mark_traces(marks, begins + steps, palette),
            parent_trace(before, palette),
        ]
    )
    values = [*training, *validation]
    shown = fork_range(values, before) if before else loss_range(values, baselines)
    style(figure, palette, height=height)
    figure.update_layout(
        hovermode="x unified",
        dragmode="zoom",
        uirevision="kept",  # zoom survives new data
        showlegend=False,  # the page names the two colours above the chart
        margin={"l": 8, "r": 142, "t": 14, "b": 8},
        xaxis=step_axis(before, steps) | {"showgrid": False, "nticks": 6, "tickformat": ",d"},
        yaxis={"title": {"text": _("loss (nats/token)")}, "range": shown},
        yaxis2=MARK_AXIS,
    )
    shifts = label_shifts(baselines or {})
    for name, label in COUNTED.items():
        value = (baselines or {}).get(name)
        figure.add_shape(
            type="line",
            xref="paper",
            x0=0,
            x1=1,
            y0=value or 0,
            y1=value or 0,
            line={"color": palette.lines, "width": 1, "dash": "dot"},
            layer="below",
            visible=value is not None,
            name=name,
        )
        figure.add_annotation(
            xref="paper",
            x=1,
            xanchor="left",
            xshift=8,
            y=value or 0,
            yshift=shifts.get(name, 0),
            yanchor="middle",
            text=_(label),
            showarrow=False,
            font={"color": palette.muted, "size": 12},
            visible=value is not None,
            name=name,
        )
    return figure


def smoothed(values: Sequence[float], share: float) -> list[float]:
    """Return an exponential average with bias correction (Kingma and Ba 2014, section 3)."""
    average, weight, line = 0.0, 0.0, []
    for value in values:
        average = share * average + (1 - share) * value
        weight = share * weight + (1 - share)
        line.append(average / weight)
    return line


def loss_range(values: Sequence[float], baselines: Mapping[str, float] | None) -> list[float]:
    """Return the loss axis: all curves and lines with a margin, in steps of a quarter, so that it seldom moves."""
    known = [value for value in [*values, *(baselines or {}).values()] if np.isfinite(value)] or [0.0, 4.5]
    low, high = min(known), max(known)
    return [np.floor((low - 0.12) * 4) / 4, min(np.ceil((high + 0.08) * 4) / 4, max(known) + 1)]


def label_shifts(baselines: Mapping[str, float]) -> dict[str, int]:
    """Return the pixels by which the label of each baseline moves down, clear of the one above it."""
    shifts, above = {}, inf
    for name, value in sorted(baselines.items(), key=lambda item: -item[1]):
        shifts[name] = -9 if above - value < 0.12 else 0
        above = value
    return shifts


def loss_columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return the rows of metrics as a table; what was not measured at a step stays empty."""
    names = {"step": "step", "training loss": "loss", "validation loss": "val_loss"}
    return {name: [row.get(column, float("nan")) for row in rows] for name, column in names.items()}


def parent_trace(before: Before | None, palette: Palette = LIGHT) -> go.Scatter:
    """Return the ancestors' validation loss, behind everything else; empty for a run from scratch."""
    rows = before.rows if before else ()
    return go.Scatter(
        x=[row["step"] for row in rows],
        y=[row["val_loss"] for row in rows],
        name=_("validation of its parent"),
        mode="lines",
        line={"color": palette.validation, "width": 2},
        opacity=FAINT,
        zorder=-1,
        hovertemplate="%{y:.3f}",
    )


def step_axis(before: Before | None, steps: int) -> dict[str, Any]:
    """Return the step axis: of a fork as much of its past as of its own steps, if there is so much.

    As `stepRange` in assets/components/loss_chart/axes.js.
    """
    if before is None:
        return {"title": {"text": _("step")}, "range": [0, steps]}
    title = _("step, counted on from its parent's: its own step 0 is {step}", step=f"{before.step:,}")
    return {"title": {"text": title}, "range": [max(0, before.step - steps), before.step + steps]}


def fork_range(values: Iterable[float], before: Before) -> list[float]:
    """Return the loss axis of a fork: its curve and its parent's around the branch and after it, in steps of a tenth.

    The parent's first steps, which fell from far above, leave at the top. As `forkRange` in
    assets/components/loss_chart/axes.js.
    """
    parent = [row["val_loss"] for row in before.rows if row["step"] >= before.step / 2]
    known = [value for value in [*values, *parent] if isfinite(value)] or [0.0, 4.5]
    return [floor((min(known) - 0.06) * 10) / 10, ceil((max(known) + 0.12) * 10) / 10]
