"""Where settings were turned while a run trained: thin lines on its loss curve, with a few words at their top."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from plotly import graph_objects as go

from explorer.charts.palette import LIGHT, Palette
from explorer.charts.words import plain

ROWS = (0.99, 0.93, 0.87)  # heights at which labels may stand, as shares of the chart's
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
        left, right = (place - width, place) if place + width > 1 else (place, place + width)
        for row in ROWS:
            if left >= 0 and all(right < begin or left > end for begin, end in taken[row]):
                taken[row].append((left, right))
                found[index] = row
                break
    return found


def turn_trace(marks: Iterable[Mark], steps: int, palette: Palette = LIGHT) -> go.Scatter:
    """One trace for all marks, on a second axis from 0 to 1 (`TURN_AXIS`) that no zoom moves.

    The browser fills the same trace from the stream (assets/js/turn_marks.js), in the same order: of each mark the foot
    of its line, the place of its label, the top of its line, and a gap.
    """
    shown = merged(marks)
    x: list[int | None] = []
    y: list[float | None] = []
    text, sides, hover = [], [], []
    for mark, height in zip(shown, heights(shown, steps), strict=True):
        x += [mark.step, mark.step, mark.step, None]
        y += [0.0, height or 1.0, 1.0, None]
        text += ["", plain(mark.label) if height else "", "", ""]
        left = mark.step / max(1, steps) + LETTER * len(mark.label) > 1
        sides += ["middle left" if left else "middle right"] * 4
        hover += [plain(mark.hover)] * 4
    return go.Scatter(
        x=x,
        y=y,
        text=text,
        textposition=sides,
        textfont={"color": palette.accent, "size": 11},
        mode="lines+text",
        line={"color": palette.accent, "width": 1},
        opacity=0.75,
        customdata=hover,
        hovertemplate="%{customdata}<extra></extra>",
        name="turned",
        showlegend=False,
        yaxis="y2",
    )


TURN_AXIS = {"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
