"""Which tokens a model expects next."""

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from core.formatting import decimal
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import percent, plain, quoted
from explorer.charts.theme import MONO, style
from explorer.i18n.language import _


def prediction_bars(
    probabilities: np.ndarray, tokens: Sequence[str], kinds: Sequence[str], palette: Palette = LIGHT, *, count: int = 12
) -> go.Figure:
    """The likeliest next tokens, best on top, each in the colour of its kind; the last bar is all others together.

    Args:
        probabilities: (V,), summing to 1.
        tokens, kinds: V tokens as they are shown, and the kind of each.
        count: how many to draw before the rest is summed up.
    """
    best = np.argsort(-probabilities, kind="stable")[:count]
    shares = [float(probabilities[index]) for index in best]
    labels = [plain(tokens[index]) for index in best]
    colors = [palette.kinds[kinds[index]] for index in best]
    words = [
        _("{token} comes next with {share}", token=quoted(tokens[index]), share=percent(probabilities[index]))
        for index in best
    ]
    others = len(probabilities) - len(best)
    if others > 0:
        rest = max(0.0, 1.0 - sum(shares))
        shares.append(rest)
        labels.append(_("{count} others", count=others))
        colors.append(palette.grid)
        words.append(_("the {count} other tokens together: {share}", count=others, share=percent(rest)))
    return _bars(shares, labels, colors, words, [percent(share) for share in shares], palette)


def neighbour_bars(
    tokens: Sequence[str], kinds: Sequence[str], cosines: Sequence[float], chosen: str, palette: Palette = LIGHT
) -> go.Figure:
    """Tokens whose vectors point most nearly the same way as the chosen one's, by cosine (1 is the same direction)."""
    return _bars(
        list(cosines),
        [plain(token) for token in tokens],
        [palette.kinds[kind] for kind in kinds],
        [
            _(
                "{token} and {other} have a cosine of {cosine}",
                token=quoted(token),
                other=quoted(chosen),
                cosine=decimal(cosine),
            )
            for token, cosine in zip(tokens, cosines, strict=True)
        ],
        [decimal(cosine) for cosine in cosines],
        palette,
    )


def _bars(
    values: list[float], labels: list[str], colors: list[str], hover: list[str], written: list[str], palette: Palette
) -> go.Figure:
    figure = go.Figure(
        go.Bar(
            x=values,
            y=list(range(len(values))),
            orientation="h",
            text=written,
            textposition="outside",
            textfont={"color": palette.text, "size": 13},
            cliponaxis=False,
            marker={"color": colors, "cornerradius": 3},
            hovertext=hover,
            hoverinfo="text",
        )
    )
    style(figure, palette, height=34 + 27 * len(values))
    low, high = min([0.0, *values]), max([0.01, *values])
    figure.update_xaxes(visible=False, fixedrange=True, range=[low * 1.2, high * 1.2])
    figure.update_yaxes(
        tickvals=list(range(len(labels))),
        ticktext=[f"{label} " for label in labels],
        tickfont={"family": MONO, "size": 14, "color": palette.text},
        range=[len(labels) - 0.5, -0.5],
        showgrid=False,
        fixedrange=True,
        ticks="",
    )
    figure.update_layout(bargap=0.3)
    return figure
