import pytest
import torch

from core.config import ModelConfig
from core.interpretability.activations import run_with_cache
from core.lessons.self_attention import (
    attend,
    average_by_loop,
    average_by_matrix,
    average_by_softmax,
    averaging_weights,
    head_matrices,
    max_attention,
    random_scores,
    residual_before_attention,
    softmax_slope,
    softmax_weights,
)
from core.model import build_model

IDS = [3, 1, 4, 1, 5, 9, 2, 6]


@pytest.mark.parametrize(("layer", "head"), [(0, 0), (0, 1), (1, 1)])
def test_hand_computed_attention_matches_the_model(layer, head):
    torch.manual_seed(0)
    model = build_model(ModelConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, init_std=0.3), 11).eval()
    hand = attend(residual_before_attention(model, IDS, layer), *head_matrices(model, layer, head))
    seen = run_with_cache(model, IDS)
    points = {"q": hand.queries, "k": hand.keys, "v": hand.values, "z": hand.out}
    for name, ours in points.items():
        theirs = torch.from_numpy(seen[f"blocks.{layer}.attn.hook_{name}"][:, head])
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        hand.weights, torch.from_numpy(seen[f"blocks.{layer}.attn.hook_pattern"][head]), rtol=1e-4, atol=1e-5
    )


def test_undivided_scores_have_a_standard_deviation_of_sqrt_head_size():
    for size in (4, 64, 1024):
        assert float(random_scores(size, divide=False).std()) == pytest.approx(size**0.5, rel=0.15)
        assert float(random_scores(size, divide=True).std()) == pytest.approx(1, rel=0.15)


def test_wide_heads_saturate_unless_divided():
    narrow, wide, divided = random_scores(4, False), random_scores(1024, False), random_scores(1024, True)
    assert max_attention(narrow) < 0.6 and max_attention(wide) > 0.95 and max_attention(divided) < 0.2


def test_the_softmax_slope_shrinks_with_head_size_unless_scores_are_divided():
    even, sure = torch.zeros(3, 4), torch.tensor([[50.0, 0, 0, 0]])
    assert softmax_slope(even) == pytest.approx(0.75)
    assert softmax_slope(sure) == pytest.approx(0, abs=1e-6)
    plain = [softmax_slope(random_scores(size, divide=False)) for size in (4, 64, 1024)]
    divided = [softmax_slope(random_scores(size, divide=True)) for size in (4, 64, 1024)]
    assert plain[0] > plain[1] > plain[2]
    assert min(divided) > 0.9 > plain[1]


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (8, 2), (40, 5)])
def test_the_loop_matrix_and_softmax_averages_agree(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    expected = x.cumsum(dim=0) / torch.arange(1, len(x) + 1)[:, None]
    for average in (average_by_loop, average_by_matrix, average_by_softmax):
        torch.testing.assert_close(average(x), expected)


def test_equal_scores_give_uniform_causal_weights_and_other_scores_stay_causal():
    torch.testing.assert_close(softmax_weights(torch.full((6, 6), 3.0)), averaging_weights(6))
    weights = softmax_weights(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)))
    assert not weights.triu(1).any()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(6))
