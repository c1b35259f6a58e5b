import math

import numpy as np
import pytest
import torch

from core.interpretability.activations import PromptError, record
from core.interpretability.attention_steps import arithmetic
from tests.core.interpretability.conftest import SWITCHES, make

IDS = [3, 1, 4, 1, 5, 9]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_line_follows_from_the_one_before_and_ends_at_what_the_model_computed(switch):
    model = make(**switch)
    layer, head, query, key = 1, 1, 4, 2
    cell = arithmetic(model, IDS, layer, head, query, key)
    recorded = record(model, IDS)

    assert cell.q.shape == cell.k.shape == cell.products.shape == cell.z.shape == (8,)
    assert cell.product == pytest.approx(
        sum(float(a) * float(b) for a, b in zip(cell.q, cell.k, strict=True)), rel=1e-4
    )
    scale = 1.0 if switch.get("attention_scale") is False else 1 / math.sqrt(8)
    assert cell.scale == pytest.approx(scale)
    assert cell.score == pytest.approx(cell.product * scale, rel=1e-5)
    assert cell.row_scores[key] == pytest.approx(cell.score, rel=1e-3, abs=1e-4)
    exponentials = [math.exp(score - max(cell.row_scores)) for score in cell.row_scores]
    np.testing.assert_allclose(cell.row_weights, np.array(exponentials) / sum(exponentials), rtol=1e-4, atol=1e-6)
    assert cell.weight == cell.row_weights[key]
    np.testing.assert_array_equal(cell.row_weights, recorded["blocks.1.attn.hook_pattern"][head, query])
    np.testing.assert_allclose(cell.weighted_values.sum(axis=0), cell.z, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cell.z, recorded["blocks.1.attn.hook_z"][query, head])


def test_the_mask_hides_what_comes_later(gpt):
    cell = arithmetic(gpt, IDS, 0, 0, query=1, key=3)
    assert cell.hidden and cell.weight == 0 and np.isneginf(cell.row_scores[3]) and np.isfinite(cell.score)
    cell = arithmetic(make(causal=False), IDS, 0, 0, query=1, key=3)
    assert not cell.hidden and cell.weight > 0


def test_without_rotation_the_projected_query_is_multiplied(gpt):
    cell = arithmetic(gpt, IDS, 0, 1, 3, 2)
    assert cell.steps == ()
    block = gpt.transformer.h[0]
    x = torch.tensor(record(gpt, IDS)["blocks.0.hook_resid_pre"])
    q, k, v = (block.attn.c_attn.weight.detach() @ block.ln_1(x).detach().T).T.split(16, dim=1)
    np.testing.assert_allclose(cell.q, q[3, 8:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cell.k, k[2, 8:], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cell.values, v[:, 8:], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(cell.q, cell.q_projected)


def test_rotation_turns_each_pair_by_its_place():
    cell = arithmetic(make(position="rope"), IDS, 0, 0, 3, 2)
    assert cell.steps == ("rotated",)
    for vector, projected, place in ((cell.q, cell.q_projected, 3), (cell.k, cell.k_projected, 2)):
        pairs = projected[:4] + 1j * projected[4:]
        turned = pairs * np.exp(1j * place * 10_000.0 ** (-np.arange(4) / 4))
        np.testing.assert_allclose(vector, np.concatenate([turned.real, turned.imag]), rtol=1e-4, atol=1e-5)


def test_normalising_gives_query_and_key_the_same_length():
    cell = arithmetic(make(qk_norm=True), IDS, 0, 0, 3, 2)
    assert cell.steps == ("normalised",)
    np.testing.assert_allclose(cell.q, cell.q_projected / np.sqrt((cell.q_projected**2).mean()), rtol=1e-4)
    np.testing.assert_allclose([np.linalg.norm(cell.q), np.linalg.norm(cell.k)], math.sqrt(8), rtol=1e-4)
    assert arithmetic(make(qk_norm=True, position="rope"), IDS, 0, 0, 3, 2).steps == ("normalised", "rotated")


def test_a_weight_that_does_not_come_from_its_row_is_not_explained_as_if_it_did():
    with pytest.raises(PromptError, match="depends on its whole column"):
        arithmetic(make(softmax_over="queries"), IDS, 0, 0, 3, 2)


@pytest.mark.parametrize(("query", "key"), [(6, 0), (0, 6), (-1, 0)])
def test_a_cell_that_is_not_there_is_a_sentence(gpt, query, key):
    with pytest.raises(PromptError, match=f"6 tokens; there is no cell in row {query + 1}, column {key + 1}"):
        arithmetic(gpt, IDS, 0, 0, query, key)
