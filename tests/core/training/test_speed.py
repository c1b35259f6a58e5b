"""The measured speed of the machine, trials of settings, and the precision chosen from them."""

import numpy as np
import pytest
import torch

from core.config import ModelConfig, RunConfig, TrainConfig
from core.errors import ConfigError
from core.presets import preset
from core.training import speed
from core.training.cost import Correction, CostCoefficients, MachineSpeed, estimate, step_seconds
from core.training.hardware import knows_bfloat16
from core.training.speed import _fit_positive, choose_precision, measure_correction, measure_speed, reduced_config

COEFFICIENTS = CostCoefficients(
    step_seconds=1e-4,
    layer_seconds=1e-3,
    flop_seconds=1e-11,
    moved_seconds=1e-9,
    update_moved_seconds=1e-9,
    update_flop_seconds=5e-12,
)
SPEED = MachineSpeed(
    device="cpu", threads=1, float32=COEFFICIENTS, bfloat16=None,
    random_seconds=1e-9, token_seconds=1e-4, token_layer_seconds=1e-4, peak={"float32": 2e11},
)  # fmt: skip
SMALL = RunConfig(
    model=ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=8),
    train=TrainConfig(batch_size=2, eval_windows=4, sample_length=12),
)


def test_measuring_speed_gives_coefficients_and_restores_torchs_state():
    threads, rng = torch.get_num_threads(), torch.get_rng_state()
    found = measure_speed(threads=1)
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), rng)
    assert (found.device, found.threads) == ("cpu", 1)
    for precision in ("float32", "bfloat16"):
        names = ("gpt-quick", "gpt-tiny", "gpt-lecture")
        quick, tiny, lecture = (step_seconds(preset(name), 80, found, precision) for name in names)
        assert 0 < quick < tiny < lecture
    assert (found.bfloat16 is not None) == knows_bfloat16("cpu")
    assert MachineSpeed.parse(found.to_json()) == found


def test_a_damaged_speed_cache_is_refused():
    with pytest.raises(ConfigError):
        MachineSpeed.parse('{"device": "cpu"')


def test_fit_positive_recovers_known_coefficients():
    amounts = np.array([[1, 1, 10.0], [1, 6, 10], [1, 2, 500], [1, 1, 9000]])
    coefficients = [0.5, 0.2, 0.003]
    assert _fit_positive(amounts, amounts @ coefficients) == pytest.approx(coefficients)


def test_fitted_coefficients_are_never_negative():
    amounts = np.array([[1, 1.0], [1, 2], [1, 3]])
    assert _fit_positive(amounts, np.array([1.0, 4.0, 7.0])) == pytest.approx([0, 30 / 14])


def test_a_small_model_is_tried_in_full():
    assert reduced_config(SMALL, 65, SPEED, "float32") == SMALL


def test_a_large_model_is_tried_as_a_reduced_config_that_runs_in_a_second():
    slice = reduced_config(preset("gpt2"), 65, SPEED, "float32")
    assert step_seconds(slice, 65, SPEED, "float32") <= 1.0 < step_seconds(preset("gpt2"), 65, SPEED, "float32")
    assert (slice.model.n_embd, slice.model.block_size) == (768, 1024)


def test_a_trial_leaves_the_rng_unchanged_and_corrects_estimates_in_both_directions(monkeypatch):
    monkeypatch.setattr(speed, "_TRIAL_SECONDS", 0.05)

    def corrected(times: float) -> Correction:
        scaled = {name: times * coefficient for name, coefficient in COEFFICIENTS.model_dump().items()}
        machine = SPEED.model_copy(update={"float32": CostCoefficients(**scaled)})
        return measure_correction(SMALL, 65, machine, "float32")

    rng = torch.get_rng_state()
    underestimated, overestimated = corrected(0.01), corrected(100)  # so far off that a busy machine changes nothing
    assert torch.equal(torch.get_rng_state(), rng)
    assert underestimated.step > 1 > overestimated.step
    assert underestimated.evaluation > 1 > overestimated.evaluation


@pytest.mark.parametrize("part", ["step", "evaluation", "sampling"])
def test_each_correction_factor_scales_the_estimated_time(part):
    plain, slower = (estimate(SMALL, 65, SPEED, "float32", Correction(**{part: times})).seconds for times in (1.0, 2.0))
    assert slower > plain


def machine(times: float | None) -> MachineSpeed:
    """Return a machine whose bfloat16 is `times` as fast as float32; None means no bfloat16."""

    def coefficients(share: float) -> CostCoefficients:
        return CostCoefficients(**dict.fromkeys(CostCoefficients.model_fields, 0) | {"step_seconds": share})

    return MachineSpeed(
        device="cpu",
        threads=1,
        float32=coefficients(1.0),
        bfloat16=coefficients(1 / times) if times else None,
        random_seconds=0,
        token_seconds=0,
        token_layer_seconds=0,
        peak={"float32": 1.0, "bfloat16": 1.0},
    )


@pytest.mark.parametrize(
    ("times", "precision", "why"),
    [
        (1.94, "bfloat16", "bfloat16: measured to be 1.9 times as fast here for a model of this shape."),
        (1.05, "float32", "hardly be faster"),
        (0.5, "float32", "hardly be faster"),
        (800, "float32", "too busy"),
        (None, "float32", "no instructions"),
    ],
)
def test_bfloat16_is_chosen_only_if_clearly_faster(times, precision, why):
    choice = choose_precision(RunConfig(), machine(times))
    assert choice.precision == precision
    assert why in choice.sentence
