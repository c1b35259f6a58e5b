"""The points of a sweep: parallel coordinates, loss against each setting, two settings at once, and importances."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from core.palette import LIGHT, Palette
from core.sweeps.rate_finder import RateTest
from core.sweeps.results import Importance, PointResult
from core.sweeps.space import Dimension
from explorer.charts.bars import horizontal_bars
from explorer.charts.csv_export import Columns
from explorer.charts.text_format import percent, plain
from explorer.charts.theme import line, style
from explorer.i18n.formatting import number
from explorer.i18n.language import _

_HEIGHT, _SLICE, _ACROSS = 380, 250, 2
_TICKS = 5  # of a range
_FEW_MARKS = 6  # of an axis
_CELLS = 40  # along each side of the surface between points
_NEAREST = 2.0  # power of the inverse distance that weights a point (Shepard 1968)


def done_points(results: Sequence[PointResult]) -> list[PointResult]:
    """Return the points that have a loss."""
    return [point for point in results if point.losses]


def parallel_figure(
    dimensions: Sequence[Dimension], results: Sequence[PointResult], palette: Palette = LIGHT
) -> go.Figure:
    """Draw each point as a line through its values to its loss; dragging along an axis selects a part of it."""
    done = done_points(results)
    losses = [point.loss for point in done]
    axes = [_axis(dimension, [point.values[dimension.path] for point in done]) for dimension in dimensions]
    axes.append({"label": plain(_("Validation loss")), "values": losses, "tickformat": ".3f"})
    stops = palette.sequential[2:]
    scale = [[place / (len(stops) - 1), color] for place, color in enumerate(reversed(stops))]
    low, high = min(losses, default=0.0), max(losses, default=1.0)
    drawn = {"color": losses, "colorscale": scale, "cmin": low, "cmax": high if high > low else low + 1}
    ink = {"color": palette.text, "size": 12}
    figure = go.Figure(
        go.Parcoords(
            line=drawn,
            dimensions=axes,
            labelangle=-18,
            labelfont=ink,
            tickfont=ink,
            rangefont={"color": "rgba(0,0,0,0)", "size": 1},
        )
    )
    return style(figure, palette, height=_HEIGHT).update_layout(margin={"l": 70, "r": 60, "t": 76, "b": 24})


def _axis(dimension: Dimension, values: Sequence[Any]) -> dict[str, Any]:
    """Return an axis of parallel coordinates: indices for a list, values or their logarithms for a range."""
    label = plain(_(dimension.setting.label))
    if dimension.values:
        choices = list(dimension.values)
        ticks = {
            "tickvals": list(range(len(choices))),
            "ticktext": [plain(number(value, dimension.path)) for value in choices],
        }
        return {"label": label, "values": [choices.index(value) for value in values], **ticks}
    marks = dict.fromkeys(dimension.at(place / (_TICKS - 1)) for place in range(_TICKS))
    place = math.log10 if dimension.setting.in_factors else float
    ends = [place(end) for end in (dimension.low, dimension.high) if end is not None]
    ticks = {
        "tickvals": [place(mark) for mark in marks],
        "ticktext": [plain(number(mark, dimension.path)) for mark in marks],
    }
    return {"label": label, "values": [place(value) for value in values], "range": ends, **ticks}


def slice_figure(
    dimensions: Sequence[Dimension], results: Sequence[PointResult], best: PointResult | None, palette: Palette = LIGHT
) -> go.Figure:
    """Draw the loss against each setting, with its standard deviation over seeds; the best point is a star."""
    across = min(_ACROSS, len(dimensions))
    rows = math.ceil(len(dimensions) / across)
    figure = make_subplots(rows, across, shared_yaxes=True, horizontal_spacing=0.05, vertical_spacing=0.28 / rows)
    style(figure, palette, height=40 + _SLICE * rows)
    done = done_points(results)
    for place, dimension in enumerate(dimensions):
        row, column = place // across + 1, place % across + 1
        for points, symbol, color, size in (
            ([point for point in done if point is not best], "circle", palette.accent, 8),
            ([best] if best else [], "star", palette.validation, 15),
        ):
            figure.add_trace(_scatter(dimension, points, palette, symbol, color, size), row=row, col=column)
        kind = "category" if _is_choice(dimension) else "log" if dimension.setting.in_factors else "linear"
        title = {"text": plain(_(dimension.setting.label)), "font": {"color": palette.muted, "size": 12}}
        axis: dict[str, Any] = {"type": kind, "title": title}
        if kind == "category":
            axis |= {
                "categoryorder": "array",
                "categoryarray": [number(value, dimension.path) for value in dimension.values],
            }
        if kind == "log":
            axis |= _log_ticks(dimension.path, [point.values[dimension.path] for point in done])
        if kind == "linear" and dimension.setting.type is int:
            axis |= _whole_ticks([point.values[dimension.path] for point in done])
        figure.update_xaxes(axis, row=row, col=column)
    quiet = {"gridcolor": palette.grid, "zeroline": False, "tickfont": {"color": palette.muted}, "fixedrange": True}
    figure.update_xaxes(**quiet).update_yaxes(**quiet)
    title = {"text": _("Validation loss (nats/token)"), "font": {"color": palette.muted, "size": 12}}
    figure.update_yaxes(title=title, col=1)
    return figure.update_layout(hovermode="closest", showlegend=False, margin={"b": 44})


def _scatter(
    dimension: Dimension, points: Sequence[PointResult], palette: Palette, symbol: str, color: str, size: int
) -> go.Scatter:
    values = [point.values[dimension.path] for point in points]
    x = [number(value, dimension.path) for value in values] if _is_choice(dimension) else values
    spread = {"type": "data", "array": [point.spread or 0.0 for point in points], "color": palette.lines, "width": 3}
    return go.Scatter(
        x=x, y=[point.loss for point in points], mode="markers", error_y=spread,
        marker={"symbol": symbol, "color": color, "size": size},
        customdata=[plain(point_in_words(point)) for point in points],
        hovertemplate="%{customdata}<br>%{y:.3f}<extra></extra>",
    )  # fmt: skip


def _is_choice(dimension: Dimension) -> bool:
    return any(isinstance(value, bool | str) for value in dimension.values)


def _log_ticks(path: str, values: Sequence[float]) -> dict[str, Any]:
    """Return at most four round ticks for a logarithmic axis."""
    low, high = min(values, default=1.0), max(values, default=10.0)
    if high <= low:
        return {}
    marks = [float(f"{low * (high / low) ** (place / 3):.1g}") for place in range(4)]
    marks = list(dict.fromkeys(mark for mark in marks if low / 1.3 <= mark <= high * 1.3))
    return {"tickvals": marks, "ticktext": [number(mark, path) for mark in marks]}


def _whole_ticks(values: Sequence[int]) -> dict[str, Any]:
    """Return a tick at each whole number that occurs, if there are few."""
    marks = sorted({*values})
    return {"tickvals": marks, "ticktext": [number(mark) for mark in marks]} if len(marks) <= _FEW_MARKS else {}


def point_in_words(point: PointResult) -> str:
    """Return the number of a point and its values."""
    return ", ".join([f"{point.number}", *(number(value, path) for path, value in point.values.items())])


def contour_figure(
    across: Dimension, upward: Dimension, results: Sequence[PointResult], palette: Palette = LIGHT
) -> go.Figure:
    """Draw the loss over two settings: points, and a surface interpolated between them by inverse distance."""
    done = done_points(results)
    places = np.array([[d.place(point.values[d.path]) for d in (across, upward)] for point in done])  # (N, 2)
    losses = np.array([point.loss for point in done])
    along = np.linspace(0.0, 1.0, _CELLS)
    grid = np.stack(np.meshgrid(along, along), axis=-1)  # (cells, cells, 2)
    distances = ((grid[:, :, None] - places) ** 2).sum(-1) ** (_NEAREST / 2)
    weights = 1.0 / np.maximum(distances, 1e-6)
    surface = (weights * losses).sum(-1) / weights.sum(-1)
    stops = list(reversed(palette.sequential))
    scale = [[place / (len(stops) - 1), color] for place, color in enumerate(stops)]
    figure = go.Figure(
        go.Contour(
            x=along, y=along, z=surface, colorscale=scale, hoverinfo="skip", contours={"coloring": "heatmap"},
            line={"width": 0.5, "color": palette.lines}, ncontours=12,
            colorbar={"thickness": 10, "outlinewidth": 0, "tickfont": {"color": palette.muted}, "tickformat": ".2f"},
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=places[:, 0], y=places[:, 1], mode="markers",
            marker={"color": palette.validation, "size": 8, "line": {"color": palette.surface, "width": 1.5}},
            customdata=[[plain(point_in_words(point)), point.loss] for point in done],
            hovertemplate="%{customdata[0]}<br>%{customdata[1]:.3f}<extra></extra>",
        )
    )  # fmt: skip
    style(figure, palette, height=_HEIGHT).update_layout(hovermode="closest", showlegend=False)
    for axis, dimension in (("xaxis", across), ("yaxis", upward)):
        title = {"text": plain(_(dimension.setting.label))}
        figure.update_layout({axis: {"range": [-0.03, 1.03], "title": title, "showgrid": False} | _marks(dimension)})
    return figure


def _marks(dimension: Dimension) -> dict[str, Any]:
    """Return the ticks of a dimension on an axis from 0 to 1."""
    ends = (place / (_TICKS - 1) for place in range(_TICKS))
    values = list(dimension.values) or list(dict.fromkeys(map(dimension.at, ends)))
    return {
        "tickvals": [dimension.place(value) for value in values],
        "ticktext": [plain(number(v, dimension.path)) for v in values],
    }


def importance_figure(
    shares: Sequence[Importance], dimensions: Sequence[Dimension], palette: Palette = LIGHT
) -> go.Figure:
    """Draw how much of the variance of the loss each setting explains on its own."""
    labels = {dimension.path: plain(_(dimension.setting.label)) for dimension in dimensions}
    values, written = [each.share for each in shares], [percent(each.share) for each in shares]
    names = [labels[each.path] for each in shares]
    return horizontal_bars(values, names, [palette.accent] * len(shares), written, palette, span=(0.0, 1.2))


def rate_figure(test: RateTest, palette: Palette = LIGHT) -> go.Figure:
    """Draw the loss of a range test over the learning rate, with the suggested rate marked."""
    figure = go.Figure()
    figure.add_trace(line(test.rates, test.losses, palette.grid, 1.2, _("each batch"), hoverinfo="skip"))
    hover = "%{x:.2~e}: %{y:.3f}<extra></extra>"
    figure.add_trace(line(test.rates, test.smoothed, palette.training, 2.4, _("average"), hovertemplate=hover))
    style(figure, palette, height=230).update_layout(
        showlegend=False,
        hovermode="closest",
        xaxis={"type": "log", "title": {"text": _("Learning rate")}} | _log_ticks(test.setting, test.rates),
        yaxis={"title": {"text": _("Loss (nats/token)")}, "nticks": 5},
    )
    if test.suggestion is not None:
        figure.add_vline(x=test.suggestion, line={"color": palette.validation, "width": 2, "dash": "dash"})
    return figure


def point_columns(dimensions: Sequence[Dimension], results: Sequence[PointResult]) -> Columns:
    """Return the values, mean loss and spread of each point, for a table."""
    done = done_points(results)
    settings = {d.path: [point.values[d.path] for point in done] for d in dimensions}
    losses = {"loss": [point.loss for point in done], "spread over seeds": [point.spread for point in done]}
    return {"point": [point.number for point in done]} | settings | losses
