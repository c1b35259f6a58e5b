"""The loss over steps and by position, the players of Shannon's game, and the learning rate of a continued run."""

from collections.abc import Mapping, Sequence
from math import ceil, exp, inf, isfinite, log, log10
from typing import Any, NamedTuple

import numpy as np
from plotly import graph_objects as go

from core.formatting import format_rate
from core.palette import LIGHT, Palette
from core.text.ngrams import BASELINES
from explorer.charts.csv_export import Columns
from explorer.charts.text_format import cut, plain
from explorer.charts.theme import legend_above, line, side_note, style
from explorer.i18n.language import N_, _

UNITS = {"nats": N_("nats/token"), "bits": N_("bits/byte"), "choices": N_("perplexity")}  # of a loss
SMOOTHING = 0.8
_SPANS = 10  # a curve has at least this many smoothing windows, so a short one is smoothed less
BIT = log(2)  # nats
_LONGEST = 24  # characters of a name in the chart
_SPREAD = 1.25  # position p is averaged with those from p / 1.25 to 1.25 p


class ParentCurve(NamedTuple):
    """The history of a fork, with steps counted from the start of its oldest ancestor that still exists."""

    step: int  # at which the fork branches off
    seconds: float  # of training until then
    parent: str  # its name; "" if it was deleted
    parent_step: int  # in the parent's own count
    rows: Sequence[Mapping[str, Any]]  # `step` and `val_loss` of the ancestors; the parent's continue past `step`

    @property
    def mark(self) -> str:
        """The label at the fork's own step 0."""
        parent = cut(self.parent, _LONGEST) if self.parent else _("a deleted run")
        return _("from step {step} of {parent}", step=f"{self.parent_step:,}", parent=parent)


def loss_figure(
    rows: Sequence[Mapping[str, Any]],
    baselines: Mapping[str, float] | None,
    steps: int,
    palette: Palette = LIGHT,
    *,
    parent: ParentCurve | None = None,
    height: int = 360,
) -> go.Figure:
    """Draw the loss of one run: rows of metrics.jsonl, and baselines in nats/token by the names in `BASELINES`.

    The dashboard draws this figure without rows and fills it in the browser, so the order of the traces and the names
    of the lines are a contract with `assets/components/loss_chart/view.js`: raw training loss, smoothed training
    loss, validation loss, its last point, lines at setting changes, their labels, the validation loss of the
    ancestors; and a line and a label for each name in `BASELINES`, hidden while its value is unknown.
    """
    baselines = baselines or {}
    training, validation = _curve(rows, "loss"), _curve(rows, "val_loss")
    values = [*training[1], *validation[1]]
    figure = go.Figure(_traces(training, validation, parent, palette))
    style(figure, palette, height=height, zoom=True)
    title = _("step")
    if parent:
        title = _("step, counted on from its parent's: its own step 0 is {step}", step=f"{parent.step:,}")
    figure.update_layout(
        hovermode="x unified",
        dragmode="zoom",
        uirevision="kept",  # zoom survives new data
        showlegend=False,  # the page names the two colors above the chart
        margin={"l": 8, "r": 142, "t": 14, "b": 8},
        xaxis={"title": {"text": title}, "range": [0, steps], "nticks": 6, "tickformat": ",d"},
        yaxis={"title": {"text": _("loss (nats/token)")}, "range": loss_range(values, baselines)},
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True},
    )
    shifts = label_shifts(baselines)
    for name, label in BASELINES.items():
        common = {"name": name, "visible": name in baselines}
        y = baselines.get(name, 0)
        dotted = {"color": palette.lines, "width": 1, "dash": "dot"}
        figure.add_shape(type="line", xref="paper", x0=0, x1=1, y0=y, y1=y, line=dotted, layer="below", **common)
        figure.add_annotation(side_note(y, _(label), palette.muted, yshift=shifts.get(name, 0), **common))
    return figure


