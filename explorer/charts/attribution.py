"""Which parts of a model speak for a token, and which against it."""

from collections.abc import Sequence

from plotly import graph_objects as go

from core.formatting import decimal
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.theme import style
from explorer.i18n.language import _

MOST_PARTS = 28  # bars; of more, the weakest are drawn as one


def signed(value: float) -> str:
    """+2.12 or −0.42."""
    return decimal(value, plus=True)


def strongest(shares: Sequence[tuple[str, float]], count: int = MOST_PARTS) -> list[tuple[str, float]]:
    """The strongest shares in the order they came in, and the sum of all others as the last."""
    if len(shares) <= count:
        return list(shares)
    kept = sorted(range(len(shares)), key=lambda index: -abs(shares[index][1]))[: count - 1]
    rest = sum(share for index, (_unused, share) in enumerate(shares) if index not in kept)
    return [*(shares[index] for index in sorted(kept)), (_("{count} others", count=len(shares) - len(kept)), rest)]


def attribution_bars(shares: Sequence[tuple[str, float]], palette: Palette = LIGHT) -> go.Figure:
    """Signed bars from the bottom of the model up, and their sum as the last bar.

    Args:
        shares: each part in words with its share of a logit, as `strongest` gives them.
    """
    total = sum(share for _unused, share in shares)
    rows = [*shares, (_("together"), total)]
    against, in_favour = palette.diverging[1], palette.diverging[-2]
    colors = [in_favour if share >= 0 else against for _unused, share in shares] + [palette.text]
    values = [share for _unused, share in rows]
    figure = go.Figure(
        go.Bar(
            x=values,
            y=list(range(len(rows))),
            orientation="h",
            text=[signed(value) for value in values],
            textposition="outside",
            textfont={"color": palette.text, "size": 12},
            cliponaxis=False,
            marker={"color": colors, "cornerradius": 3},
            hovertext=[f"{words}: {signed(value)}" for words, value in rows],
            hoverinfo="text",
        )
    )
    style(figure, palette, height=30 + 21 * len(rows))
    low, high = min([0.0, *values]), max([0.0, *values])
    room = 0.14 * (high - low or 1.0)
    figure.update_xaxes(
        showticklabels=False, showgrid=False, zeroline=True, zerolinecolor=palette.lines, fixedrange=True,
        range=[low - room * (low < 0) - 0.02 * (high - low), high + room],
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=[f"{words} " for words, _ in rows], range=[len(rows) - 0.5, -0.5],
        showgrid=False, ticks="", fixedrange=True, tickfont={"color": palette.text, "size": 12},
    )  # fmt: skip
    figure.update_layout(bargap=0.25)
    return figure
