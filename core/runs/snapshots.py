"""The weights kept along the way for looking back: few, and closer together early, where most changes."""

import math

from torch import nn

from core.config import TrainConfig
from core.runs.folder import RunFolder
from core.training.checkpoints import save_weights, snapshot_steps
from core.training.finite import all_finite

SNAPSHOT_BYTES = 2**30  # for all snapshots of a run together


class Snapshots:
    """Keeps a run's snapshots within their number and their room, also where its end is moved while it trains."""

    def __init__(self, folder: RunFolder, model: nn.Module, config: TrainConfig):
        self._folder, self._model = folder, model
        self.size = sum(parameter.nbytes for parameter in model.parameters())  # bytes of one
        self._fit = SNAPSHOT_BYTES // self.size
        self._most = min(config.snapshots, self._fit)
        self.plan(config.steps)

    def plan(self, steps: int) -> None:
        """From now on, snapshots are taken as in a run of so many steps."""
        self._steps = set(snapshot_steps(steps, self._most)) if self._fit else set()

    def due(self, step: int) -> bool:
        """Whether it is time, and the weights are worth keeping."""
        return step in self._steps and all_finite(self._model.parameters())

    def take(self, step: int) -> None:
        """Keep the weights as they are, if it is time; where there is no room for more, the least missed one goes."""
        if not self.due(step):
            return
        save_weights(self._folder.snapshot_path(step), self._model, step)
        kept = [step for step, _ in self._folder.snapshots()]
        while len(kept) > max(1, self._most):
            gone = least_missed(kept)
            kept.remove(gone)
            self._folder.snapshot_path(gone).unlink(missing_ok=True)


def least_missed(steps: list[int]) -> int:
    """The step whose neighbours lie closest together, counted in factors; never the last, nor the first of several."""
    if len(steps) < 3:
        return steps[0]
    gaps = {
        step: math.log((after + 1) / (before + 1))
        for before, step, after in zip(steps, steps[1:], steps[2:], strict=False)
    }
    return min(gaps, key=gaps.get)
