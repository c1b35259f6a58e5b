"""Directions, places and tables: what else can be drawn of a model's vectors."""

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from core.formatting import decimal
from core.text.token_display import visible
from explorer.charts.attention import token_axes
from explorer.charts.embeddings import embedding_map
from explorer.charts.palette import LIGHT, Palette, colorscale
from explorer.charts.text_format import percent, plain, quoted
from explorer.charts.theme import key_below, style
from explorer.i18n.language import _


def axes_map(
    points: np.ndarray,
    tokens: Sequence[str],
    kinds: Sequence[str],
    names: Sequence[tuple[str, str]],
    palette: Palette = LIGHT,
) -> go.Figure:
    """Tokens along two directions of one's own; 0 is the mean of the first group, 1 that of the second.

    Args:
        points: (V, 2).
        names: of the groups at either end, for the horizontal and for the vertical axis.
    """
    figure = embedding_map(points, tokens, kinds, palette)
    (left, right), (bottom, top) = [[plain(short(name)) for name in pair] for pair in names]
    common = {"showticklabels": True, "tickvals": [0, 1], "showgrid": True, "constrain": None}
    figure.update_xaxes(common, ticktext=[left, right], gridcolor=palette.lines)
    figure.update_yaxes(common, ticktext=[bottom, top], gridcolor=palette.lines, scaleanchor=None)
    return figure


def cosine_heatmap(cosines: np.ndarray, places: Sequence[int], palette: Palette = LIGHT) -> go.Figure:
    """How alike any two places of the context are.

    Args:
        cosines: (N, N), from -1 to 1.
        places: which N places, counted from 1.
    """
    figure = go.Figure(
        go.Heatmap(
            z=cosines,
            x=list(places),
            y=list(places),
            zmin=-1,
            zmax=1,
            colorscale=colorscale(palette.diverging),
            customdata=[[decimal(cosine) for cosine in row] for row in cosines.tolist()],
            hovertemplate=_(
                "places {one} and {other}: cosine {cosine}", one="%{y}", other="%{x}", cosine="%{customdata}"
            )
            + "<extra></extra>",
            colorbar={"thickness": 8, "outlinewidth": 0, "tickfont": {"color": palette.muted, "size": 11}, "nticks": 5},
        )
    )
    style(figure, palette, height=420)
    figure.update_xaxes(showgrid=False, side="top", constrain="domain", fixedrange=True)
    figure.update_yaxes(showgrid=False, autorange="reversed", scaleanchor="x", constrain="domain", fixedrange=True)
    return figure


def difference_heatmap(
    learned: np.ndarray, counted: np.ndarray, tokens: Sequence[str], palette: Palette = LIGHT
) -> go.Figure:
    """How a learned table (V, V) differs from the counted one: what is learned too often is orange, too seldom blue."""
    difference = learned - counted
    most = max(0.01, float(np.quantile(np.abs(difference), 0.998)))
    shown = [visible(token) for token in tokens]
    words = [
        [
            _(
                "after {first} comes {second}: learned {learned}, counted {counted}",
                first=quoted(first),
                second=quoted(second),
                learned=percent(a),
                counted=percent(b),
            )
            for second, a, b in zip(shown, own, true, strict=True)
        ]
        for first, own, true in zip(shown, learned.tolist(), counted.tolist(), strict=True)
    ]
    figure = go.Figure(
        go.Heatmap(
            z=difference,
            zmin=-most,
            zmax=most,
            text=words,
            hoverinfo="text",
            colorscale=colorscale(palette.diverging),
            xgap=0.5,
            ygap=0.5,
            colorbar=key_below(palette, tickformat="+.2~%", nticks=5),
        )
    )  # fmt: skip
    return token_axes(figure, list(tokens), palette, height=820)


def short(letters: str) -> str:
    """The letters of a group, or where they are many, the first few and the last."""
    return letters if len(letters) <= 9 else f"{letters[:5]}…{letters[-1]}"
