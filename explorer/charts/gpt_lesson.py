"""The charts of the GPT lesson."""

import math
from collections.abc import Mapping, Sequence

from plotly import graph_objects as go

from core.formatting import decimal
from explorer.charts.bars import horizontal_bars
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import percent, plain, quoted
from explorer.charts.theme import legend_above, style, token_ticks
from explorer.i18n.language import _


def ladder_chart(
    names: Sequence[str],
    losses: Sequence[float],
    counted: Sequence[bool],
    beside: Sequence[bool],
    expected: Sequence[str] = (),
    palette: Palette = LIGHT,
) -> go.Figure:
    """Every rung's loss as a dot, and a bar for how far it lies below the rung that it stands on.

    Args:
        names, losses: of the rungs reached, from the top; losses in nats a token.
        counted: whether the rung was counted instead of trained.
        beside: whether it was tried out beside the ladder: drawn hollow, and the next one stands on the one before.
        expected: names of the rungs still to come, which have their place already.
    """
    figure = go.Figure()
    low = min(1.75, math.floor((min(losses) - 0.1) * 4) / 4)
    standing, high = losses[0], losses[0] + 0.55
    for place, (name, loss) in enumerate(zip(names, losses, strict=True)):
        color = palette.lines if counted[place] else palette.validation
        drop = loss - standing
        change = f" ({decimal(drop, plus=True)})" if place else ""
        words = _(
            "{name}: {loss} nats, like choosing among {choices} letters",
            name=plain(name), loss=f"{loss:.3f}", choices=f"{math.exp(loss):.1f}",
        )  # fmt: skip
        figure.add_bar(
            x=[drop], base=[standing], y=[place], orientation="h", width=0.5, hoverinfo="text", hovertext=[words],
            marker={"color": color, "opacity": 0.35 if not beside[place] else 0.15, "cornerradius": 2},
        )  # fmt: skip
        figure.add_scatter(
            x=[loss], y=[place], mode="markers", hovertext=[words], hoverinfo="text", cliponaxis=False,
            marker={
                "color": palette.surface if beside[place] else color, "size": 11,
                "line": {"color": color, "width": 2},
            },
        )  # fmt: skip
        left = loss > low + 0.45 * (high - low)  # no room for words to the right of it, on a phone
        figure.add_annotation(
            x=min(loss, standing) if left else max(loss, standing), y=place, showarrow=False,
            xanchor="right" if left else "left", xshift=-10 if left else 10,
            text=f"<b>{loss:.2f}</b>{change}", font={"color": palette.text, "size": 13},
        )  # fmt: skip
        if not beside[place]:
            standing = loss
    labels = [*names, *expected]
    style(figure, palette, height=60 + 34 * len(labels))
    figure.update_layout(showlegend=False, barmode="overlay", margin={"l": 8, "r": 12, "t": 8, "b": 8})
    figure.update_xaxes(title_text=_("validation loss (nats/token)"), range=[low, high],
                        fixedrange=True)  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(labels))), ticktext=[f"{plain(label)}  " for label in labels], fixedrange=True,
        range=[len(labels) - 0.4, -0.6], showgrid=False, tickfont={"color": palette.text, "size": 13},
    )  # fmt: skip
    return figure


def drop_bars(drops: Mapping[str, float], chosen: str, palette: Palette = LIGHT) -> go.Figure:
    """What each part took off the loss, in nats, the largest on top; the one chosen is pale."""
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


def curves(
    named: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    colors: Mapping[str, str],
    titles: tuple[str, str],
    palette: Palette = LIGHT,
    *,
    height: int = 280,
) -> go.Figure:
    """Several curves, each with its name in a line above them.

    Args:
        named: what stands along both axes, by the curve's name.
        colors: by the curve's name.
        titles: of the two axes.
    """
    figure = go.Figure()
    for name, (x, y) in named.items():
        figure.add_scatter(
            x=list(x), y=list(y), name=plain(name), mode="lines", hovertemplate="%{y:.2f}",
            line={"color": colors[name], "width": 2.4},
        )  # fmt: skip
    style(figure, palette, height=height)
    legend_above(figure).update_layout(hovermode="x unified")
    figure.update_xaxes(title_text=titles[0], showgrid=False, fixedrange=True)
    figure.update_yaxes(title_text=titles[1], fixedrange=True, rangemode="tozero")
    return figure


def product_bars(products: Sequence[float], palette: Palette = LIGHT) -> go.Figure:
    """What each number of a query, times its partner in the key, adds to their score; orange for, blue against."""
    places = list(range(1, len(products) + 1))
    figure = go.Figure(
        go.Bar(
            x=places, y=list(products), hoverinfo="text",
            hovertext=[
                _("number {place}: {value}", place=place, value=decimal(value, plus=True))
                for place, value in zip(places, products, strict=True)
            ],
            marker={
                "color": [palette.diverging[-2 if value >= 0 else 1] for value in products],
                "cornerradius": 3,
            },
        )
    )  # fmt: skip
    style(figure, palette, height=190)
    figure.update_xaxes(title_text=_("component of query and key"), dtick=1, showgrid=False,
                        fixedrange=True)  # fmt: skip
    figure.update_yaxes(fixedrange=True, zeroline=True, zerolinecolor=palette.lines, nticks=5)
    figure.update_layout(bargap=0.25)
    return figure


def share_pairs(
    tokens: Sequence[str],
    named: Mapping[str, Sequence[float]],
    colors: Mapping[str, str],
    palette: Palette = LIGHT,
    *,
    height: int = 260,
) -> go.Figure:
    """Shares of the same tokens side by side under several rules, each rule with a colour of its own.

    Args:
        tokens: as they are shown, T of them; the same one may stand twice.
        named: T shares by the rule's name.
    """
    places = list(range(len(tokens)))
    figure = go.Figure()
    for name, shares in named.items():
        figure.add_bar(
            x=places, y=list(shares), name=plain(name), marker={"color": colors[name], "cornerradius": 3},
            hoverinfo="text",
            hovertext=[f"{quoted(t)}, {plain(name)}: {percent(s)}" for t, s in zip(tokens, shares, strict=True)],
        )  # fmt: skip
    style(figure, palette, height=height)
    legend_above(figure).update_layout(bargap=0.25)
    figure.update_xaxes(token_ticks(tokens, palette, 14))
    figure.update_yaxes(tickformat=".2~%", fixedrange=True, nticks=5, rangemode="tozero")
    return figure
