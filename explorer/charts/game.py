"""A game on the loss chart: everybody who played the passage is a point among the curves."""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

from plotly import graph_objects as go

from explorer.charts.csv_export import Columns
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import plain
from explorer.i18n.language import _

BIT = log(2)  # nats


class Player(NamedTuple):
    """One who played the passage."""

    name: str
    bits: float  # a character
    step: int  # where on the step axis the point stands
    color: str
    symbol: str  # of plotly's markers
    lower: float | None = None  # bits, where only bounds are known
    upper: float | None = None


def with_players(figure: go.Figure, players: Sequence[Player], steps: int, palette: Palette = LIGHT) -> go.Figure:
    """The loss chart with a point for each player; returns the same figure.

    Points at the end of the axis stand a little apart from each other, so that none hides another.
    """
    figure.data[3].visible = False  # the last validation loss in figures: here the players have the word
    at_the_end = [number for number, player in enumerate(players) if player.step >= steps]
    for number, player in enumerate(players):
        apart = at_the_end.index(number) - len(at_the_end) + 1 if number in at_the_end else 0
        bar = None
        if player.lower is not None and player.upper is not None:
            bar = {
                "array": [(player.upper - player.bits) * BIT],
                "arrayminus": [(player.bits - player.lower) * BIT],
                "color": player.color,
                "thickness": 2,
                "width": 7,
            }
        figure.add_scatter(
            x=[player.step + 0.025 * steps * apart],
            y=[player.bits * BIT],
            error_y=bar,
            mode="markers",
            name=plain(
                _(
                    "{name}: {bits} bits = {nats} nats",
                    name=player.name, bits=f"{player.bits:.2f}", nats=f"{player.bits * BIT:.2f}",
                )
            ),
            marker={
                "color": player.color, "size": 13, "symbol": player.symbol,
                "line": {"color": palette.surface, "width": 1.5},
            },
            hovertemplate=_("{loss} nats", loss="%{y:.2f}") + f"<extra>{plain(player.name)}</extra>",
            showlegend=True,
            cliponaxis=False,
        )  # fmt: skip
    if steps <= 1:  # no training is on the chart, so there are no steps to count
        figure.update_xaxes(showticklabels=False, title_text="")
    drawn = [bits for player in players for bits in (player.bits, player.lower, player.upper) if bits is not None]
    low, high = figure.layout.yaxis.range
    figure.update_layout(
        showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.03, "yanchor": "bottom", "itemclick": False},
        hovermode="closest",
        margin={"t": 70},
        yaxis={"range": [min(low, min(drawn) * BIT - 0.15), max(high, max(drawn) * BIT + 0.15)]},
    )
    return figure


def player_columns(players: Sequence[Player]) -> Columns:
    """One line a player."""
    empty = float("nan")
    return {
        "player": [player.name for player in players],
        "bits a character": [player.bits for player in players],
        "at least": [empty if player.lower is None else player.lower for player in players],
        "at most": [empty if player.upper is None else player.upper for player in players],
    }
