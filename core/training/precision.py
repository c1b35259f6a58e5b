"""Which numbers a run computes in: decided by what this machine was measured to do faster, and said in a sentence."""

from typing import NamedTuple

from core.config import RunConfig
from core.training.speed import MachineSpeed, Precision, step_seconds

_SOME_VOCABULARY = 80
_WORTH_IT = 1.15  # times as fast; for less, three times the digits are the better bargain
_BELIEVABLE = 30  # times as fast; more shows only that something else ran while the machine was measured


WHY = {  # what follows "It computes in"
    "asked": "{precision}, as the settings ask.",
    "graphics card": "bfloat16: this graphics card multiplies it far faster than float32.",
    "no instructions": "float32: this machine has no instructions for bfloat16.",
    "hardly faster": "float32: bfloat16 would hardly be faster here for a model of this shape.",
    "too busy": "float32: this machine was too busy to find out whether bfloat16 is faster.",
    "measured": "bfloat16: measured to be {times} times as fast here for a model of this shape.",
}


class Choice(NamedTuple):
    """What was decided, and why."""

    precision: Precision
    why: str  # one of WHY
    times: str = ""  # as fast as float32

    @property
    def sentence(self) -> str:
        return self.why.format(precision=self.precision, times=self.times)


def choose_precision(config: RunConfig, speed: MachineSpeed) -> Choice:
    """bfloat16 where a step of this model is expected to be clearly faster; else float32, which has more digits."""
    if speed.bfloat16 is None:
        return Choice("float32", WHY["no instructions"])
    exact, rounded = (step_seconds(config, _SOME_VOCABULARY, speed, precision) for precision in ("float32", "bfloat16"))
    if exact < _WORTH_IT * rounded:
        return Choice("float32", WHY["hardly faster"])
    if exact > _BELIEVABLE * rounded:
        return Choice("float32", WHY["too busy"])
    return Choice("bfloat16", WHY["measured"], f"{exact / rounded:.1f}")
