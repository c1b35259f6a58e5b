"""A calculation in steps, with its numbers on heat strips below each other."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from explorer.components.bundle import component
from explorer.i18n.units import worded

_strips = component("number_strips")


@dataclass(frozen=True)
class Strip:
    """One row of numbers."""

    label: str
    values: list[float | None]  # None is minus infinity
    of: Literal["numbers", "tokens"]  # what lights up together at the same place
    scale: Literal["signed", "share"]  # the colours
    most: float = 1.0  # at which signed colours are strongest
    names: list[str] | None = None  # what each number belongs to, above it
    marked: int | None = None  # the place that gets a frame


@dataclass(frozen=True)
class StripStep:
    """One step: what is done, the shape of what comes out, a sentence with the numbers in it, and the strips."""

    title: str
    shape: str
    says: str
    strips: Sequence[Strip] = ()


def number_strips(steps: Sequence[StripStep], *, key: str) -> None:
    """Draw the steps in their order."""
    drawn = [asdict(step) | {"title": worded(step.title), "says": worded(step.says)} for step in steps]
    _strips(key=key, data={"steps": drawn})
