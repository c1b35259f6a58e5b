"""Where a model puts its tokens: those it treats alike lie close together."""

from collections.abc import Sequence

import numpy as np
from plotly import graph_objects as go

from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import plain, quoted
from explorer.charts.theme import MONO, style
from explorer.i18n.language import _


def embedding_map(
    points: np.ndarray,
    tokens: Sequence[str],
    kinds: Sequence[str],
    palette: Palette = LIGHT,
    *,
    chosen: int | None = None,
    neighbours: Sequence[int] = (),
) -> go.Figure:
    """Each token at its place, written as itself and coloured by its kind; flat or in space.

    Args:
        points: (V, 2) or (V, 3).
        tokens, kinds: V tokens as they are shown, and the kind of each.
        chosen: the token to mark, joined by thin lines to its `neighbours`.

    Every point's customdata is its token's index, so that a click can be told back.
    """
    flat = points.shape[1] == 2
    figure = go.Figure()
    if chosen is not None:
        figure.add_trace(_links(points, chosen, neighbours, palette))
    for kind in dict.fromkeys(sorted(kinds, key=list(palette.kinds).index)):
        places = [index for index, own in enumerate(kinds) if own == kind]
        # A dot for a space is the one sign too small to be seen, or hit, at the size of letters.
        sizes = [(19 if index == chosen else 15) + 9 * (tokens[index] == "·") for index in places]
        trace = {
            **_coordinates(points[places]),
            "mode": "markers+text",
            "legendgroup": kind,
            "showlegend": False,
            # Letters in space are drawn by other means than on paper, and there nothing is read as a tag.
            "text": [plain(tokens[index]) if flat else tokens[index] for index in places],
            "textfont": {
                "family": MONO,
                "size": sizes,
                "color": palette.kinds[kind],
                "weight": [700 if index == chosen or index in neighbours else 400 for index in places],
            },
            "textposition": "middle center",
            "customdata": places,
            "hovertext": [f"{quoted(tokens[index])}, {_(kind)}" for index in places],
            "hoverinfo": "text",
        }
        if flat:
            # An invisible disc around each letter, to point at and to click.
            quiet = {"opacity": 1}
            figure.add_scatter(
                **trace,
                marker={"size": 20, "color": "rgba(0,0,0,0)"},
                selected={"marker": quiet},
                unselected={"marker": quiet, "textfont": {"color": palette.kinds[kind]}},
            )
        else:
            figure.add_scatter3d(**trace, marker={"size": 2, "color": palette.kinds[kind], "opacity": 0.25})
        # The legend needs a patch of colour, which letters do not give; pressing it hides its group.
        patch = go.Scatter(x=[None], y=[None]) if flat else go.Scatter3d(x=[None], y=[None], z=[None])
        patch.update(
            mode="markers",
            name=_(kind),
            legendgroup=kind,
            marker={"color": palette.kinds[kind], "size": 11, "symbol": "square"},
        )
        figure.add_trace(patch)
    style(figure, palette, height=520)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "itemsizing": "constant", "entrywidth": 0},
        hovermode="closest",
        dragmode="pan" if flat else "orbit",
    )
    if flat:
        # Distances are what the map is about, so both axes have one scale; the numbers on them mean nothing.
        figure.update_xaxes(showticklabels=False, showgrid=False, showline=False, constrain="domain")
        figure.update_yaxes(showticklabels=False, showgrid=False, showline=False, scaleanchor="x")
    else:
        wall = {
            "showticklabels": False,
            "title": "",
            "showbackground": False,
            "gridcolor": palette.grid,
            "zeroline": False,
            "showspikes": False,
        }
        figure.update_scenes(
            xaxis=wall, yaxis=wall, zaxis=wall, aspectmode="cube", camera={"eye": {"x": 1.15, "y": 1.15, "z": 0.75}}
        )
    return figure


def _links(points: np.ndarray, chosen: int, neighbours: Sequence[int], palette: Palette) -> go.Scatter | go.Scatter3d:
    """Thin lines from the chosen token to each neighbour, as one trace with gaps."""
    gap = np.full(points.shape[1], np.nan)
    path = np.array([place for index in neighbours for place in (points[chosen], points[index], gap)])
    path = path.reshape(-1, points.shape[1])
    trace = go.Scatter if points.shape[1] == 2 else go.Scatter3d
    return trace(
        **_coordinates(path),
        mode="lines",
        line={"color": palette.accent, "width": 1.5},
        opacity=0.6,
        hoverinfo="skip",
        showlegend=False,
    )


def _coordinates(points: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip("xyz", np.asarray(points, dtype=np.float32).T, strict=False))
