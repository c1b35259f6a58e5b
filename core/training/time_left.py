"""How long a run will still take, from its steps, evaluations and samples so far; unknown until they agree."""

from collections import deque

import numpy as np

from core.config import TrainConfig

SKIPPED = 3  # first steps, in which torch compiles kernels and takes its memory
ENOUGH = 12  # steps to judge by
AGREEMENT = 0.2  # by which the earlier and the later half of them may differ
_RECENT = 300  # steps
_OUTLIER = 5  # times the middle step; what took longer was an accident
_BETWEEN = 1.04  # the loop around a step: rows, files, looks at the board's sentence


class TimeLeft:
    """Collects the seconds that each part of training takes."""

    def __init__(self) -> None:
        self._steps: deque[float] = deque(maxlen=_RECENT)
        self._taken = 0
        self._evaluation = self._sample = 0.0

    def step(self, seconds: float) -> None:
        self._taken += 1
        if self._taken > SKIPPED:
            self._steps.append(seconds)

    def evaluation(self, seconds: float) -> None:
        self._evaluation = seconds

    def sample(self, seconds: float) -> None:
        self._sample = seconds

    def changed(self) -> None:
        """A setting has changed: steps may take another time from now on."""
        self._steps.clear()

    def seconds(self, config: TrainConfig, step: int) -> float | None:
        """Return the seconds left after `step`; None until the steps taken agree on how long one takes."""
        if len(self._steps) < ENOUGH:
            return None
        taken = np.array(self._steps)
        taken = np.minimum(taken, _OUTLIER * np.median(taken))
        earlier, later = (half.mean() for half in np.array_split(taken, 2))
        if abs(earlier - later) > AGREEMENT * later:
            return None
        end = config.steps
        evaluations = -(-end // config.eval_interval) - step // config.eval_interval
        samples = -(-end // config.sample_interval) - step // config.sample_interval
        steps = (end - step) * float(taken.mean()) * _BETWEEN
        return steps + evaluations * self._evaluation + samples * self._sample
