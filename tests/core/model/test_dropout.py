"""Dropout on the processor: PyTorch's, from fewer throws."""

import pytest
import torch

from core.model.gpt import Dropout


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_share_is_blanked_and_the_rest_makes_up_for_it(share, dtype):
    torch.manual_seed(0)
    kept = Dropout(share)(torch.ones(401, 1003, dtype=dtype))  # no multiple of four
    assert (kept == 0).float().mean() == pytest.approx(share, abs=4 * (share * (1 - share) / kept.numel()) ** 0.5)
    assert kept.max().item() == pytest.approx(1 / (1 - share), rel=0.005)
    assert len(kept.unique()) == 2


def test_neighbours_are_blanked_independently():
    torch.manual_seed(0)
    kept = (Dropout(0.5)(torch.ones(400_000)) != 0).float() - 0.5
    for distance in range(1, 9):
        assert abs((kept[distance:] * kept[:-distance]).mean() * 4) < 0.01


def test_gradients_pass_where_numbers_did():
    x = torch.randn(50, 7, requires_grad=True)
    y = Dropout(0.3)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad * x, y)


def test_without_training_or_without_a_share_nothing_happens():
    x = torch.randn(9)
    assert torch.equal(Dropout(0.5).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)


def test_a_compiled_layer_blanks_the_same_share():
    torch.manual_seed(0)
    kept = torch.compile(Dropout(0.25), backend="eager")(torch.ones(40_000))
    assert (kept == 0).float().mean() == pytest.approx(0.25, abs=0.01)
