"""The loss by position in the context, and by kind of token."""

import math
from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from core.interpretability.token_losses import KindLoss
from explorer.charts.bars import horizontal_bars
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import percent
from explorer.charts.theme import style
from explorer.i18n.language import _

_SPREAD = 1.25  # a position is averaged with those from this much nearer to this much further


def position_curve(losses: np.ndarray, palette: Palette = LIGHT) -> go.Figure:
    """Draw the loss at each position: dots as measured, a line through their running mean.

    Args:
        losses: (T,) nats; entry t was predicted from t + 1 tokens.
    """
    places = np.arange(1, len(losses) + 1)
    hover = _("after {count} tokens: {loss} nats", count="%{x:,}", loss="%{y:.2f}")
    figure = go.Figure()
    figure.add_scatter(
        x=places,
        y=losses,
        mode="markers",
        marker={"color": palette.validation, "size": 4, "opacity": 0.45},
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=places,
        y=smoothed(losses),
        mode="lines",
        line={"color": palette.validation, "width": 2.4},
        hovertemplate=f"{hover}<extra></extra>",
    )
    style(figure, palette, height=300)
    figure.update_layout(showlegend=False, hovermode="closest")
    last = math.log10(len(losses))
    ticks = [place for place in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048) if place <= len(losses)]
    figure.update_xaxes(
        type="log", range=[-0.03, max(last, 0.1) + 0.03], tickvals=ticks, ticktext=[f"{place:,}" for place in ticks],
        title_text=_("tokens of context"), showgrid=False, fixedrange=True,
    )  # fmt: skip
    figure.update_yaxes(title_text=_("loss, nats"), fixedrange=True)
    return figure


def smoothed(losses: np.ndarray) -> np.ndarray:
    """Return the running mean of (T,), over a wider window the further on, where positions differ less."""
    sums = np.concatenate([[0.0], np.cumsum(losses, dtype=np.float64)])
    places = np.arange(1, len(losses) + 1)
    begin = np.ceil(places / _SPREAD).astype(int) - 1
    end = np.minimum(np.floor(places * _SPREAD).astype(int), len(losses))
    return (sums[end] - sums[begin]) / (end - begin)


def kind_bars(kinds: Sequence[KindLoss], palette: Palette = LIGHT) -> go.Figure:
    """Draw the mean loss of each kind of token, hardest on top, with its share of the total loss beside it."""
    rows = sorted(kinds, key=lambda kind: -kind.loss)
    figure = horizontal_bars(
        [row.loss for row in rows],
        [_(row.kind) for row in rows],
        [palette.kinds[row.kind] for row in rows],
        [_("{loss} · {share}", loss=f"{row.loss:.2f}", share=percent(row.share)) for row in rows],
        palette,
        hover=[
            _(
                "{kind}: {loss} nats each, {count} tokens, {share} of the total loss",
                kind=_(row.kind), loss=f"{row.loss:.2f}", count=f"{row.count:,}", share=percent(row.share),
            )
            for row in rows
        ],
        span=(0, 1.75 * max(row.loss for row in rows)),
        row=38,
    )  # fmt: skip
    return figure.update_xaxes(
        visible=True, showticklabels=False, showgrid=False, title_text=_("mean loss in nats · share of the total")
    )
