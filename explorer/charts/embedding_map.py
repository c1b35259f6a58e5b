"""Token embeddings in 3-D, and the embeddings of numbers on a circle."""

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go
from plotly.subplots import make_subplots

from core.interpretability.embeddings import FourierComponents
from core.palette import LIGHT, Palette
from explorer.charts.text_format import quoted_for_plotly
from explorer.charts.theme import MONO, MovingFigure, legend_above, style
from explorer.i18n.language import _


def embedding_map(
    points: np.ndarray,
    tokens: Sequence[str],
    kinds: Sequence[str],
    palette: Palette = LIGHT,
    *,
    chosen: int,
    neighbors: Sequence[int] = (),
) -> go.Figure:
    """Draw V tokens (as displayed) at their points (V, 3), colored by kind; lines join `chosen` to its neighbors."""
    gap = np.full(3, np.nan)
    path = np.array([place for index in neighbors for place in (points[chosen], points[index], gap)]).reshape(-1, 3)
    link = {"color": palette.accent, "width": 1.5}
    figure = go.Figure()
    figure.add_scatter3d(**_coordinates(path), mode="lines", line=link, opacity=0.6, hoverinfo="skip", showlegend=False)
    for kind in dict.fromkeys(sorted(kinds, key=list(palette.kinds).index)):
        places = [index for index, own in enumerate(kinds) if own == kind]
        figure.add_scatter3d(
            **_coordinates(points[places]),
            mode="markers+text",
            legendgroup=kind,
            showlegend=False,
            text=[tokens[index] for index in places],  # plotly reads no tags in 3-D
            textfont={
                "family": MONO,
                # The dot that stands for a space is too small to be seen at the size of letters.
                "size": [(19 if index == chosen else 15) + 9 * (tokens[index] == "·") for index in places],
                "color": palette.kinds[kind],
                "weight": [700 if index == chosen or index in neighbors else 400 for index in places],
            },
            textposition="middle center",
            hovertext=[f"{quoted_for_plotly(tokens[index])}, {_(kind)}" for index in places],
            hoverinfo="text",
            marker={"size": 2, "color": palette.kinds[kind], "opacity": 0.25},
        )
        # The legend needs a patch of color, which letters do not have; clicking it hides its group.
        figure.add_scatter3d(
            x=[None], y=[None], z=[None], mode="markers", name=_(kind), legendgroup=kind,
            marker={"color": palette.kinds[kind], "size": 11, "symbol": "square"},
        )  # fmt: skip
    style(figure, palette, height=520)
    legend_above(figure, itemsizing="constant", entrywidth=0)
    hidden = dict.fromkeys(("showticklabels", "showbackground", "zeroline", "showspikes"), False)
    wall = {"title": "", "gridcolor": palette.grid} | hidden
    camera = {"eye": {"x": 1.15, "y": 1.15, "z": 0.75}}
    figure.update_scenes(xaxis=wall, yaxis=wall, zaxis=wall, aspectmode="cube", camera=camera)
    return figure.update_layout(hovermode="closest", dragmode="orbit")


def _coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip("xyz", np.asarray(points, dtype=np.float32).T, strict=True))


def number_circle(components: Sequence[FourierComponents], labels: Sequence[str], palette: Palette) -> MovingFigure:
    """Draw the power of each frequency of P numbers at each step, and the numbers on the strongest one's circle."""
    frequencies, most = np.arange(1, len(components[0].power) + 1), max(each.power.max() for each in components)
    figure = make_subplots(1, 2, column_widths=[0.5, 0.5], horizontal_spacing=0.09)
    style(figure, palette, height=400)
    bars = {"marker": {"color": palette.accent}, "name": _("share of the variance")}
    figure.add_bar(x=frequencies, hovertemplate="%{x}: %{y:.1%}<extra></extra>", **bars, row=1, col=1)
    # Neighbors on the circle are k numbers apart, so a color for each number shows the order.
    marks = {"size": 7, "color": list(range(len(labels))), "colorscale": "Phase"}
    words = {"text": list(labels), "textfont": {"family": MONO, "size": 11}}
    figure.add_scatter(mode="markers+text", marker=marks, hoverinfo="text", name=_("numbers"), **words, row=1, col=2)
    figure.update_layout(showlegend=False)
    figure.update_xaxes(title_text=_("frequency"), row=1, col=1)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.08 * float(most)], row=1, col=1)
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, row=1, col=2)
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, scaleanchor="x2", row=1, col=2)
    moves = []
    for each in components:
        x, y = each.circle.T.tolist()
        reach = 1.25 * max(float(np.abs(each.circle).max()), 1e-9)
        layout = {"xaxis2.range": [-reach, reach], "yaxis2.range": [-reach, reach]}
        points = {"x": x, "y": y, "textposition": list(map(_outward, x, y))}
        moves.append({"traces": [{"y": each.power.tolist()}, points], "layout": layout})
    return MovingFigure(figure, moves)


def _outward(x: float, y: float) -> str:
    """Return plotly's name of the side of a point that faces away from 0, where its label crosses no other."""
    eighth = round(np.arctan2(y, x) / (np.pi / 4)) % 8
    sides = ("middle right", "top right", "top center", "top left", "middle left", "bottom left", "bottom center",
             "bottom right")  # fmt: skip
    return sides[eighth]
