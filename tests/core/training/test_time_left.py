"""The time left is told within 25 % or not at all, whatever the run is made of."""

import numpy as np
import pytest

from core.config import TrainConfig
from core.training.time_left import ENOUGH, TimeLeft

# Seconds of: the first steps, which are slow; a usual step; an evaluation; a sample; and how much steps vary.
SHAPES = {
    "a compiled model": ([45.0, 3.0], 0.11, 2.0, 0.8, 0.05),
    "a small one": ([0.4, 0.05], 0.004, 0.05, 0.15, 0.3),
    "slow steps": ([9.0, 6.0], 5.0, 40.0, 12.0, 0.02),
    "long evaluations": ([0.1], 0.02, 6.0, 0.2, 0.1),
    "a shared machine": ([0.5], 0.05, 0.4, 0.5, 0.8),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_told_is_within_25_percent(shape, seed):
    first, usual, evaluation, sample, spread = SHAPES[shape]
    config, rng = TrainConfig(steps=600, eval_interval=50, sample_interval=100), np.random.default_rng(seed)
    steps = usual * rng.gamma(1 / spread**2, spread**2, config.steps)
    steps[: len(first)] = first
    done = np.arange(1, config.steps + 1)
    parts = steps + evaluation * (done % 50 == 0) + sample * (done % 100 == 0)
    time_left, told = TimeLeft(), []
    time_left.evaluation(evaluation)
    time_left.sample(sample)
    for step, seconds in enumerate(steps, start=1):
        time_left.step(seconds)
        left = time_left.seconds(config, step)
        if left is not None and step <= 0.9 * config.steps:
            told.append(step)
            assert left == pytest.approx(sum(parts[step:]), rel=0.25)
    assert told and told[0] <= config.steps / 2


def test_nothing_is_told_before_there_is_something_to_judge_by_and_after_a_change():
    time_left, config = TimeLeft(), TrainConfig(steps=100)
    for step in range(1, ENOUGH + 3):
        time_left.step(1.0)
        assert time_left.seconds(config, step) is None
    time_left.step(1.0)
    assert time_left.seconds(config, 15) == pytest.approx(85, rel=0.05)
    time_left.changed()
    assert time_left.seconds(config, 15) is None
