"""Token embeddings in space: similar ones lie close together."""

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from core.palette import LIGHT, Palette
from explorer.charts.text_format import quoted_for_plotly
from explorer.charts.theme import MONO, legend_above, style
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
    """Draw V tokens as they are shown at their points (V, 3), colored by kind; lines join `chosen` to its neighbors."""
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
            text=[tokens[index] for index in places],  # in space plotly reads no tags
            textfont={
                "family": MONO,
                # A dot for a space is the one sign too small to be seen at the size of letters.
                "size": [(19 if index == chosen else 15) + 9 * (tokens[index] == "·") for index in places],
                "color": palette.kinds[kind],
                "weight": [700 if index == chosen or index in neighbors else 400 for index in places],
            },
            textposition="middle center",
            hovertext=[f"{quoted_for_plotly(tokens[index])}, {_(kind)}" for index in places],
            hoverinfo="text",
            marker={"size": 2, "color": palette.kinds[kind], "opacity": 0.25},
        )
        # The legend needs a patch of color, which letters do not give; pressing it hides its group.
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
