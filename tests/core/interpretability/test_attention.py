import math

import numpy as np
import pytest
import torch

from core.interpretability.activations import PromptError, run_with_cache
from core.interpretability.attention import (
    attention_patterns,
    attention_weight_steps,
    coarse_patterns,
    describe,
    over_heads,
    rollout,
    to_bytes,
)
from tests.core.interpretability.conftest import SWITCHES, make

IDS = [3, 1, 4, 1, 5, 9]
TOKENS = list("h\ne lo")


@pytest.mark.parametrize("position", ["learned", "sinusoidal", "rope", "none"])
def test_attention_rows_sum_to_one_and_are_causal(position):
    patterns = attention_patterns(make(position=position), IDS)
    assert patterns.shape == (2, 2, 6, 6) and patterns.dtype == np.float32
    np.testing.assert_allclose(patterns.sum(axis=-1), 1, rtol=1e-5)
    assert not np.triu(patterns, k=1).any()
    assert patterns.min() >= 0


def test_without_the_mask_tokens_attend_to_later_ones():
    patterns = attention_patterns(make(causal=False), IDS)
    np.testing.assert_allclose(patterns.sum(axis=-1), 1, rtol=1e-5)
    assert np.triu(patterns, k=1).max() > 0


def test_a_bigram_model_has_no_heads(bigram):
    assert attention_patterns(bigram, IDS).shape == (0, 0, 6, 6)


def test_to_bytes_rounds_a_weight_to_the_nearest_byte(gpt):
    patterns = attention_patterns(gpt, IDS)
    small = to_bytes(patterns)
    assert small.dtype == np.uint8 and small.shape == patterns.shape
    assert np.abs(small / 255 - patterns).max() <= 1 / 510 + 1e-6
    assert to_bytes(np.array([0.0, 1.0, 1.0000001])).tolist() == [0, 255, 255]


@pytest.mark.parametrize(
    ("row", "column", "sentence"),
    [
        (2, None, "'e' looks 62% at 'h', 2 back"),
        (2, 1, "'e' looks 8% at '⏎', 1 back"),
        (2, 2, "'e' looks 30% at itself"),
        (2, 3, "'e' looks 0% at '·', 1 ahead"),
        (3, None, "'·' looks 99% at 'e', 1 back"),
        (3, 0, "'·' looks under 1% at 'h', 3 back"),
    ],
)
def test_describe_puts_an_attention_weight_into_words(row, column, sentence):
    patterns = np.zeros((1, 2, 6, 6), dtype=np.float32)
    patterns[0, 1, 2, :3] = 0.62, 0.08, 0.3
    patterns[0, 1, 3, :3] = 0.004, 0.004, 0.992
    assert describe(patterns, TOKENS, 0, 1, row, column) == sentence


def test_over_heads_returns_the_mean_or_maximum(gpt):
    patterns = attention_patterns(gpt, IDS)
    np.testing.assert_allclose(over_heads(patterns)[1], (patterns[1, 0] + patterns[1, 1]) / 2, rtol=1e-6)
    np.testing.assert_array_equal(over_heads(patterns, "max")[0], np.maximum(patterns[0, 0], patterns[0, 1]))
    with pytest.raises(ValueError, match="how must be 'mean' or 'max', not 'min'"):
        over_heads(patterns, "min")


@pytest.mark.parametrize("residual", [True, False])
def test_rollout_is_the_product_of_the_layer_means(gpt, residual):
    patterns = attention_patterns(gpt, IDS).astype(np.float64)
    mixed = [layer.mean(axis=0) for layer in patterns]
    if residual:
        mixed = [0.5 * layer + 0.5 * np.eye(6) for layer in mixed]
    flow = rollout(patterns, residual)
    assert flow.shape == (2, 6, 6)
    np.testing.assert_allclose(flow[0], mixed[0], rtol=1e-5)
    np.testing.assert_allclose(flow[1], np.linalg.multi_dot(mixed[::-1]), rtol=1e-5)
    np.testing.assert_allclose(flow.sum(axis=-1), 1, rtol=1e-5)


def test_aggregates_of_a_bigram_model_are_empty(bigram):
    patterns = attention_patterns(bigram, IDS)
    for together in (over_heads(patterns), over_heads(patterns, "max"), rollout(patterns)):
        assert together.shape == (0, 6, 6)


