import pytest
import torch

from core.config import ModelConfig, RunConfig, TrainConfig
from core.presets import preset
from core.training.cost import Correction, estimate
from core.training.speed import MachineSpeed, Prices, step_seconds
from core.training.trial import thin_slice, try_out

PRICES = Prices(step_seconds=1e-4, layer_seconds=1e-3, flop_seconds=1e-11, number_seconds=1e-9)
SPEED = MachineSpeed(
    device="cpu", threads=1, float32=PRICES, bfloat16=None,
    drop_seconds=1e-9, token_seconds=1e-4, token_layer_seconds=1e-4,
)  # fmt: skip
SMALL = RunConfig(
    model=ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=8),
    train=TrainConfig(batch_size=2, eval_windows=4, sample_length=12),
)


def test_what_is_small_is_tried_whole():
    assert thin_slice(SMALL, 65, SPEED, "float32") == SMALL


def test_of_what_is_large_a_slice_is_tried_that_is_short():
    slice = thin_slice(preset("gpt2"), 65, SPEED, "float32")
    assert step_seconds(slice, 65, SPEED, "float32") <= 1.0 < step_seconds(preset("gpt2"), 65, SPEED, "float32")
    assert (slice.model.n_embd, slice.model.block_size) == (768, 1024)


def test_a_trial_leaves_torch_as_it_was_and_shows_what_the_reckoning_missed():
    rng = torch.get_rng_state()
    right = try_out(SMALL, 65, SPEED, "float32")
    assert torch.equal(torch.get_rng_state(), rng)
    # Reckoned with prices ten times as high, the same steps are a tenth of what was expected.
    tenfold = {name: 10 * price for name, price in PRICES.model_dump().items()}
    dear = SPEED.model_copy(update={"float32": Prices(**tenfold)})
    found = try_out(SMALL, 65, dear, "float32")
    assert found.step < right.step
    assert found.measuring < right.measuring


@pytest.mark.parametrize("part", ["step", "measuring", "writing"])
def test_every_part_of_a_correction_lengthens_the_run(part):
    plain, slower = (estimate(SMALL, 65, SPEED, "float32", Correction(**{part: times})).seconds for times in (1.0, 2.0))
    assert slower > plain
