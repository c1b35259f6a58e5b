"""Which steps draw which lesson, in the order of `core.lessons`."""

from core.lessons import LESSONS
from explorer.learn import bigram, experiments, gpt
from explorer.learn.step import Step

_DRAWN: dict[str, tuple[Step, ...]] = {"bigram": bigram.STEPS, "gpt": gpt.STEPS, "break": experiments.STEPS}


def lessons() -> list[str]:
    """The lessons that have steps."""
    return [lesson for lesson, steps in LESSONS.items() if steps and lesson in _DRAWN]


def steps_of(lesson: str) -> dict[str, Step]:
    """The steps of a lesson by name, in their order."""
    drawn = {step.name: step for step in _DRAWN[lesson]}
    return {name: drawn[name] for name in LESSONS[lesson]}