def in_unit(loss: float, unit: str, bytes_per_token: float) -> float:
    """Convert a loss in nats/token to one of `UNITS`, as `inUnit` in assets/components/loss_chart/axes.js does."""
    return {"nats": loss, "bits": loss / BIT / bytes_per_token, "choices": exp(min(loss, 700.0))}[unit]


class LossUnit(NamedTuple):
    """The unit of a loss chart."""

    name: str = "nats"  # a key of `UNITS`
    bytes_per_token: float = 1.0

    def of(self, loss: float) -> float:
        """Convert a loss in nats/token to this unit."""
        return in_unit(loss, self.name, self.bytes_per_token) if isfinite(loss) else loss

    def in_words(self, loss: float) -> str:
        """Return a loss in nats/token with its unit, for a sentence."""
        value, words = f"{self.of(loss):.2f}", _(UNITS[self.name])
        return f"{words} {value}" if self.name == "choices" else f"{value} {words}"

    def title(self, what: str) -> str:
        """Return the title of an axis: what is measured, and the unit."""
        return f"{what} ({_(UNITS[self.name])})"


NATS = LossUnit()


Points = Sequence[tuple[int, float]]


def _curve(rows: Sequence[Mapping[str, Any]], column: str) -> tuple[list[int], list[float]]:
    measured = [row for row in rows if row.get(column) is not None]
    return [row["step"] for row in measured], [row[column] for row in measured]


def _traces(training: tuple, validation: tuple, parent: ParentCurve | None, palette: Palette) -> list[go.Scatter]:
    hover = _("{loss} at its own step {step}", loss="%{y:.3f}", step="%{customdata:,d}") if parent else "%{y:.3f}"
    (steps, losses), (measured, val_losses) = training, validation
    last = {
        "text": [f"{value:.2f}" for value in val_losses[-1:]],
        "mode": "markers+text",
        "textposition": "top right",
        "textfont": {"color": palette.validation, "size": 14, "weight": 700},
        "marker": {"color": palette.validation, "size": 9},
        "cliponaxis": False,
    }
    # Setting changes: only the browser fills them in, on an axis that zooming does not move.
    labels = {"x": [], "y": [], "opacity": 0.75, "yaxis": "y2", "textfont": {"color": palette.accent, "size": 11}}
    earlier = _curve(parent.rows if parent else (), "val_loss")
    faint = {"opacity": 0.4, "zorder": -1, "hovertemplate": "%{y:.3f}"}
    return [
        line(steps, losses, palette.training, 1, opacity=0.28, showlegend=False, hoverinfo="skip"),
        line(steps, smoothed(losses), palette.training, 2.2, _("training"), hovertemplate=hover),
        line(measured, val_losses, palette.validation, 2.4, _("validation"), hovertemplate=hover),
        go.Scatter(x=measured[-1:], y=val_losses[-1:], showlegend=False, hoverinfo="skip", **last),
        line([], [], palette.accent, 1, opacity=0.75, yaxis="y2", hovertemplate="%{customdata}<extra></extra>"),
        go.Scatter(**labels, mode="text", hoverinfo="skip"),
        line(*earlier, palette.validation, 2, _("validation of its parent"), **faint),
    ]


def smoothed(values: Sequence[float], share: float = SMOOTHING) -> list[float]:
    """Smooth values: fit a line around each, weighted by share**distance, and clip it to the values nearby.

    Unlike an average of earlier values, it does not lag behind a falling curve (Cleveland 1979, local regression).
    """
    share = min(share, max(0.0, 1 - _SPANS / max(1, len(values))))
    reach, fitted = ceil(1 / (1 - share)), []
    sums = zip(values, _weighted_sums(values, share), _weighted_sums(values[::-1], share)[::-1], strict=True)
    for at, (value, (b0, b1, b2, bv, bd), (a0, a1, a2, av, ad)) in enumerate(sums):
        weight, first, second = b0 + a0 - 1, a1 - b1, a2 + b2
        total, slope = bv + av - value, ad - bd
        spread = weight * second - first * first
        fit = (total * second - slope * first) / spread if spread > 0 else value
        near = values[max(0, at - reach) : at + reach + 1]
        fitted.append(max(min(near), min(max(near), fit)))
    return fitted


