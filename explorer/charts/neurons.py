"""What a neuron says when it fires."""

from collections.abc import Sequence

from plotly import graph_objects as go

from core.formatting import decimal
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import plain, quoted
from explorer.charts.theme import MONO, style
from explorer.i18n.language import _


def writing_bars(
    raised: Sequence[tuple[str, float]], lowered: Sequence[tuple[str, float]], palette: Palette = LIGHT
) -> go.Figure:
    """The tokens that a neuron makes likelier, the most on top, and below them those that it makes less likely.

    Args:
        raised, lowered: tokens as they are shown, with what is added to their logit.
    """
    rows = [*raised, *reversed(lowered)]
    figure = go.Figure(
        go.Bar(
            x=[value for _unused, value in rows],
            y=list(range(len(rows))),
            orientation="h",
            marker={
                "color": [palette.diverging[-2] if value > 0 else palette.diverging[1] for _unused, value in rows],
                "cornerradius": 3,
            },
            text=[decimal(value, plus=True) for _unused, value in rows],
            textposition="outside",
            textfont={"color": palette.text, "size": 12},
            cliponaxis=False,
            hovertext=[
                _("{token}: its logit moves by {change}", token=quoted(token), change=decimal(value, 3, plus=True))
                for token, value in rows
            ],
            hoverinfo="text",
        )
    )
    style(figure, palette, height=34 + 23 * len(rows))
    most = max([0.01, *(abs(value) for _unused, value in rows)])
    figure.update_xaxes(visible=False, fixedrange=True, range=[-1.5 * most, 1.5 * most])
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=[f"{plain(token)} " for token, _unused in rows],
        tickfont={"family": MONO, "size": 13, "color": palette.text},
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
        fixedrange=True,
    )
    figure.update_layout(bargap=0.3)
    return figure
