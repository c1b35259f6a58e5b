"""Setting changes while a run trains: marks on its loss curve, and the learning rate of a run that is continued."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from plotly import graph_objects as go

from core.formatting import number
from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import plain
from explorer.charts.theme import style
from explorer.i18n.language import _

ROWS = (0.965, 0.905, 0.845)  # heights at which labels may stand, as shares of the chart's
LETTER = 0.0085  # width of a label's letter, as a share of the chart's


MARK_AXIS = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
_RATES_HEIGHT = 130  # pixels


class Mark(NamedTuple):
    """A setting change at a step."""

    step: int
    label: str
    hover: str = ""  # longer, where more was changed at that step


def merged(marks: Iterable[Mark]) -> list[Mark]:
    """Return the marks by step, one a step: the label names the last change, hovering all of them."""
    together: dict[int, list[str]] = {}
    for mark in sorted(marks, key=lambda mark: mark.step):
        together.setdefault(mark.step, []).append(mark.label)
    return [
        Mark(step, labels[-1] + (f" +{len(labels) - 1}" if labels[1:] else ""), ", ".join(labels))
        for step, labels in together.items()
    ]


def heights(marks: Sequence[Mark], steps: int) -> list[float | None]:
    """Return the height of each label; None where it would cover others: then only hovering over its line shows it.

    The newest come first.

    Args:
        marks: as `merged` gives them.
        steps: that the chart is wide.
    """
    taken: Mapping[float, list[tuple[float, float]]] = {row: [] for row in ROWS}
    rows: list[float | None] = [None] * len(marks)
    for index in reversed(range(len(marks))):
        place, width = marks[index].step / max(1, steps), LETTER * len(marks[index].label)
        left, right = (place - width, place) if _stands_left(marks[index], steps) else (place, place + width)
        for row in ROWS:
            if left >= 0 and all(right < begin or left > end for begin, end in taken[row]):
                taken[row].append((left, right))
                rows[index] = row
                break
    return rows


def mark_traces(marks: Iterable[Mark], steps: int, palette: Palette = LIGHT) -> tuple[go.Scatter, go.Scatter]:
    """Return the lines of all marks, and the labels for which there is room.

    Both stand on a second axis from 0 to 1 (`MARK_AXIS`) that no zoom moves. The browser fills the same two from the
    stream (assets/components/loss_chart/setting_changes.js).
    """
    shown = merged(marks)
    labeled = [(mark, height) for mark, height in zip(shown, heights(shown, steps), strict=True) if height]
    common = {"opacity": 0.75, "showlegend": False, "yaxis": "y2"}
    lines = go.Scatter(
        x=[x for mark in shown for x in (mark.step, mark.step, None)],
        y=[y for _mark in shown for y in (0, 1, None)],
        customdata=[plain(mark.hover) for mark in shown for _point in range(3)],
        hovertemplate="%{customdata}<extra></extra>",
        name="turned",
        mode="lines",
        line={"color": palette.accent, "width": 1},
        **common,
    )
    labels = go.Scatter(
        x=[mark.step for mark, _height in labeled],
        y=[height for _mark, height in labeled],
        text=[f"\u00a0{plain(mark.label)}\u00a0" for mark, _height in labeled],  # a little off its line
        textposition=[f"middle {'left' if _stands_left(mark, steps) else 'right'}" for mark, _height in labeled],
        textfont={"color": palette.accent, "size": 11},
        name="turned, in words",
        mode="text",
        hoverinfo="skip",
        **common,
    )
    return lines, labels


def _stands_left(mark: Mark, steps: int) -> bool:
    """Whether a label would leave the chart on the right of its line."""
    return mark.step / max(1, steps) + LETTER * len(mark.label) > 1


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
    style(figure, palette, height=_RATES_HEIGHT)
    figure.update_layout(hovermode="x unified", showlegend=False)
    figure.update_xaxes(showgrid=False, tickformat=",d", nticks=4)
    highest = max((rate for _unused, points, _unused, _unused in lines for _unused, rate in points), default=1.0)
    figure.update_yaxes(tickvals=[0, highest], ticktext=["0", number(float(f"{highest:.3g}"))])
    return figure
