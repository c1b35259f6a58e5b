"""A calculation in steps, with its numbers on heat strips below each other."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from explorer.components.bundle import component
from explorer.i18n.units import worded

_strips = component("number_strips")


@dataclass(frozen=True)
class Strip:
    """One row of numbers.

    Attributes:
        label: in front of it.
        values: the numbers; None is minus infinity.
        of: what they count along; numbers at the same place of the same kind light up together.
        scale: colours of signed numbers, or of shares from 0 to 1.
        most: the size at which signed colours are strongest.
        names: what each number belongs to, above it.
        marked: the place that gets a frame.
    """

    label: str
    values: list[float | None]
    of: Literal["numbers", "tokens"]
    scale: Literal["signed", "share"]
    most: float = 1.0
    names: list[str] | None = None
    marked: int | None = None


@dataclass(frozen=True)
class Step:
    """One step: what is done, the shape of what comes out, a sentence with the numbers in it, and the strips."""

    title: str
    shape: str
    says: str
    strips: Sequence[Strip] = ()


def number_strips(steps: Sequence[Step], *, key: str) -> None:
    """Draw the steps in their order."""
    _strips(
        key=key,
        data={
            "steps": [asdict(step) | {"title": worded(step.title), "says": worded(step.says)} for step in steps],
        },
    )
