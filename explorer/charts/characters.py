"""What a text is made of."""

from collections.abc import Sequence

from plotly import graph_objects as go

from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import percent, plain, quoted
from explorer.charts.theme import MONO, style
from explorer.i18n.language import _


def character_bars(
    tokens: Sequence[str], kinds: Sequence[str], counts: Sequence[int], total: int, palette: Palette = LIGHT
) -> go.Figure:
    """How often each character occurs, coloured by its kind.

    Args:
        tokens: characters as they are shown, most frequent first.
        kinds: of each, from `core.text.token_display.KINDS`.
        counts: how often each occurs.
        total: characters in the whole text, those not shown here included.
    """
    figure = go.Figure()
    for kind in dict.fromkeys(kinds):
        places = [index for index, own in enumerate(kinds) if own == kind]
        figure.add_bar(
            x=places,
            y=[counts[index] / total for index in places],
            name=_(kind),
            width=0.78,
            marker={"color": palette.kinds[kind], "cornerradius": 3},
            hovertext=[
                _(
                    "{token} is {share} of the text, {count} times",
                    token=quoted(tokens[index]),
                    share=percent(counts[index] / total),
                    count=f"{counts[index]:,}",
                )
                for index in places
            ],
            hoverinfo="text",
        )
    style(figure, palette, height=300)
    figure.update_layout(
        barmode="overlay",
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "itemsizing": "constant", "entrywidth": 0},
    )
    figure.update_xaxes(
        tickvals=list(range(len(tokens))),
        ticktext=[plain(token) for token in tokens],
        tickfont={"family": MONO, "size": 13, "color": palette.text},
        tickangle=0,
        showgrid=False,
        fixedrange=True,
        range=[-0.7, len(tokens) - 0.3],
    )
    figure.update_yaxes(tickformat=".2~%", fixedrange=True, nticks=5)
    return figure