def _weighted_sums(values: Sequence[float], share: float) -> list[tuple[float, ...]]:
    """Return, for each value, the sums of share**d times 1, d, d², value and d value over it and earlier values."""
    sums, w0, w1, w2, v, d = [], 0.0, 0.0, 0.0, 0.0, 0.0
    for value in values:
        w0, w1, w2 = share * w0 + 1, share * (w1 + w0), share * (w2 + 2 * w1 + w0)
        v, d = share * v + value, share * (d + v)
        sums.append((w0, w1, w2, v, d))
    return sums


def loss_range(values: Sequence[float], baselines: Mapping[str, float]) -> list[float]:
    """Return the range of the loss axis: all curves and lines with a margin, in quarters, so that it rarely moves."""
    finite = [value for value in [*values, *baselines.values()] if np.isfinite(value)] or [0.0, 4.5]
    low, high = min(finite), max(finite)
    return [np.floor((low - 0.12) * 4) / 4, min(np.ceil((high + 0.08) * 4) / 4, max(finite) + 1)]


def label_shifts(baselines: Mapping[str, float]) -> dict[str, int]:
    """Return by how many pixels each baseline's label moves down to clear the one above it."""
    shifts, above = {}, inf
    for name, value in sorted(baselines.items(), key=lambda item: -item[1]):
        shifts[name] = -9 if above - value < 0.12 else 0
        above = value
    return shifts


def loss_columns(rows: Sequence[Mapping[str, Any]]) -> Columns:
    """Return the rows of metrics as a table; values not measured at a step stay empty."""
    names = {"step": "step", "training loss": "loss", "validation loss": "val_loss"}
    return {name: [row.get(column, float("nan")) for row in rows] for name, column in names.items()}


class Player(NamedTuple):
    """One player of the passage."""

    name: str
    bits: float  # per character
    step: int  # place on the step axis
    color: str
    symbol: str  # a plotly marker
    lower: float | None = None  # bits, if only bounds are known
    upper: float | None = None


def with_players(figure: go.Figure, players: Sequence[Player], steps: int, palette: Palette = LIGHT) -> go.Figure:
    """Add a point for each player to the loss chart, side by side at its end; return the same figure."""
    figure.data[3].visible = False  # the label of the last loss: the markers of the players replace it
    at_the_end = [place for place, player in enumerate(players) if player.step >= steps]
    for place, player in enumerate(players):
        apart = at_the_end.index(place) - len(at_the_end) + 1 if place in at_the_end else 0
        bar = None
        if player.lower is not None:
            spread = {"array": [(player.upper - player.bits) * BIT], "arrayminus": [(player.bits - player.lower) * BIT]}
            bar = {"color": player.color, "thickness": 2, "width": 7} | spread
        values = {"name": player.name, "bits": f"{player.bits:.2f}", "nats": f"{player.bits * BIT:.2f}"}
        where = {"x": [player.step + 0.025 * steps * apart], "y": [player.bits * BIT], "error_y": bar}
        outline = {"color": palette.surface, "width": 1.5}
        marker = {"color": player.color, "size": 13, "symbol": player.symbol, "line": outline}
        hover = _("{loss} nats", loss="%{y:.2f}") + f"<extra>{plain(player.name)}</extra>"
        look = {"mode": "markers", "marker": marker, "hovertemplate": hover, "showlegend": True, "cliponaxis": False}
        figure.add_scatter(**where, **look, name=plain(_("{name}: {bits} bits = {nats} nats", **values)))
    if steps <= 1:  # without training on the chart there are no steps to count
        figure.update_xaxes(showticklabels=False, title_text="")
    drawn = [bits for player in players for bits in (player.bits, player.lower, player.upper) if bits is not None]
    low, high = figure.layout.yaxis.range
    legend_above(figure, itemclick=False, y=1.03)
    return figure.update_layout(
        showlegend=True,
        hovermode="closest",
        margin={"t": 70},
        yaxis={"range": [min(low, min(drawn) * BIT - 0.15), max(high, max(drawn) * BIT + 0.15)]},
    )


