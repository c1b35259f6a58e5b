"""The learning rate of a run that is continued: as it was, and as each way on would have it."""

from collections.abc import Mapping, Sequence
from typing import Any

from plotly import graph_objects as go

from core.formatting import number
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.theme import style
from explorer.i18n.language import _

_HEIGHT = 130  # pixels


def rates_figure(
    past: Sequence[Mapping[str, Any]],
    ahead: Mapping[str, Sequence[tuple[int, float]]],
    chosen: str,
    palette: Palette = LIGHT,
) -> go.Figure:
    """Return the curve of the learning rate over the steps, the chosen way on as a solid line, the others dotted.

    Args:
        past: rows of metrics.jsonl; those without an `lr` are passed over.
        ahead: step and learning rate of each way on, by its label.
        chosen: the label of one of them.
    """
    taken = [row for row in past if row.get("lr") is not None]
    figure = go.Figure()
    lines = [(_("so far"), [(row["step"], row["lr"]) for row in taken], palette.muted, "solid")]
    for label in sorted(ahead, key=lambda label: label == chosen):  # the chosen one above the others
        color, dash = (palette.accent, "solid") if label == chosen else (palette.muted, "dot")
        lines.append((label, ahead[label], color, dash))
    for label, points, color, dash in lines:
        figure.add_scatter(
            x=[step for step, _unused in points],
            y=[rate for _unused, rate in points],
            name=label,
            mode="lines",
            line={"color": color, "width": 2, "dash": dash},
            hovertemplate="%{y:.2g}",
        )
    style(figure, palette, height=_HEIGHT)
    figure.update_layout(hovermode="x unified", showlegend=False)
    figure.update_xaxes(showgrid=False, tickformat=",d", nticks=4)
    highest = max((rate for _unused, points, _unused, _unused in lines for _unused, rate in points), default=1.0)
    figure.update_yaxes(tickvals=[0, highest], ticktext=["0", number(float(f"{highest:.3g}"))])
    return figure
