"""Which numbers a run computes in, and the sentence that says so."""

import pytest

from core.config import RunConfig
from core.training.precision import choose_precision
from core.training.speed import MachineSpeed, Prices


def machine(times: float | None) -> MachineSpeed:
    """One whose bfloat16 is so many times as fast; None has none."""

    def prices(share: float) -> Prices:
        return Prices(step_seconds=share, layer_seconds=0, flop_seconds=0, number_seconds=0)

    return MachineSpeed(
        device="cpu",
        threads=1,
        float32=prices(1.0),
        bfloat16=prices(1 / times) if times else None,
        drop_seconds=0,
        token_seconds=0,
        token_layer_seconds=0,
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
def test_bfloat16_is_taken_where_it_is_clearly_faster(times, precision, why):
    choice = choose_precision(RunConfig(), machine(times))
    assert choice.precision == precision
    assert why in choice.sentence
