"""The arithmetic of one attention weight in words, and the patterns of several heads."""

import math
import re

import numpy as np
import pytest
import torch

from core.config import ModelConfig
from core.interpretability.attention import attention_weight_steps
from core.model import build_model
from explorer.charts.heatmaps import attention_heatmap
from explorer.components.attention_patterns import attention_arcs
from explorer.look_inside.attention_patterns import picture_in_words
from explorer.look_inside.attention_weights import cell_in_words, cell_steps

SHOWN = list("hello")
PATTERN = np.array([[1, 0, 0], [0.62, 0.38, 0], [0.5, 0.1, 0.4]], dtype=np.float32)


def cell(query: int, key: int, **settings):
    torch.manual_seed(3)
    model = build_model(ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=8, **settings), 20)
    return attention_weight_steps(model, [3, 1, 4, 1, 5], 0, 1, query, key)


def test_the_steps_of_an_attention_weight_are_in_order_and_their_numbers_agree():
    found = cell(3, 1)
    steps = cell_steps(found, SHOWN, 3, 1)
    assert [step.title.split(":")[0] for step in steps] == [
        "Query",
        "Key",
        "Dot product",
        "Scaled",
        "Causal mask",
        "Softmax",
        "Values, each times its weight",
        "Sum",
    ]
    (q,), (k,), (products,) = (step.strips for step in steps[:3])
    assert products.values == pytest.approx(np.multiply(q.values, k.values), abs=1e-4)
    (scores,), (shares,) = steps[4].strips, steps[5].strips
    assert scores.values[4] is None and scores.marked == 1
    assert scores.values[1] == pytest.approx(sum(products.values) / 8**0.5, abs=1e-4)
    assert sum(shares.values) == pytest.approx(1, abs=1e-4)
    (z,) = steps[7].strips
    assert np.sum([strip.values for strip in steps[6].strips], axis=0) == pytest.approx(z.values, abs=1e-4)


def test_an_attention_weight_is_described_in_one_sentence():
    found = cell(3, 1)
    sentence = cell_in_words(found, SHOWN, 3, 1)
    assert sentence.startswith("'l' (token 4) attends ") and "of 4 keys" in sentence
    assert "to itself" in cell_in_words(cell(2, 2), SHOWN, 2, 2)
    assert "which comes later" in cell_in_words(cell(0, 4), SHOWN, 0, 4)


@pytest.mark.parametrize("query, key", [(3, 1), (4, 0), (2, 2)])
def test_the_shown_score_is_the_dot_product_over_the_root_of_the_head_size(query, key):
    found = cell(query, key)
    product, size, score = re.fullmatch(
        r"(.+) ÷ √(\d+) ≈ (.+), the score\.", cell_steps(found, SHOWN, query, key)[3].says
    ).groups()
    product, score = (float(number.replace("−", "-")) for number in (product, score))
    assert product / math.sqrt(int(size)) == pytest.approx(score, abs=0.011)


def test_the_sentence_for_the_first_token_says_that_there_is_no_other_key():
    assert cell_in_words(cell(0, 0), SHOWN, 0, 0).endswith("there is no other key.")


def test_the_query_is_shown_before_and_after_normalization_and_rope():
    found = cell(3, 1, position="rope", qk_norm=True)
    labels = [strip.label for strip in cell_steps(found, SHOWN, 3, 1)[0].strips]
    assert labels == ["q before normalization and RoPE", "q, normalized, after RoPE"]


def test_without_mask_and_scale_the_steps_do_not_claim_them():
    steps = cell_steps(cell(0, 4, causal=False, attention_scale=False), SHOWN, 0, 4)
    assert steps[4].title == "All scores of this query" and "does not scale" in steps[3].says


def test_the_smallest_of_many_weighted_values_are_summed_as_others():
    torch.manual_seed(3)
    model = build_model(ModelConfig(n_layer=1, n_head=2, n_embd=16, block_size=16), 20)
    ids = list(range(12))
    found = attention_weight_steps(model, ids, 0, 0, 11, 2)
    strips = cell_steps(found, [str(id) for id in ids], 11, 2)[6].strips
    assert 5 <= len(strips) <= 6 and strips[-1].label.endswith("others")
    assert np.sum([strip.values for strip in strips], axis=0) == pytest.approx(found.z, abs=1e-3)


def test_attention_patterns_are_described_in_words():
    assert picture_in_words(PATTERN, list("abc"), "head 1.1", False) == (
        "In head 1.1, other tokens attend most to 'a' (token 1): 56% on average."
    )
    assert picture_in_words(PATTERN, list("abc"), "layer 2", True) == (
        "After layer 2, the largest share at the last token 'c' comes from 'a', 2 tokens back: 50%."
    )
    assert "single token" in picture_in_words(PATTERN[:1, :1], ["a"], "head 1.1", False)


def test_a_heatmap_of_flow_describes_shares_and_not_attention():
    (cells,) = attention_heatmap(PATTERN, list("a<c"), flow=True).data
    assert cells.text[2][1] == "10% at 'c' comes from '&lt;'"
    assert cells.text[2][2] == "40% at 'c' comes from itself"


def test_arcs_refuse_a_pattern_that_does_not_fit_the_tokens():
    with pytest.raises(ValueError, match="2 x 2 tokens"):
        attention_arcs(np.zeros((3, 3), dtype=np.uint8), ["a", "b"], row=0, key="arcs")
