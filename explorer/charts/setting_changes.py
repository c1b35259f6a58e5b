"""Where settings were turned while a run trained: thin lines on its loss curve, with a few words at their top."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from plotly import graph_objects as go

from explorer.charts.palette import LIGHT, Palette
from explorer.charts.text_format import plain

ROWS = (0.965, 0.905, 0.845)  # heights at which labels may stand, as shares of the chart's
LETTER = 0.0085  # width of a label's letter, as a share of the chart's


class Mark(NamedTuple):
    """What was turned at a step."""

    step: int
    label: str
    hover: str = ""  # longer, where more was turned at that step


def merged(marks: Iterable[Mark]) -> list[Mark]:
    """Marks in the order of their steps, one a step: the label tells the last turn, pointing at it tells all."""
    together: dict[int, list[str]] = {}
    for mark in sorted(marks, key=lambda mark: mark.step):
        together.setdefault(mark.step, []).append(mark.label)
    return [
        Mark(step, labels[-1] + (f" +{len(labels) - 1}" if labels[1:] else ""), ", ".join(labels))
        for step, labels in together.items()
    ]


def heights(marks: Sequence[Mark], steps: int) -> list[float | None]:
    """Where each label stands; None where it would cover others: then only pointing at its line tells it.

    The newest come first, because they are what one has just done.

    Args:
        marks: as `merged` gives them.
        steps: that the chart is wide.
    """
    taken: Mapping[float, list[tuple[float, float]]] = {row: [] for row in ROWS}
    found: list[float | None] = [None] * len(marks)
    for index in reversed(range(len(marks))):
        place, width = marks[index].step / max(1, steps), LETTER * len(marks[index].label)
        left, right = (place - width, place) if _stands_left(marks[index], steps) else (place, place + width)
        for row in ROWS:
            if left >= 0 and all(right < begin or left > end for begin, end in taken[row]):
                taken[row].append((left, right))
                found[index] = row
                break
    return found


def turn_traces(marks: Iterable[Mark], steps: int, palette: Palette = LIGHT) -> tuple[go.Scatter, go.Scatter]:
    """The lines of all marks, and the labels for which there is room.

    Both stand on a second axis from 0 to 1 (`TURN_AXIS`) that no zoom moves. The browser fills the same two from the
    stream (assets/components/loss_chart/setting_changes.js).
    """
    shown = merged(marks)
    told = [(mark, height) for mark, height in zip(shown, heights(shown, steps), strict=True) if height]
    common = {"opacity": 0.75, "showlegend": False, "yaxis": "y2"}
    lines = go.Scatter(
        x=[x for mark in shown for x in (mark.step, mark.step, None)],
        y=[y for _ in shown for y in (0, 1, None)],
        customdata=[plain(mark.hover) for mark in shown for _ in range(3)],
        hovertemplate="%{customdata}<extra></extra>",
        name="turned",
        mode="lines",
        line={"color": palette.accent, "width": 1},
        **common,
    )
    labels = go.Scatter(
        x=[mark.step for mark, _ in told],
        y=[height for _, height in told],
        text=[f"\u00a0{plain(mark.label)}\u00a0" for mark, _ in told],  # a little off its line
        textposition=[f"middle {'left' if _stands_left(mark, steps) else 'right'}" for mark, _ in told],
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


TURN_AXIS = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
