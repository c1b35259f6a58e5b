"""What one step of a lesson is made of."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from explorer.learn.lab import Lab
from explorer.learn.questions import Question


def _none(lab: Lab) -> Mapping[str, Any]:
    return {}


class Step(NamedTuple):
    """One step: its words are in `core/lessons/text/<language>/<lesson>/<name>.md`, its code in `core.lessons`."""

    name: str
    draw: Callable[[Lab], bool | None]  # the result, and what can be turned; False while it is being computed
    code: tuple[Callable, ...] = ()  # the functions that computed it, shown as they are
    question: Question | None = None
    numbers: Callable[[Lab], Mapping[str, Any]] = _none  # what fills the placeholders of its words
