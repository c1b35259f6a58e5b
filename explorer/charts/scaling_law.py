"""Scaling laws: runs as points, the fitted curve with its bounds, and the next size, on logarithmic axes."""

from collections.abc import Sequence
from math import ceil, floor, log10

import numpy as np
from plotly import graph_objects as go

from core.palette import LIGHT, Palette
from core.sweeps.scaling import PredictedSize
from core.training.scaling_law import Interval, JointLaw, ScalingLaw, ScalingRun
from explorer.charts.text_format import plain
from explorer.charts.theme import legend_above, line, style
from explorer.i18n.language import _

_HEIGHT, _PANEL, _POINTS = 400, 300, 60
Point = tuple[int, float, str]  # parameters, loss, hover text


def scaling_figure(
    points: Sequence[Point], others: Sequence[Point], law: ScalingLaw | None, next_size: int | None,
    palette: Palette = LIGHT,
) -> go.Figure:  # fmt: skip
    """Draw the runs as circles, `others` as stars, and the law up to the next size."""
    figure = go.Figure()
    if law:
        sizes = [size for size, _loss, _hover in [*points, *others]] + ([next_size] if next_size else [])
        along = np.geomspace(min(sizes) / 1.3, max(sizes) * 1.3, _POINTS)
        bounds = [law.predict(size) for size in along]
        low, high = np.array([each.low for each in bounds]), np.array([each.high for each in bounds])
        band = {"x": [*along, *along[::-1]], "y": [*high, *np.maximum(low, 0.05)[::-1]], "fill": "toself"}
        name = _("90% of further runs")
        figure.add_trace(go.Scatter(**band, mode="lines", line={"width": 0}, opacity=0.25, fillcolor=palette.accent,
                                    hoverinfo="skip", name=name))  # fmt: skip
        curve = {"mode": "lines", "line": {"color": palette.accent}, "name": _("Fitted law"), "hoverinfo": "skip"}
        figure.add_trace(go.Scatter(x=along, y=law.losses(along), **curve))
    for shown, symbol, color, name in (
        (points, "circle", palette.validation, _("Runs of the class")),
        (others, "star", palette.training, _("Runs of other sizes")),
    ):
        if shown:
            marker = {"color": color, "size": 11, "symbol": symbol}
            figure.add_trace(
                go.Scatter(
                    x=[size for size, _loss, _hover in shown], y=[loss for _size, loss, _hover in shown],
                    mode="markers", marker=marker, name=name, customdata=[plain(hover) for *_, hover in shown],
                    hovertemplate="%{customdata}<br>%{x:,}: %{y:.3f}<extra></extra>",
                )
            )  # fmt: skip
    if law and next_size:
        guess = law.predict(next_size)
        error = {"array": [guess.high - guess.value], "arrayminus": [guess.value - guess.low], "color": palette.accent}
        figure.add_trace(
            go.Scatter(x=[next_size], y=[guess.value], error_y=error, mode="markers", name=_("Predicted"),
                       marker={"symbol": "diamond-open", "size": 12, "color": palette.accent},
                       hovertemplate="%{y:.3f}<extra></extra>")
        )  # fmt: skip
    style(figure, palette, height=_HEIGHT, zoom=True).update_layout(
        hovermode="closest",
        xaxis={"type": "log", "title": {"text": _("Parameters")}},
        yaxis={"type": "log", "title": {"text": _("Validation loss (nats/token)")}},
    )
    return legend_above(figure)


