"""Line charts: several curves with their names above them, and the loss by position in the context."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from plotly import graph_objects as go

from core.palette import LIGHT, Palette
from explorer.charts.theme import legend_above, line, style
from explorer.i18n.language import _

_SPREAD = 1.25  # a position is averaged with those from this much nearer to this much further


def curves(
    x: Sequence[float], lines: Mapping[str, Sequence[float]], colors: Sequence[str], titles: tuple[str, str],
    palette: Palette = LIGHT, *, mode: str = "lines", hover: str = ".2f",
) -> go.Figure:  # fmt: skip
    """Draw several curves over the same x, each with its name in a line above them."""
    figure = go.Figure()
    for (name, y), color in zip(lines.items(), colors, strict=False):
        figure.add_trace(line(list(x), list(y), color, 2.4, name, mode=mode, hovertemplate=f"%{{y:{hover}}}"))
    style(figure, palette, height=280)
    legend_above(figure).update_layout(hovermode="x unified")
    figure.update_xaxes(title_text=titles[0])
    return figure.update_yaxes(title_text=titles[1], rangemode="tozero")


def position_curve(losses: np.ndarray, palette: Palette = LIGHT) -> go.Figure:
    """Draw the loss (T,) in nats after each number of tokens: dots as measured, a line through their running mean."""
    places = np.arange(1, len(losses) + 1)
    hover = _("after {count} tokens: {loss} nats", count="%{x:,}", loss="%{y:.2f}")
    dots = {"color": palette.validation, "size": 4, "opacity": 0.45}
    figure = go.Figure(go.Scatter(x=places, y=losses, mode="markers", marker=dots, hoverinfo="skip"))
    means = running_mean(losses)
    figure.add_trace(line(places, means, palette.validation, 2.4, hovertemplate=f"{hover}<extra></extra>"))
    style(figure, palette, height=300).update_layout(showlegend=False, hovermode="closest")
    ticks = [2**power for power in range(12) if 2**power <= len(losses)]
    span = [-0.03, max(math.log10(len(losses)), 0.1) + 0.03]
    labels = {"tickvals": ticks, "ticktext": [f"{place:,}" for place in ticks], "title_text": _("tokens of context")}
    figure.update_xaxes(type="log", range=span, **labels)
    return figure.update_yaxes(title_text=_("loss, nats"))


def running_mean(losses: np.ndarray) -> np.ndarray:
    """Return the running mean of (T,), over a wider window the further on, where positions differ less."""
    sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    places = np.arange(1, len(losses) + 1)
    begin = np.ceil(places / _SPREAD).astype(int) - 1
    end = np.minimum(np.floor(places * _SPREAD).astype(int), len(losses))
    return (sums[end] - sums[begin]) / (end - begin)
