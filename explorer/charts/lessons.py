"""The charts of the lessons."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from plotly import graph_objects as go

from core.formatting import decimal
from core.lessons.quick_train import RungLoss
from core.palette import LIGHT, Palette
from core.text.token_display import visible
from explorer.charts.bars import horizontal_bars
from explorer.charts.heatmaps import signed_heatmap, token_axes
from explorer.charts.loss import NATS, UNITS, LossUnit
from explorer.charts.text_format import percent, plain, quoted_for_plotly
from explorer.charts.theme import legend_above, line, row_ticks, side_note, style, token_ticks
from explorer.i18n.language import _

_FEW = 40  # curves with fewer points have markers


def share_pairs(
    tokens: Sequence[str],
    shares: Mapping[str, Sequence[float]],
    colors: Sequence[str],
    palette: Palette = LIGHT,
    *,
    height: int = 260,
) -> go.Figure:
    """Draw the shares of T tokens (as displayed) under several rules side by side, with one color per rule."""
    figure = go.Figure()
    for (name, values), color in zip(shares.items(), colors, strict=True):
        words = [f"{quoted_for_plotly(t)}, {plain(name)}: {percent(s)}" for t, s in zip(tokens, values, strict=True)]
        figure.add_trace(_bars(values, words, color, name))
    style(figure, palette, height=height)
    legend_above(figure).update_layout(bargap=0.25)
    figure.update_xaxes(token_ticks(tokens, palette, 14))
    return figure.update_yaxes(tickformat=".2~%", nticks=5, rangemode="tozero")


def _bars(values: Sequence[float], words: Sequence[str], color: str | Sequence[str], name: str = "") -> go.Bar:
    look = {"marker": {"color": color, "cornerradius": 3}, "hovertext": words, "hoverinfo": "text"}
    return go.Bar(x=list(range(len(values))), y=list(values), name=plain(name), **look)


def before_and_after(
    before: np.ndarray, after: np.ndarray, tokens: Sequence[str], names: tuple[str, str], palette: Palette = LIGHT
) -> go.Figure:
    """Draw one row of the table (V,) before and after: the tokens that changed most, likeliest first."""
    chosen = np.argsort(-np.abs(after - before), kind="stable")[:12]
    chosen = chosen[np.argsort(-after[chosen], kind="stable")]
    shares = {names[0]: before[chosen].tolist(), names[1]: after[chosen].tolist()}
    colors = palette.lines, palette.training
    return share_pairs([tokens[id] for id in chosen], shares, colors, palette, height=240)


def curves(
    x: Sequence[float], lines: Mapping[str, Sequence[float]], colors: Sequence[str], titles: tuple[str, str],
    palette: Palette = LIGHT, *, mode: str = "lines", hover: str = ".2f",
) -> go.Figure:  # fmt: skip
    """Draw several curves over the same x, with a legend above them."""
    figure = go.Figure()
    for (name, y), color in zip(lines.items(), colors, strict=False):
        figure.add_trace(line(list(x), list(y), color, 2.4, name, mode=mode, hovertemplate=f"%{{y:{hover}}}"))
    style(figure, palette, height=280)
    legend_above(figure).update_layout(hovermode="x unified")
    figure.update_xaxes(title_text=titles[0])
    return figure.update_yaxes(title_text=titles[1], rangemode="tozero")


Curve = tuple[Sequence[float], Sequence[float]]  # x and y


def course_with_shares(
    losses: Mapping[str, Curve], shares: Mapping[str, Curve], colors: Sequence[str], titles: tuple[str, str, str],
    now: int, palette: Palette = LIGHT,
) -> go.Figure:  # fmt: skip
    """Draw losses (may be empty) and shares on separate axes over the same steps, with a line at the current step.

    `titles` are those of the axes: steps, losses, shares.
    """
    figure, right = go.Figure(), {"yaxis": "y2"} if losses else {}
    for (name, (x, y)), color in zip((losses | shares).items(), colors, strict=True):
        more = {"mode": "lines+markers"} if len(x) < _FEW else {}
        more |= right | {"hovertemplate": "%{y:.0%}"} if name in shares else {"hovertemplate": "%{y:.2f}"}
        figure.add_trace(line(list(x), list(y), color, 2.4, name, **more))
    style(figure, palette, height=300)
    legend_above(figure).update_layout(hovermode="x unified", hoversubplots="axis")
    of_shares = {"title_text": titles[2], "tickformat": ".0%", "range": [0, 1.03]}
    if losses:
        ticks = {"tickfont": {"color": palette.muted, "size": 12}, "title_font": {"color": palette.muted, "size": 12}}
        right_axis = {"overlaying": "y", "side": "right", "showgrid": False, "automargin": True, "tickmode": "auto"}
        right_axis["zeroline"] = False
        figure.update_layout(yaxis2=of_shares | right_axis | ticks)
        figure.update_layout(yaxis={"title_text": titles[1], "rangemode": "tozero"})
    else:
        figure.update_layout(yaxis=of_shares)
    figure.add_vline(x=now, line={"color": palette.muted, "width": 1.5, "dash": "dot"})
    last = max(x[-1] for x, _y in (losses | shares).values())
    return figure.update_xaxes(title_text=titles[0], range=[-0.01 * last, 1.01 * last], tickformat=",d")


def product_bars(products: Sequence[float], palette: Palette = LIGHT) -> go.Figure:
    """Draw what each product of a query's and a key's component adds to the score: orange above zero, blue below."""
    words = [
        _("number {place}: {value}", place=place, value=decimal(value, plus=True))
        for place, value in enumerate(products, start=1)
    ]
    figure = go.Figure(_bars(products, words, [palette.diverging[-2 if value >= 0 else 1] for value in products]))
    style(figure, palette, height=190).update_layout(bargap=0.25)
    places = list(range(len(products)))
    ticks = [str(place + 1) for place in places]
    figure.update_xaxes(title_text=_("component of query and key"), tickvals=places, ticktext=ticks)
    return figure.update_yaxes(zeroline=True, zerolinecolor=palette.lines, nticks=5)


def cross_entropy_bars(
    tokens: Sequence[str], probabilities: Sequence[float], uniform: float, labels: tuple[str, str],
    palette: Palette = LIGHT,
) -> go.Figure:  # fmt: skip
    """Draw the loss of T tokens with these probabilities (T,), with lines at the mean and at uniform guessing, ln V."""
    losses = [-math.log(max(p, 1e-12)) for p in probabilities]
    mean = sum(losses) / len(losses)
    words = [
        _(
            "{token}: probability {share}, loss {loss} nats",
            token=quoted_for_plotly(token),
            share=percent(p),
            loss=f"{loss:.2f}",
        )
        for token, p, loss in zip(tokens, probabilities, losses, strict=True)
    ]
    figure = go.Figure(_bars(losses, words, palette.validation))
    style(figure, palette, height=280).update_layout(bargap=0.25, margin={"t": 26})
    figure.update_xaxes(token_ticks(tokens, palette, 14 if len(tokens) <= 40 else 11))
    figure.update_yaxes(title_text=_("loss, nats"), rangemode="tozero")
    close = abs(mean - uniform) < 0.4
    for height, label, color, dash, above in (
        (mean, labels[0], palette.text, "solid", True),
        (uniform, labels[1], palette.lines, "dot", not close),
    ):
        figure.add_hline(
            y=height, line={"color": color, "width": 1.5, "dash": dash},
            annotation={
                "text": f"{plain(label)} {height:.2f}", "yshift": 9 if above else -9, "yanchor": "middle",
                "font": {"color": color, "size": 12}, "bgcolor": palette.surface,
            },
        )  # fmt: skip
    return figure


def cross_entropy_curve(probabilities: Mapping[str, float], palette: Palette = LIGHT) -> go.Figure:
    """Draw -ln p for every probability, with some points labeled."""
    p = np.linspace(0.004, 1, 250)
    hover = _("probability {share}: loss {loss}", share="%{x:.2f}", loss="%{y:.2f}")
    figure = go.Figure(line(p, -np.log(p), palette.training, 2.4, hovertemplate=f"{hover}<extra></extra>"))
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
    style(figure, palette, height=260).update_layout(showlegend=False)
    figure.update_xaxes(title_text=_("probability of what came"), range=[-0.02, 1.1])
    return figure.update_yaxes(title_text=_("loss, nats"), range=[0, 5.8])


def closing_curve(steps: Sequence[int], distances: Sequence[float], now: int, palette: Palette = LIGHT) -> go.Figure:
    """Draw how far the learned table is from the counted one at each saved step, with a ring at the current one."""
    places = list(range(len(steps)))  # evenly spaced: the steps double, more or less
    words = [
        _("step {step}: {share}", step=f"{step:,}", share=percent(share))
        for step, share in zip(steps, distances, strict=True)
    ]
    marker = {
        "size": [12 if step == now else 6 for step in steps],
        "color": [palette.surface if step == now else palette.training for step in steps],
        "line": {"color": palette.training, "width": 2.4},
    }
    more = {"mode": "lines+markers", "marker": marker, "hovertext": words, "hoverinfo": "text"}
    figure = style(go.Figure(line(places, distances, palette.training, 2.4, **more)), palette, height=190)
    figure.update_xaxes(tickvals=places, ticktext=[f"{step:,}" for step in steps], title_text=_("step"))
    return figure.update_yaxes(tickformat=".2~%", rangemode="tozero", nticks=4)


def two_losses(
    named: Mapping[str, float], unigram: float, palette: Palette = LIGHT, unit: LossUnit = NATS
) -> go.Figure:
    """Draw the losses on training and validation text as named bars, on a scale that fits the unigram loss."""
    shown, words = {name: unit.of(loss) for name, loss in named.items()}, _(UNITS[unit.name])
    return horizontal_bars(
        list(shown.values()),
        list(map(plain, named)),
        [palette.training, palette.validation],
        [f"{loss:.2f}" for loss in shown.values()],
        palette,
        hover=[f"{plain(name)}: {loss:.3f} {words}" for name, loss in shown.items()],
        span=(0, unit.of(unigram) * 1.4),
        row=43,
    )


def change_heatmap(
    change: np.ndarray, rows: Sequence[str], columns: Sequence[str], hover_text: str, palette: Palette = LIGHT
) -> go.Figure:
    """Draw how rows of the table changed (R, C), orange likelier; {row}, {column}, {change} fill `hover_text`."""

    def words(row: int, column: int, value: float) -> str:
        return hover_text.format(
            row=quoted_for_plotly(visible(rows[row])), column=quoted_for_plotly(visible(columns[column])),
            change=decimal(value * 100, 1, plus=True),
        )  # fmt: skip

    figure = signed_heatmap(change, max(1e-4, float(np.abs(change).max())), words, palette, gap=1)
    token_axes(figure, list(columns), palette, height=110 + 24 * len(rows))
    figure.update_yaxes(row_ticks([plain(visible(row)) for row in rows], fixedrange=True))
    return figure.update_xaxes(fixedrange=True)


def ladder_chart(
    names: Sequence[str], rungs: Sequence[RungLoss], expected: Sequence[str] = (), palette: Palette = LIGHT,
    unit: LossUnit = NATS,
) -> go.Figure:  # fmt: skip
    """Draw each rung's loss as a dot, with a bar from the last required rung; `expected` names the rungs to come."""
    figure = go.Figure()
    losses = [unit.of(rung.loss) for rung in rungs]
    low = min(1.75, math.floor((min(losses) - 0.1) * 4) / 4)
    standing, high = losses[0], low + 1.05 * (losses[0] - low)
    for place, (name, rung, loss) in enumerate(zip(names, rungs, losses, strict=True)):
        color = palette.validation if rung.trained else palette.lines
        drop = loss - standing
        change = f" ({decimal(drop, plus=True)})" if place else ""
        words = _(
            "{name}: {loss}, as uncertain as a uniform choice among {choices} letters",
            name=plain(name), loss=f"{loss:.3f} {_(UNITS[unit.name])}", choices=f"{math.exp(rung.loss):.1f}",
        )  # fmt: skip
        figure.add_bar(
            x=[drop], base=[standing], y=[place], orientation="h", width=0.5, hoverinfo="text", hovertext=[words],
            marker={"color": color, "opacity": 0.15 if rung.optional else 0.35, "cornerradius": 2},
        )  # fmt: skip
        figure.add_scatter(
            x=[loss], y=[place], mode="markers", hovertext=[words], hoverinfo="text", cliponaxis=False,
            marker={
                "color": palette.surface if rung.optional else color, "size": 11,
                "line": {"color": color, "width": 2},
            },
        )  # fmt: skip
        figure.add_annotation(side_note(place, f"<b>{loss:.2f}</b>{change}", palette.text))
        if not rung.optional:
            standing = loss
    labels = [*names, *expected]
    style(figure, palette, height=60 + 34 * len(labels))
    figure.update_layout(showlegend=False, barmode="overlay", margin={"r": 104})
    figure.update_xaxes(title_text=unit.title(_("validation loss")), range=[low, high], showgrid=True)
    return figure.update_yaxes(row_ticks(list(map(plain, labels)), tickfont={"color": palette.text, "size": 13}))


def drop_bars(drops: Mapping[str, float], chosen: str, palette: Palette = LIGHT) -> go.Figure:
    """Draw how much each part lowered the loss, in nats, largest first; the chosen one is pale."""
    order = sorted(drops, key=drops.__getitem__, reverse=True)
    figure = horizontal_bars(
        [drops[name] for name in order],
        list(map(plain, order)),
        [palette.validation] * len(order),
        [decimal(-drops[name], plus=True) for name in order],
        palette,
        span=(min(0.0, *drops.values()) * 1.3, 1.3 * max([0.05, *drops.values()])),
        row=30,
    )
    return figure.update_traces(marker_opacity=[0.4 if name == chosen else 1.0 for name in order])