@pytest.mark.parametrize("size", [1, 2, 4, 6, 9])
def test_coarse_patterns_match_their_definition(gpt, size):
    """By definition, each cell is the mean over its rows of the sum over its columns."""
    patterns = attention_patterns(gpt, IDS)
    steps = list(coarse_patterns(gpt, IDS, size))
    assert [step.done for step in steps] == [1, 2] and np.isnan(steps[0].result[1]).all()
    coarse = steps[-1].result
    places = [range(start, min(start + size, 6)) for start in range(0, 6, size)]
    assert coarse.shape == (2, 2, len(places), len(places)) and coarse.dtype == np.float32
    for row, looking in enumerate(places):
        for column, looked_at in enumerate(places):
            expected = np.mean([patterns[:, :, q, list(looked_at)].sum(axis=-1) for q in looking], axis=0)
            np.testing.assert_allclose(coarse[:, :, row, column], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(coarse.sum(axis=-1), 1, rtol=1e-5)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_attention_weight_steps_are_consistent_and_match_the_model(switch):
    model = make(**switch)
    layer, head, query, key = 1, 1, 4, 2
    cell = attention_weight_steps(model, IDS, layer, head, query, key)
    recorded = run_with_cache(model, IDS)

    assert cell.q.shape == cell.k.shape == cell.products.shape == cell.z.shape == (8,)
    assert cell.product == pytest.approx(
        sum(float(a) * float(b) for a, b in zip(cell.q, cell.k, strict=True)), rel=1e-4
    )
    scale = 1.0 if switch.get("attention_scale") is False else 1 / math.sqrt(8)
    assert cell.scale == pytest.approx(scale)
    assert cell.score == pytest.approx(cell.product * scale - cell.distance_penalty, rel=1e-5)
    assert cell.row_scores[key] == pytest.approx(cell.score, rel=1e-3, abs=1e-4)
    exponentials = [math.exp(score - max(cell.row_scores)) for score in cell.row_scores]
    total = sum(exponentials) + bool(switch.get("attention_sink")) * math.exp(-max(cell.row_scores))
    np.testing.assert_allclose(cell.row_weights, np.array(exponentials) / total, rtol=1e-4, atol=1e-6)
    assert cell.weight == cell.row_weights[key]
    np.testing.assert_array_equal(cell.row_weights, recorded["blocks.1.attn.hook_pattern"][head, query])
    gate = 1 if cell.gate is None else cell.gate
    np.testing.assert_allclose(gate * cell.weighted_values.sum(axis=0), cell.z, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cell.z, recorded["blocks.1.attn.hook_z"][query, head])


def test_the_mask_hides_later_keys(gpt):
    cell = attention_weight_steps(gpt, IDS, 0, 0, query=1, key=3)
    assert cell.hidden and cell.weight == 0 and np.isneginf(cell.row_scores[3]) and np.isfinite(cell.score)
    cell = attention_weight_steps(make(causal=False), IDS, 0, 0, query=1, key=3)
    assert not cell.hidden and cell.weight > 0


def test_without_rope_the_projected_query_and_key_are_used_unchanged(gpt):
    cell = attention_weight_steps(gpt, IDS, 0, 1, 3, 2)
    assert cell.steps == ()
    block = gpt.transformer.h[0]
    x = torch.tensor(run_with_cache(gpt, IDS)["blocks.0.hook_resid_pre"])
    q, k, v = (block.attn.c_attn.weight.detach() @ block.ln_1(x).detach().T).T.split(16, dim=1)
    np.testing.assert_allclose(cell.q, q[3, 8:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cell.k, k[2, 8:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cell.values, v[:, 8:], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cell.q, cell.q_projected)


def test_rope_rotates_each_pair_by_its_position():
    cell = attention_weight_steps(make(position="rope"), IDS, 0, 0, 3, 2)
    assert cell.steps == ("rotated",)
    for vector, projected, place in ((cell.q, cell.q_projected, 3), (cell.k, cell.k_projected, 2)):
        pairs = projected[:4] + 1j * projected[4:]
        rotated = pairs * np.exp(1j * place * 10_000.0 ** (-np.arange(4) / 4))
        np.testing.assert_allclose(vector, np.concatenate([rotated.real, rotated.imag]), rtol=1e-4, atol=1e-5)


def test_qk_norm_gives_query_and_key_the_same_length():
    cell = attention_weight_steps(make(qk_norm=True), IDS, 0, 0, 3, 2)
    assert cell.steps == ("normalised",)
    np.testing.assert_allclose(cell.q, cell.q_projected / np.sqrt((cell.q_projected**2).mean()), rtol=1e-4)
    np.testing.assert_allclose([np.linalg.norm(cell.q), np.linalg.norm(cell.k)], math.sqrt(8), rtol=1e-4)
    assert attention_weight_steps(make(qk_norm=True, position="rope"), IDS, 0, 0, 3, 2).steps == (
        "normalised",
        "rotated",
    )


def test_attention_weight_steps_are_refused_for_softmax_over_queries():
    with pytest.raises(PromptError, match="depends on its whole column"):
        attention_weight_steps(make(softmax_over="queries"), IDS, 0, 0, 3, 2)


@pytest.mark.parametrize(("query", "key"), [(6, 0), (0, 6), (-1, 0)])
def test_a_missing_attention_cell_is_refused(gpt, query, key):
    with pytest.raises(PromptError, match=f"6 tokens; there is no cell in row {query + 1}, column {key + 1}"):
        attention_weight_steps(gpt, IDS, 0, 0, query, key)
