"""The common look of every figure: quiet grid, no frame, our colors."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from plotly import graph_objects as go

from core.palette import DARK, LIGHT, Palette
from explorer.charts.text_format import plain

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"


class MovingFigure(NamedTuple):
    """A figure that changes over the steps of a run."""

    figure: go.Figure
    moves: list[dict[str, Any]]  # for each measured step: "traces", further settings of each, and "layout"


def palette_for(theme: str | None) -> Palette:
    """Return the palette for Streamlit's theme "light" or "dark" (None counts as light)."""
    return DARK if theme == "dark" else LIGHT


def style(figure: go.Figure, palette: Palette = LIGHT, *, height: int, zoom: bool = False) -> go.Figure:
    """Give a figure the app's look, which Streamlit's own theme must not overwrite; return the same figure.

    Call this before any settings of the figure's own.
    """
    axis = {
        "gridcolor": palette.grid,
        "zeroline": False,
        "linecolor": palette.grid,
        "tickfont": {"color": palette.muted, "size": 12},
        "title": {"font": {"color": palette.muted, "size": 12}},
        "automargin": True,
        "separatethousands": True,  # 4,000, as in every sentence
        "fixedrange": not zoom,
    }
    return figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": FONT, "size": 13, "color": palette.text},
        hoverlabel={
            "bgcolor": palette.surface,
            "bordercolor": palette.grid,
            "font": {"family": FONT, "color": palette.text, "size": 13},
        },
        legend={"font": {"color": palette.text}, "bgcolor": "rgba(0,0,0,0)"},
        colorway=list(palette.runs),
        xaxis=axis | {"showgrid": False},
        yaxis=axis,
        # Merging takes plotly 13 of 14 ms, so overwrite, except with panels, whose places are in the axes.
        overwrite=figure.layout.xaxis.domain is None,
    )


def line(
    x: Sequence[float],
    y: Sequence[float],
    color: str,
    width: float,
    name: str = "",
    *,
    dash: str = "solid",
    **more: Any,
) -> go.Scatter:
    """Return a line, without a legend label if it has no name, with further plotly settings."""
    drawn = {"color": color, "width": width, "dash": dash}
    return go.Scatter({"x": x, "y": y, "name": plain(name), "mode": "lines", "line": drawn} | more)


def key_below(palette: Palette, **ticks: Any) -> dict[str, Any]:
    """Return a heatmap's color bar: thin, below the left edge, with further plotly settings for its ticks."""
    return {
        "orientation": "h",
        "x": 0,
        "xanchor": "left",
        "y": 0,
        "yanchor": "top",
        "ypad": 12,
        "len": 220,
        "lenmode": "pixels",
        "thickness": 8,
        "tickfont": {"color": palette.muted, "size": 11},
        "tickangle": 0,
        "outlinewidth": 0,
        "ticks": "",
    } | ticks


def side_note(y: float, text: str, color: str, **more: Any) -> dict[str, Any]:
    """Return an annotation to the right of the chart at height `y`, with further plotly settings."""
    place = {"xref": "paper", "x": 1, "xanchor": "left", "xshift": 8, "y": y, "yanchor": "middle", "align": "left"}
    return place | {"text": text, "showarrow": False, "font": {"color": color, "size": 12}} | more


def legend_above(figure: go.Figure, **more: Any) -> go.Figure:
    """Put the legend in a line above the chart, with further plotly settings; return the same figure."""
    return figure.update_layout(legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"} | more)


def row_ticks(labels: Sequence[str], **more: Any) -> dict[str, Any]:
    """Return the settings of a vertical axis with a label (in plotly's markup) at each place, from 0 downward."""
    count = len(labels)
    ticks = {"tickvals": list(range(count)), "ticktext": [f"{label} " for label in labels], "ticks": ""}
    return ticks | {"range": [count - 0.5, -0.5], "showgrid": False} | more


def token_ticks(tokens: Sequence[str], palette: Palette, size: int, *, after: str = "") -> dict[str, Any]:
    """Return the settings of an axis labeled with tokens (as displayed) from 0 on, each followed by `after`."""
    return {
        "tickvals": list(range(len(tokens))),
        "ticktext": [f"{plain(token)}{after}" for token in tokens],
        "tickfont": {"family": MONO, "size": size, "color": palette.text},
        "tickangle": 0,
        "ticks": "",
        "showgrid": False,
    }
