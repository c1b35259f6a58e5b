import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import TrainConfig
from core.presets import PRESETS, preset
from core.training.schedule import learning_rate_at, schedule_notice

CONFIG = TrainConfig(steps=1000, warmup_steps=100, learning_rate=1e-3, min_learning_rate=1e-4)


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (0, 1e-3 * 1 / 101),
        (49, 1e-3 * 50 / 101),
        (99, 1e-3 * 100 / 101),
        (100, 1e-3),
        (325, 1e-4 + 0.9e-3 * (1 + math.cos(math.pi / 4)) / 2),
        (550, 5.5e-4),
        (1000, 1e-4),
        (5000, 1e-4),
    ],
)
def test_the_cosine_schedule_warms_up_and_decays_along_half_a_cosine(step, expected):
    assert learning_rate_at(step, CONFIG) == pytest.approx(expected, rel=1e-12)


def test_the_linear_schedule_decays_linearly():
    line = CONFIG.replace({"schedule": "linear"})
    rates = [learning_rate_at(step, line) for step in (49, 100, 325, 550, 1000, 5000)]
    assert rates == pytest.approx([1e-3 * 50 / 101, 1e-3, 7.75e-4, 5.5e-4, 1e-4, 1e-4])
    to_nothing = line.replace({"min_learning_rate": 0.0, "decay_steps": 900})
    assert [learning_rate_at(step, to_nothing) for step in (500, 900)] == pytest.approx([5e-4, 0])


def test_the_wsd_schedule_decays_only_over_its_last_share():
    stable = CONFIG.replace({"schedule": "wsd", "decay_share": 0.2})
    rates = [learning_rate_at(step, stable) for step in (49, 100, 500, 800, 900, 1000, 5000)]
    assert rates == pytest.approx([1e-3 * 50 / 101, 1e-3, 1e-3, 1e-3, 5.5e-4, 1e-4, 1e-4])
    line = CONFIG.replace({"schedule": "linear"})
    falling = line.replace({"schedule": "wsd", "decay_share": 1.0})  # at most the steps after the warm-up
    assert [learning_rate_at(step, falling) for step in range(1001)] == pytest.approx(
        [learning_rate_at(step, line) for step in range(1001)]
    )


def test_a_constant_schedule_still_warms_up():
    constant = CONFIG.replace({"schedule": "constant"})
    assert learning_rate_at(9, constant) == pytest.approx(1e-3 * 10 / 101)
    assert [learning_rate_at(step, constant) for step in (100, 700, 2000)] == [1e-3] * 3


def test_without_warmup_the_first_step_has_the_highest_rate():
    assert learning_rate_at(0, CONFIG.replace({"warmup_steps": 0})) == 1e-3


@given(steps=st.integers(1, 3000), warmup=st.integers(0, 3000), at=st.integers(0, 6000))
def test_the_learning_rate_is_always_positive_and_at_most_the_highest(steps, warmup, at):
    config = CONFIG.replace({"steps": steps, "warmup_steps": warmup})
    assert 0 < learning_rate_at(at, config) <= config.learning_rate


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd"])
def test_a_final_rate_above_the_highest_leaves_the_rate_constant(schedule):
    config = TrainConfig(steps=50, warmup_steps=0, learning_rate=1e-3, min_learning_rate=6e-3, schedule=schedule)
    assert {learning_rate_at(step, config) for step in range(60)} == {1e-3}


@pytest.mark.parametrize("name", PRESETS)
def test_the_schedule_of_a_preset_fits_its_own_length(name):
    assert schedule_notice(preset(name).train) is None


def test_a_warmup_too_long_for_the_run_is_reported_with_one_that_fits():
    config = preset("gpt-tiny").replace({"train.steps": 40}).train
    sentence, numbers = schedule_notice(config)
    assert sentence.format(**numbers).endswith("Set the warm-up to 4 steps (train.warmup_steps=4).")
    assert max(learning_rate_at(step, config) for step in range(40)) < 0.4 * config.learning_rate
    fitting = preset("gpt-tiny").replace({"train.steps": 40, "train.warmup_steps": numbers["fitting"]}).train
    assert schedule_notice(fitting) is None
    assert learning_rate_at(39, fitting) < 0.15 * config.learning_rate


def test_a_decay_that_ends_after_the_run_is_reported():
    config = TrainConfig(steps=1000, decay_steps=2000)
    assert "falls until step 2000, but the run ends at step 1000" in schedule_notice(config)[0].format(
        **schedule_notice(config)[1]
    )
    assert schedule_notice(TrainConfig(steps=1000, decay_steps=2000, schedule="constant")) is None