def joint_law_figures(
    runs: Sequence[ScalingRun], law: JointLaw | None, next_point: PredictedSize | None, palette: Palette = LIGHT,
    names: Sequence[str] = (),
) -> list[go.Figure]:  # fmt: skip
    """Draw the loss against parameters, tokens and compute on logarithmic axes, one color per budget, with the law.

    Given `names` of the budgets, smallest first, each figure has a legend.

    A predicted size is a hollow diamond with its bounds, plus a star once it is trained, both in the color of the
    largest budget, to which they belong. All three figures have the same loss axis.
    """
    fitted = [run for run in runs if run.expected is None]
    budgets = _budgets(fitted)
    figures = [style(go.Figure(), palette, height=_PANEL) for _panel in range(3)]
    for place, budget in enumerate(budgets):
        color = palette.runs[place % len(palette.runs)]
        name = names[place] if names else _("C = {compute}", compute=_power(budget))
        shown = [run for run in fitted if _budget_of(run, budgets) == budget]
        _add_runs(figures, shown, name, {"color": color, "size": 8}, palette)
        if law:
            _add_law(figures, law, shown, color)
    whole, losses = max(budgets, default=1.0), [run.loss for run in runs]
    color = palette.runs[max(0, len(budgets) - 1) % len(palette.runs)]
    trained = [run for run in runs if run.expected]
    predicted = [((run.parameters, run.tokens, whole), run.expected) for run in trained if run.expected]
    if next_point:
        predicted.append(((next_point.parameters, next_point.tokens, whole), next_point.loss))
    for places, loss in predicted:
        losses += loss
        _add_prediction(figures, places, loss, color)
    star = {"color": color, "size": 13, "symbol": "star"}
    _add_runs(figures, trained, _("Trained"), star, palette)
    low, high = max(1e-3, min(losses, default=1.0)), max(losses, default=10.0)
    titles = (_("Parameters N"), _("Tokens read D"), _("Compute C (operations)"))
    for figure, title in zip(figures, titles, strict=True):
        places = [x for trace in figure.data for x in trace.x]
        ticks = log_ticks(min(places, default=1.0), max(places, default=10.0), most=5)
        figure.update_xaxes(type="log", title_text=title, tickvals=ticks, tickformat="~s", tickangle=0)
        span = [log10(low) - 0.02, log10(high) + 0.02]
        figure.update_yaxes(type="log", tickvals=log_ticks(low, high, most=6), tickformat="~g", range=span)
        figure.update_yaxes(title_text=_("Loss (nats/token)"))
        figure.update_layout(hovermode="closest", showlegend=False)
        if names:
            legend_above(figure).update_layout(showlegend=True)
    figures[2].update_xaxes(tickvals=budgets, ticktext=list(map(_power, budgets)), tickformat=None)
    return figures


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` round numbers from `low` to `high` for a logarithmic axis.

    Within a factor of 8 they are evenly spaced; otherwise they are 1, 2, 3, 5 and 7 of each decade, fewer of these, or
    powers of ten at equal distances.
    """
    if high / low < 8:
        size = 10.0 ** np.floor(np.log10((high - low) or low))
        steps = [part * size for part in (0.1, 0.2, 0.25, 0.5, 1, 2, 2.5, 5, 10)]
        step = next((step for step in steps if (high - low) / step < most - 1), steps[-1])
        return [round(float(count * step), 12) for count in range(ceil(low / step), floor(high / step) + 1)]
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    for parts in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(part * 10.0**decade) for decade in decades for part in parts]
        ticks = [tick for tick in ticks if low <= tick <= high]
        if len(ticks) <= most:
            return ticks
    return ticks[:: ceil(len(ticks) / most)]


def _power(value: float) -> str:
    """Return a large number as plotly shows it: 2.5·10⁸."""
    exponent = floor(log10(value))
    return f"{value / 10.0**exponent:.1f}·10<sup>{exponent}</sup>"


def _add_prediction(figures: Sequence[go.Figure], places: Sequence[float], loss: Interval, color: str) -> None:
    """Add a predicted loss with its bounds at its parameters, tokens and compute."""
    error = {"array": [loss.high - loss.value], "arrayminus": [loss.value - loss.low], "color": color}
    marker = {"symbol": "diamond-open", "size": 12, "color": color}
    for figure, x in zip(figures, places, strict=True):
        more = {"name": plain(_("Predicted")), "hovertemplate": "%{y:.3f}<extra></extra>"}
        figure.add_trace(go.Scatter(x=[x], y=[loss.value], error_y=error, mode="markers", marker=marker, **more))


def _budgets(runs: Sequence[ScalingRun]) -> list[float]:
    """Return the runs' budgets, smallest first. The compute of one budget varies a little, because steps are whole."""
    budgets: list[float] = []
    for compute in sorted(run.compute for run in runs):
        if not budgets or compute > 1.4 * budgets[-1]:
            budgets.append(compute)
    return budgets


def _budget_of(run: ScalingRun, budgets: Sequence[float]) -> float:
    return min(budgets, key=lambda budget: abs(np.log(run.compute / budget)))


def _add_runs(
    figures: Sequence[go.Figure], runs: Sequence[ScalingRun], name: str, marker: dict[str, object], palette: Palette
) -> None:
    """Add the mean loss of each size, with its standard deviation over seeds, to all three figures."""
    if not runs:
        return
    sizes = list(dict.fromkeys(run.size for run in runs))
    groups = [[run for run in runs if run.size == size] for size in sizes]
    spread = [float(np.std([run.loss for run in group], ddof=1)) if len(group) > 1 else 0.0 for group in groups]
    losses = [float(np.mean([run.loss for run in group])) for group in groups]
    for figure, of in zip(figures, ("parameters", "tokens", "compute"), strict=True):
        figure.add_trace(
            go.Scatter(
                x=[getattr(group[0], of) for group in groups], y=losses, mode="markers", marker=marker,
                name=name,
                customdata=[plain(size) for size in sizes],
                error_y={"array": spread, "color": palette.lines, "width": 3},
                hovertemplate="%{customdata}<br>%{x:.3s}: %{y:.3f}<extra>%{fullData.name}</extra>",
            )
        )  # fmt: skip


def _add_law(figures: Sequence[go.Figure], law: JointLaw, runs: Sequence[ScalingRun], color: str) -> None:
    """Add the law along one budget, where more parameters mean fewer tokens, to the first two figures."""
    ordered = sorted(runs, key=lambda run: run.parameters)
    sizes = np.geomspace(ordered[0].parameters, ordered[-1].parameters, _POINTS)
    marks = np.log([run.parameters for run in ordered])
    tokens = np.exp(np.interp(np.log(sizes), marks, np.log([run.tokens for run in ordered])))
    losses = law.losses(sizes, tokens)
    for figure, x in zip(figures, (sizes, tokens), strict=False):
        figure.add_trace(line(x, losses, color, 1.6, hoverinfo="skip", showlegend=False))