def player_columns(players: Sequence[Player]) -> Columns:
    """Return one row per player."""
    empty = float("nan")
    return {
        "player": [player.name for player in players],
        "bits a character": [player.bits for player in players],
        "at least": [empty if player.lower is None else player.lower for player in players],
        "at most": [empty if player.upper is None else player.upper for player in players],
    }


def rates_figure(
    past: Sequence[Mapping[str, Any]], ahead: Mapping[str, Points], chosen: str, palette: Palette = LIGHT
) -> go.Figure:
    """Draw the learning rate so far and each labeled continuation: the chosen one solid, the others dotted."""
    more = {"hovertemplate": "%{y:.2~e}"}
    figure = go.Figure(line(*_curve(past, "lr"), palette.muted, 2, _("so far"), **more))
    for label in sorted(ahead, key=lambda label: label == chosen):  # the chosen one above the others
        color, dash = (palette.accent, "solid") if label == chosen else (palette.muted, "dot")
        steps, rates = zip(*ahead[label], strict=True)
        figure.add_trace(line(steps, rates, color, 2, label, dash=dash, **more))
    style(figure, palette, height=130, zoom=True)
    figure.update_layout(hovermode="x unified", showlegend=False)
    figure.update_xaxes(tickformat=",d", nticks=4)
    highest = max((rate for trace in figure.data for rate in trace.y), default=1.0)
    return figure.update_yaxes(tickvals=[0, highest], ticktext=["0", format_rate(float(f"{highest:.3g}"))])


def position_curve(losses: np.ndarray, palette: Palette = LIGHT, unit: LossUnit = NATS) -> go.Figure:
    """Draw the loss (T,) in nats after each number of tokens: measured dots, and a line for their running mean."""
    places = np.arange(1, len(losses) + 1)
    hover = _("after {count} tokens: {loss}", count="%{x:,}", loss=f"%{{y:.2f}} {_(UNITS[unit.name])}")
    dots = {"color": palette.validation, "size": 4, "opacity": 0.45}
    shown = list(map(unit.of, losses.tolist()))
    figure = go.Figure(go.Scatter(x=places, y=shown, mode="markers", marker=dots, hoverinfo="skip"))
    means = list(map(unit.of, running_mean(losses).tolist()))
    figure.add_trace(line(places, means, palette.validation, 2.4, hovertemplate=f"{hover}<extra></extra>"))
    style(figure, palette, height=300).update_layout(showlegend=False, hovermode="closest")
    ticks = [2**power for power in range(12) if 2**power <= len(losses)]
    span = [-0.03, max(log10(len(losses)), 0.1) + 0.03]
    labels = {"tickvals": ticks, "ticktext": [f"{place:,}" for place in ticks], "title_text": _("tokens of context")}
    figure.update_xaxes(type="log", range=span, **labels)
    return figure.update_yaxes(title_text=unit.title(_("loss")))


def running_mean(losses: np.ndarray) -> np.ndarray:
    """Return the running mean of (T,); the window widens with the position, because later positions differ less."""
    sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    places = np.arange(1, len(losses) + 1)
    begin = np.ceil(places / _SPREAD).astype(int) - 1
    end = np.minimum(np.floor(places * _SPREAD).astype(int), len(losses))
    return (sums[end] - sums[begin]) / (end - begin)
