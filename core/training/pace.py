"""The pace of a run during training: what it spends its time on, and the time left.

This module does not import torch, because a run's status contains a pace.
"""

import math
import time

from core.config import TrainConfig
from core.settings import Config

SLOWED = 1.2  # times as long as on an idle machine, from which users are told
SKIPPED = 3  # first steps, in which torch compiles kernels and allocates its memory
ENOUGH = 12  # fewest steps for an estimate
_CERTAIN = 0.1  # the time left is shown once the relative standard error of a step's mean seconds is below this
_RECENT = 15.0  # seconds over which steps are averaged
_FEWEST = 30  # fewest steps averaged


class Pace(Config):
    """The seconds a run takes per step, by activity; rarer activities are spread over the steps between them."""

    training: float  # the training step itself
    waiting: float  # the part of it in which other programs had the processor
    evaluation: float
    sampling: float
    logging: float  # all other writing: metrics, probes, snapshots, checkpoints, health

    @property
    def whole(self) -> float:
        return self.training + self.evaluation + self.sampling + self.logging

    @property
    def slowdown(self) -> float:
        """Duration of the run relative to that without other programs."""
        return self.whole / max(1e-9, self.whole - self.waiting)


class TimeLeft:
    """Estimates a run's remaining time and pace from its recent steps, last evaluation and last sample."""

    def __init__(self, waited: float = 0.0) -> None:
        self._skip = SKIPPED
        self.evaluation = self.sample = 0.0  # seconds of the last one
        self.waited = waited  # seconds of all steps in which they did not compute
        self.changed()

    def step(self, seconds: float, training: float = 0.0, waiting: float = 0.0) -> None:
        """Record a step with everything written after it, except an evaluation or a sample.

        `training` is the part of `seconds` taken by the step itself, `waiting` the part in which it did not compute.
        """
        if self._skip:
            self._skip -= 1
            return
        # Sums with exponential decay: a step 15 seconds ago weighs a third. Rare long steps count in full, because
        # they take most of the time on a machine shared with other programs.
        keep = max(math.exp(-seconds / _RECENT), 1 - 1 / _FEWEST)
        self._taken += 1
        self.waited += waiting
        self._weights = keep * self._weights + 1
        self._sum = keep * self._sum + seconds
        self._squares = keep * self._squares + seconds**2
        self._training = keep * self._training + training
        self._waiting = keep * self._waiting + waiting

    def changed(self) -> None:
        """Forget the steps so far: after a setting change, steps may be longer or shorter."""
        self._taken = 0
        self._weights = self._sum = self._squares = self._training = self._waiting = 0.0
        self._is_known = False

    def pace(self, config: TrainConfig) -> Pace | None:
        """Return the seconds per step, by activity; None before ENOUGH steps."""
        if self._taken < ENOUGH:
            return None
        training = self._training / self._weights
        return Pace(
            training=training,
            waiting=min(training, self._waiting / self._weights),
            evaluation=self.evaluation / config.eval_interval,
            sampling=self.sample / config.sample_interval,
            logging=max(0.0, self._sum / self._weights - training),
        )

    def seconds(self, config: TrainConfig, step: int) -> float | None:
        """Return the seconds left after `step`; None until the mean step time is known accurately enough."""
        if self._taken < ENOUGH:
            return None
        mean = self._sum / self._weights
        variance = max(0.0, self._squares / self._weights - mean**2)
        self._is_known = self._is_known or math.sqrt(variance / self._taken) <= _CERTAIN * mean
        if not self._is_known:
            return None
        end = config.steps
        evaluations = -(-end // config.eval_interval) - step // config.eval_interval
        samples = -(-end // config.sample_interval) - step // config.sample_interval
        return (end - step) * mean + evaluations * self.evaluation + samples * self.sample


class Stopwatch:
    """Stopwatch for the seconds that a run trains, without pauses."""

    def __init__(self, before: float):
        self._before = before  # seconds until the last `halt`
        self._since: float | None = None

    def go(self) -> None:
        self._since = self._since or time.monotonic()

    def halt(self) -> None:
        self._before, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        return self._before + (time.monotonic() - self._since if self._since else 0.0)
