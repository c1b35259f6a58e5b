"""The time shares of a run, and advice on speed with its expected effect."""

import pytest

from core.config import RunConfig
from core.presets import preset
from core.training.cost import CostCoefficients, MachineSpeed, parts_of_a_step, step_seconds, tokens_of_a_step
from core.training.gauge import ADVICE, PARTS, gauge
from core.training.pace import ENOUGH, SKIPPED, Pace, TimeLeft

COEFFICIENTS = CostCoefficients(
    step_seconds=1e-4,
    layer_seconds=1e-3,
    flop_seconds=5e-12,
    moved_seconds=7e-10,
    update_moved_seconds=7e-10,
    update_flop_seconds=5e-12,
)
SPEED = MachineSpeed(
    device="cpu", threads=1, float32=COEFFICIENTS, bfloat16=COEFFICIENTS.replace({"flop_seconds": 2e-12}),
    random_seconds=4e-9, token_seconds=1e-4, token_layer_seconds=1e-4, peak={"float32": 2.5e11, "bfloat16": 1e12},
)  # fmt: skip
TINY = preset("gpt-tiny")


def pace_of(config: RunConfig, precision: str = "float32", **more: float) -> Pace:
    """Return the pace of a run whose steps take twice the estimated time."""
    rest = {"waiting": 0.0, "evaluation": 0.0, "sampling": 0.0, "logging": 0.0} | more
    return Pace(training=2 * step_seconds(config, 65, SPEED, precision), **rest)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ["bigram", "gpt-tiny", "gpt-fast", "gpt-lecture"])
def test_time_shares_sum_to_one_for_each_preset_and_precision(name, precision):
    config = preset(name)
    pace = pace_of(config, precision, waiting=1e-5, evaluation=1e-3, sampling=2e-3, logging=3e-3)
    measured = gauge(config, 65, precision, pace, SPEED)
    assert sum(measured.shares.values()) == pytest.approx(1)
    assert set(measured.shares) <= set(PARTS)
    assert measured.shares["sampling"] == pytest.approx(2e-3 / pace.whole)
    assert measured.tokens_per_second == pytest.approx(tokens_of_a_step(config) / pace.whole)
    assert ("casting" in measured.shares) == (precision == "bfloat16" and name != "bigram")
    assert ("dropout" in measured.shares) == bool(config.model.dropout)
    assert measured.shares.get("peak", 0.0) == pytest.approx(measured.peak_share)


def test_the_parts_of_a_step_sum_to_its_time():
    assert sum(parts_of_a_step(TINY, 65, SPEED, "bfloat16")) == step_seconds(TINY, 65, SPEED, "bfloat16")


def test_an_unmeasured_machine_shows_only_the_times_measured_by_the_run():
    pace = pace_of(TINY, evaluation=0.1)
    measured = gauge(TINY, 65, "float32", pace, None)
    assert measured.peak_share is None
    assert set(measured.shares) == {"step", "evaluation"}
    assert [each.kind for each in measured.advice] == ["evaluation"]


def test_a_larger_batch_is_advised_if_call_overhead_dominates():
    small = TINY.replace({"train.batch_size": 1})
    advice = {each.kind: each for each in gauge(small, 65, "float32", pace_of(small), SPEED).advice}
    larger = small.replace(advice["batch"].changes)
    seconds = [step_seconds(config, 65, SPEED, "float32") for config in (small, larger)]
    assert advice["batch"].times == pytest.approx(larger.train.batch_size * seconds[0] / seconds[1])
    assert advice["batch"].numbers["after"] == str(larger.train.batch_size)
    large = TINY.replace({"train.batch_size": 256})
    assert "batch" not in {each.kind for each in gauge(large, 65, "float32", pace_of(large), SPEED).advice}


def test_no_batch_that_exceeds_memory_is_advised():
    small = TINY.replace({"train.batch_size": 1})
    assert "batch" not in {each.kind for each in gauge(small, 65, "float32", pace_of(small), SPEED, free=1e6).advice}


def test_frequent_evaluation_is_advised_against_with_its_cost():
    config = TINY.replace({"train.eval_interval": 10})
    step = pace_of(config).training
    pace = pace_of(config, evaluation=3 * step, waiting=step / 2)
    evaluation = next(each for each in gauge(config, 65, "float32", pace, SPEED).advice if each.kind == "evaluation")
    assert evaluation.changes == {"train.eval_interval": 40}
    assert evaluation.times == pytest.approx(4 / (1 + 3 / 4))
    assert ADVICE["evaluation"].format(**evaluation.numbers) == (
        "Evaluate every 10 → 40 steps: 2.3× the tokens per second."
    )


def test_bfloat16_and_no_gradient_accumulation_are_advised_where_faster():
    config = preset("gpt-lecture").replace({"train.batch_size": 8, "train.gradient_accumulation": 8})
    kinds = {each.kind for each in gauge(config, 65, "float32", pace_of(config), SPEED).advice}
    assert "precision" in kinds
    slow = SPEED.model_copy(update={"float32": COEFFICIENTS.replace({"layer_seconds": 0.2})})
    advice = {each.kind: each for each in gauge(config, 65, "float32", pace_of(config), slow).advice}
    assert advice["accumulation"].changes == {"train.gradient_accumulation": 1}


def test_pace_averages_recent_steps_and_amortizes_evaluation_and_sampling():
    left, train = TimeLeft(), TINY.train
    left.evaluation, left.sample = 0.5, 0.2
    for step in range(SKIPPED + ENOUGH):
        assert left.pace(train) is None, step
        left.step(0.03, 0.02, 0.005)
    pace = left.pace(train)
    expected = {"training": 0.02, "waiting": 0.005, "logging": 0.01, "evaluation": 0.005, "sampling": 0.002}
    assert pace.model_dump() == pytest.approx(expected)
    assert pace.whole == pytest.approx(0.037)
    left.changed()
    assert left.pace(train) is None
