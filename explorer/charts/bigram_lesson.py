"""The charts of the bigram lesson."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from plotly import graph_objects as go

from core.formatting import decimal
from core.text.token_display import visible
from explorer.charts.bars import horizontal_bars
from explorer.charts.heatmaps import signed_heatmap, token_axes
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import percent, plain, quoted
from explorer.charts.theme import legend_above, style, token_ticks
from explorer.i18n.language import _


def two_losses(named: Mapping[str, float], uniform: float, palette: Palette = LIGHT) -> go.Figure:
    """Two losses as bars, training above validation, on a scale that ends at guessing at random.

    Args:
        named: the loss in nats on the training and on the validation part, by their names, in this order.
    """
    return horizontal_bars(
        list(named.values()),
        list(map(plain, named)),
        [palette.training, palette.validation],
        [f"{loss:.2f}" for loss in named.values()],
        palette,
        hover=[_("{name}: {loss} nats/token", name=plain(name), loss=f"{loss:.3f}") for name, loss in named.items()],
        span=(0, uniform * 1.12),
        row=43,
    )


def memory_curves(
    losses: Sequence[tuple[float, float]], names: tuple[str, str], title: str, palette: Palette = LIGHT
) -> go.Figure:
    """The loss on both parts for every length of memory, from 0 letters on.

    Args:
        losses: (on the training part, on the validation part), nats a letter.
        names: of the two parts.
        title: of the horizontal axis.
    """
    figure = go.Figure()
    for part, (name, color) in enumerate(zip(names, (palette.training, palette.validation), strict=True)):
        figure.add_scatter(
            x=list(range(len(losses))),
            y=[both[part] for both in losses],
            name=plain(name),
            mode="lines+markers",
            line={"color": color, "width": 2.4},
            marker={"size": 7},
            hovertemplate="%{y:.2f}",
        )
    style(figure, palette, height=280)
    legend_above(figure).update_layout(hovermode="x unified")
    figure.update_xaxes(title_text=title, dtick=1, showgrid=False, fixedrange=True)
    figure.update_yaxes(title_text=_("loss, nats"), fixedrange=True, rangemode="tozero")
    return figure


def closing_curve(steps: Sequence[int], distances: Sequence[float], now: int, palette: Palette = LIGHT) -> go.Figure:
    """How far the learned table is from the counted one at each kept step, the one on view with a ring."""
    places = list(range(len(steps)))  # evenly spaced: the steps double, more or less
    figure = go.Figure()
    figure.add_scatter(
        x=places,
        y=distances,
        mode="lines+markers",
        line={"color": palette.training, "width": 2.4},
        marker={
            "size": [12 if step == now else 6 for step in steps],
            "color": [palette.surface if step == now else palette.training for step in steps],
            "line": {"color": palette.training, "width": 2.4},
        },
        hovertext=[
            _("step {step}: {share}", step=f"{step:,}", share=percent(share))
            for step, share in zip(steps, distances, strict=True)
        ],
        hoverinfo="text",
    )
    style(figure, palette, height=190)
    figure.update_xaxes(
        tickvals=places,
        ticktext=[f"{step:,}" for step in steps],
        title_text=_("step"),
        showgrid=False,
        fixedrange=True,
    )
    figure.update_yaxes(tickformat=".2~%", rangemode="tozero", fixedrange=True, nticks=4)
    return figure


def cross_entropy_bars(
    tokens: Sequence[str], probabilities: Sequence[float], uniform: float, labels: tuple[str, str],
    palette: Palette = LIGHT,
) -> go.Figure:  # fmt: skip
    """How surprising each token of a line was, with the mean of them and what guessing at random gets.

    Args:
        tokens: T tokens as they are shown, in order.
        probabilities: T; what the model gave each before it came.
        uniform: ln V, nats.
        labels: of the line at the mean and the one at `uniform`.
    """
    losses = [-math.log(max(p, 1e-12)) for p in probabilities]
    mean = sum(losses) / len(losses)
    figure = go.Figure(
        go.Bar(
            x=list(range(len(tokens))),
            y=losses,
            marker={"color": palette.validation, "cornerradius": 3},
            hovertext=[
                _(
                    "{token}: probability {share}, loss {loss} nats",
                    token=quoted(token),
                    share=percent(p),
                    loss=f"{loss:.2f}",
                )
                for token, p, loss in zip(tokens, probabilities, losses, strict=True)
            ],
            hoverinfo="text",
        )
    )
    style(figure, palette, height=280)
    figure.update_layout(bargap=0.25, margin={"t": 26})
    figure.update_xaxes(token_ticks(tokens, palette, 14 if len(tokens) <= 40 else 11))
    figure.update_yaxes(title_text=_("loss, nats"), rangemode="tozero", fixedrange=True)
    close = abs(mean - uniform) < 0.4
    for height, label, color, dash, above in (
        (mean, labels[0], palette.text, "solid", True),
        (uniform, labels[1], palette.lines, "dot", not close),
    ):
        figure.add_hline(y=height, line={"color": color, "width": 1.5, "dash": dash})
        figure.add_annotation(
            x=1, xref="paper", y=height, yshift=9 if above else -9, xanchor="right", showarrow=False,
            text=f"{plain(label)} {height:.2f}", font={"color": color, "size": 12}, bgcolor=palette.surface,
        )  # fmt: skip
    return figure


def cross_entropy_curve(probabilities: Mapping[str, float], palette: Palette = LIGHT) -> go.Figure:
    """-ln p for every probability, with some of them named.

    Args:
        probabilities: probabilities by their labels.
    """
    p = np.linspace(0.004, 1, 250)
    figure = go.Figure(
        go.Scatter(
            x=p, y=-np.log(p), mode="lines", line={"color": palette.training, "width": 2.4},
            hovertemplate=_("probability {share}: loss {loss}", share="%{x:.2f}", loss="%{y:.2f}")
            + "<extra></extra>",
        )
    )  # fmt: skip
    figure.add_scatter(
        x=list(probabilities.values()),
        y=[-math.log(share) for share in probabilities.values()],
        mode="markers+text",
        text=[plain(label) for label in probabilities],
        textposition="top right",
        textfont={"color": palette.text, "size": 13},
        marker={"color": palette.validation, "size": 9},
        hoverinfo="skip",
        cliponaxis=False,
    )
    style(figure, palette, height=260)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text=_("probability of what came"), fixedrange=True, range=[-0.02, 1.1], showgrid=False)
    figure.update_yaxes(title_text=_("loss, nats"), fixedrange=True, range=[0, 5.8])
    return figure


def change_heatmap(
    change: np.ndarray, rows: Sequence[str], columns: Sequence[str], hover_text: str, palette: Palette = LIGHT
) -> go.Figure:
    """How some steps have changed some rows of the table: orange has become likelier, blue less likely.

    Args:
        change: (R, C), after minus before.
        rows, columns: R and C tokens, as they are.
        hover_text: said of each cell; `{row}`, `{column}` and `{change}` are filled in.
    """

    def words(row: int, column: int, value: float) -> str:
        return hover_text.format(
            row=quoted(visible(rows[row])), column=quoted(visible(columns[column])),
            change=decimal(value * 100, 1, plus=True),
        )  # fmt: skip

    figure = signed_heatmap(change, max(1e-4, float(np.abs(change).max())), words, palette, gap=1)
    token_axes(figure, list(columns), palette, height=110 + 24 * len(rows))
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[plain(visible(row)) + " " for row in rows],
        range=[len(rows) - 0.5, -0.5], fixedrange=True,
    )  # fmt: skip
    figure.update_xaxes(fixedrange=True)
    return figure


def before_and_after(
    before: np.ndarray, after: np.ndarray, tokens: Sequence[str], names: tuple[str, str], palette: Palette = LIGHT
) -> go.Figure:
    """One row of the table before and after: the tokens that changed most, likeliest first.

    Args:
        before, after: (V,) probabilities.
        tokens: V tokens as they are shown.
        names: of the two.
    """
    chosen = np.argsort(-np.abs(after - before), kind="stable")[:12]
    chosen = chosen[np.argsort(-after[chosen], kind="stable")]
    figure = go.Figure()
    for values, name, color in ((before, names[0], palette.lines), (after, names[1], palette.training)):
        figure.add_bar(
            x=list(range(len(chosen))), y=values[chosen], name=plain(name), marker={"color": color, "cornerradius": 3},
            hovertext=[f"{quoted(tokens[i])} {plain(name)}: {percent(float(values[i]))}" for i in chosen],
            hoverinfo="text",
        )  # fmt: skip
    style(figure, palette, height=240)
    legend_above(figure).update_layout(bargap=0.3)
    figure.update_xaxes(token_ticks([tokens[i] for i in chosen], palette, 14))
    figure.update_yaxes(tickformat=".2~%", fixedrange=True, nticks=4)
    return figure
