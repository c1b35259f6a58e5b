"""The curves of a run as one SVG whose colours follow the page's theme."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from core.import_export.report.facts import Facts
from core.import_export.report.markup import Markup, joined, tag
from core.import_export.report.words import counted

_MOST_POINTS = 300  # of a line: more are not seen
_LINE = 15  # pixels from one label to the next
_NEAR = 0.4  # of the curves' height: what counting reaches further off is left out, so that they stay curves
_WIDE = 560  # pixels from which there is room for words beside the curves


class _Label(NamedTuple):
    y: float
    text: str
    kind: str  # class of its colour


def loss_curves(facts: Facts, width: int, height: int) -> Markup | None:
    """Losses over steps: training, validation, what counting reaches, the parent's, and every knob turned.

    None where nothing was measured.

    Args:
        width, height: of the drawing, in pixels at its natural size; text has the same size in all of them.
    """
    training = [(row["step"], row["loss"]) for row in facts.rows if row.get("loss") is not None]
    validation = _measured(facts.rows)
    if not validation:
        return None
    last = max(1, facts.rows[-1]["step"])
    parent = _of_parent(facts, last)
    heights = [loss for _, loss in [*_thinned(training), *validation, *parent]]
    low, high = min(heights), max(heights)
    near = max(0.1, (high - low) * _NEAR)
    baselines = {name: loss for name, loss in (facts.baselines or {}).items() if low - near < loss < high + near}
    low, high = min([low, *baselines.values()]), max([high, *baselines.values()])
    room = max(0.02, high - low) * 0.06
    low, high = low - room, high + room

    left, right, top, bottom = 40, width - (200 if width >= _WIDE else 116), 14, height - 40
    x = _scale(0, last, left, right)
    y = _scale(low, high, bottom, top)
    parts = [
        _grid(_ticks(low, high, 6), y, left, right),
        _steps(_ticks(0, last, 6 if width >= _WIDE else 3), x, bottom),
    ]
    labels = []
    for name, loss in baselines.items():
        parts.append(_straight(left, y(loss), right, y(loss), "counted"))
        words = counted(name, facts) if width >= _WIDE else counted(name, facts).split()[1 if name != "uniform" else -1]
        labels.append(_Label(y(loss), f"{words} {loss:.2f}", "muted"))
    parts += [
        _turn(x(step), top, bottom, f"after step {step:,}: {words}") for step, words in facts.turns if step <= last
    ]
    for points, kind, word in (
        (parent, "parent", "its parent"),
        (_thinned(training), "training", "each batch"),
        (validation, "validation", "validation"),
    ):
        if len(points) > 1:
            parts.append(_line(points, x, y, kind))
            labels.append(_Label(y(points[-1][1]), f"{word} {points[-1][1]:.2f}", kind))
    parts += [
        tag("circle", cx=_n(x(step)), cy=_n(y(loss)), r=2.5, class_="dot validation") for step, loss in _few(validation)
    ]
    parts += _beside(labels, right + 8, top, bottom)
    parts.append(tag("text", "steps", x=right, y=height - 6, class_="muted", text_anchor="end"))
    parts.append(tag("text", "nats", x=4, y=height - 6, class_="muted"))
    told = f"Validation loss from {validation[0][1]:.2f} to {validation[-1][1]:.2f} over {last:,} steps"
    return tag(
        "svg", tag("title", told), *parts, viewBox=f"0 0 {width} {height}", width=width, height=height, role="img"
    )


def _measured(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    return _thinned([(row["step"], row["val_loss"]) for row in rows if row.get("val_loss") is not None])


def _of_parent(facts: Facts, last: int) -> list[tuple[int, float]]:
    """The parent's validation losses over the same steps, those of a fork counted from where it left it."""
    if not facts.parent or not facts.parent.same_text:
        return []
    begun = facts.parent.step or 0
    points = [(step - begun, loss) for step, loss in _measured(facts.parent.rows) if 0 <= step - begun <= last]
    return points if len(points) > 1 else []


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """At most so many points: means of neighbours, the first and the last as they are."""
    if len(points) <= _MOST_POINTS:
        return points
    size = math.ceil((len(points) - 2) / (_MOST_POINTS - 2))
    inner = [points[at : at + size] for at in range(1, len(points) - 1, size)]
    means = [(piece[len(piece) // 2][0], sum(loss for _, loss in piece) / len(piece)) for piece in inner]
    return [points[0], *means, points[-1]]


def _few(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Dots only where they stand apart."""
    return points if len(points) <= 60 else points[-1:]


def _scale(low: float, high: float, begin: float, end: float) -> Callable[[float], float]:
    return lambda value: begin + (value - low) / (high - low) * (end - begin)


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two values."""
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    first = math.ceil(low / step - 1e-9)
    return [number * step for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _grid(ticks: list[float], y: Callable[[float], float], left: float, right: float) -> Markup:
    decimals = 2 if len(ticks) > 1 and ticks[1] - ticks[0] < 0.1 else 1
    lines = [_straight(left, y(tick), right, y(tick), "grid") for tick in ticks]
    numbers = [
        tag("text", f"{tick:.{decimals}f}", x=left - 6, y=_n(y(tick) + 4), class_="muted", text_anchor="end")
        for tick in ticks
    ]
    return joined([*lines, *numbers])


def _steps(ticks: list[float], x: Callable[[float], float], bottom: float) -> Markup:
    return joined(
        [
            tag("text", f"{tick:,.0f}", x=_n(x(tick)), y=bottom + 16, class_="muted", text_anchor="middle")
            for tick in ticks
            if tick == round(tick)
        ]
    )


def _turn(x: float, top: float, bottom: float, words: str) -> Markup:
    return tag("g", tag("title", words), _straight(x, top, x, bottom, "turn"))


def _straight(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    return tag("line", x1=_n(x1), y1=_n(y1), x2=_n(x2), y2=_n(y2), class_=kind)


def _line(points: list[tuple[int, float]], x: Callable, y: Callable, kind: str) -> Markup:
    return tag("polyline", points=" ".join(f"{_n(x(s))},{_n(y(v))}" for s, v in points), class_=f"line {kind}")


def _beside(labels: list[_Label], x: float, top: float, bottom: float) -> list[Markup]:
    """Each label as near to its height as the others leave room."""
    ordered = sorted(labels)
    places = [min(max(label.y, top), bottom) for label in ordered]
    for _ in range(2 * len(places)):  # pushed down from above, then up from below
        for at in range(1, len(places)):
            places[at] = max(places[at], places[at - 1] + _LINE)
        if places and places[-1] > bottom:
            places[-1] = bottom
        for at in range(len(places) - 2, -1, -1):
            places[at] = min(places[at], places[at + 1] - _LINE)
    return [
        tag("text", label.text, x=x, y=_n(place + 4), class_=f"label {label.kind}")
        for label, place in zip(ordered, places, strict=True)
    ]


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
