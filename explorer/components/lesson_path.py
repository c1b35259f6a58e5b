"""The steps of a lesson as links; the browser's storage remembers how far a visitor has come."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from explorer.components.bundle import component

_path = component("lesson_path")


class PathStep(NamedTuple):
    """One step: its name, its title, and its address relative to the app's pages."""

    name: str
    title: str
    url: str


def lesson_path(
    lesson: str, steps: Sequence[PathStep], *, here: str | None, right: Collection[str], label: str, key: str,
    listed: bool = False, resume: str = "",
) -> str | None:  # fmt: skip
    """Draw the steps, as a list or a row of dots, and return the one clicked just now.

    The browser remembers the steps opened (`here`) and mastered (`right`). Without `here` it leaves them alone, and
    marks the step where it was last with the words of `resume`.
    """
    data = {"lesson": lesson, "steps": [list(step) for step in steps], "here": here, "right": sorted(right)}
    words = {"label": label, "listed": listed, "resume": resume}
    clicked = _path(key=key, data=data | words, triggers=["step"]).step
    return str(clicked) if clicked in {step.name for step in steps} else None
