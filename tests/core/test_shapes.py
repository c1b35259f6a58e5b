"""Annotated shapes are checked in tests; `tests.core.fast.test_compiler` checks that they are not elsewhere."""

import pytest
import torch
from beartype import beartype
from jaxtyping import Float, TypeCheckError
from torch import Tensor

from core.config import ModelConfig
from core.interpretability.token_losses import next_token_losses
from core.model import build_model
from tests.shapes import checked_once


def test_a_tensor_of_a_wrong_shape_is_refused():
    with pytest.raises(TypeCheckError, match=r"B T V"):
        next_token_losses(torch.zeros(2, 3, 5), torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize("kind", ["gpt", "bigram"])
def test_models_refuse_mismatched_targets_and_float_ids(kind):
    model = build_model(ModelConfig(kind=kind, n_layer=1, n_head=1, n_embd=8, block_size=8), 5)
    ids = torch.zeros(2, 4, dtype=torch.int64)
    assert model(ids, ids)[0].shape == (2, 4, 5)
    with pytest.raises(TypeCheckError, match="targets"):
        model(ids, ids[:, :3])
    with pytest.raises(TypeCheckError, match="ids"):
        model(ids.float())


def test_a_passed_check_is_repeated_if_a_type_a_shape_or_the_result_differs():
    @checked_once(typechecker=beartype)
    def shortened(x: Float[Tensor, "A B"], by: int) -> Float[Tensor, "A B-{by}"]:  # noqa: F722
        return x[:, lost:]

    for lost in (1, 2):
        assert shortened(torch.zeros(2, 3), lost).shape == (2, 3 - lost)
    for x, by in ((torch.zeros(2, 3), 1), (torch.zeros(2, 3, dtype=torch.int64), 2), (torch.zeros(3), 2)):
        with pytest.raises(TypeCheckError, match="shortened"):
            shortened(x, by)
