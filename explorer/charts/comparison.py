"""Many runs' loss curves in one chart, one colour a run."""

from collections.abc import Mapping, Sequence
from typing import Any

from plotly import graph_objects as go

from explorer.charts.palette import LIGHT, Palette
from explorer.charts.theme import style
from explorer.charts.words import plain

AXES = {"step": "step", "seconds": "seconds of training"}


def comparison_figure(
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
    names: Mapping[str, str],
    colors: Mapping[str, str],
    palette: Palette = LIGHT,
    *,
    over: str = "step",
    height: int = 400,
) -> go.Figure:
    """Validation loss of each run, its name at its end.

    Args:
        rows: of metrics.jsonl by run id; rows without a validation loss are passed over.
        names, colors: of the runs by id.
        over: a column of the rows, the horizontal axis (see `AXES`).
    """
    figure = go.Figure()
    for id, run_rows in rows.items():
        measured = [row for row in run_rows if row.get("val_loss") is not None and row.get(over) is not None]
        x, y = [row[over] for row in measured], [row["val_loss"] for row in measured]
        name = plain(names[id])
        figure.add_scatter(
            x=x,
            y=y,
            name=name,
            mode="lines",
            line={"color": colors[id], "width": 2.4},
            hovertemplate="%{y:.3f}",
        )
        figure.add_scatter(
            x=x[-1:],
            y=y[-1:],
            text=[f" {plain(_short(names[id]))}" for _ in y[-1:]],
            mode="markers+text",
            textposition="middle right",
            textfont={"color": colors[id], "size": 13},
            marker={"color": colors[id], "size": 7},
            showlegend=False,
            hoverinfo="skip",
            cliponaxis=False,
        )
    style(figure, palette, height=height)
    figure.update_layout(
        hovermode="x unified",
        uirevision=over,
        showlegend=False,
        margin={"l": 8, "r": 118, "t": 14, "b": 8},
        xaxis={"title": {"text": AXES[over]}, "showgrid": False, "rangemode": "tozero", "tickformat": ",d"},
        yaxis={"title": {"text": "validation loss, nats a letter"}},
    )
    return figure


def _short(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"
