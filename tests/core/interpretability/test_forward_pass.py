import numpy as np
import pytest
import torch

from core.interpretability.activations import run_with_cache
from core.interpretability.attribution import attribute
from core.interpretability.forward_pass import forward_pass
from tests.core.interpretability.conftest import SWITCHES, make, run_with_hooks

IDS = [3, 1, 4, 1, 5, 9]


@pytest.mark.parametrize("switch", [*SWITCHES, {"bias": True, "norm": "none"}, {"softmax_over": "queries"}], ids=str)
def test_contributions_at_every_position_sum_to_its_logit(switch):
    model = make(**switch)
    logits = run_with_hooks(model, IDS)
    whole = forward_pass(model, IDS)
    assert np.allclose(whole.logits, logits, atol=1e-4)
    assert np.allclose(whole.contributions.total, logits.max(axis=-1), atol=1e-3)


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_contributions_at_each_position_match_attribute(switch):
    model = make(**switch)
    whole = forward_pass(model, IDS).contributions
    for position in (0, 3, 5):
        one = attribute(model, IDS, position=position)
        assert np.allclose(whole.heads[:, :, position].sum(axis=-1), one.heads, atol=1e-4)
        assert np.allclose(whole.mlps[:, position], one.mlps, atol=1e-4)
        parts = (whole.embedding, whole.position, whole.biases, whole.pairs, whole.shift)
        assert [part[position] for part in parts] == pytest.approx(
            [one.embedding, one.position, one.biases, one.pairs, one.shift], abs=1e-4
        )


def test_a_source_tokens_contribution_is_the_logit_lost_without_its_value():
    """Without norms, no scale is fixed: removing one token's value from one head lowers the logit by its share."""
    model = make(norm="none", feed_forward=False, n_layer=1)
    whole = forward_pass(model, IDS)
    query, key, head = 5, 2, 1
    removed = run_with_cache(model, IDS)["blocks.0.attn.hook_pattern"].copy()
    removed[head, query, key] = 0
    best = whole.logits[query].argmax()
    edits = {"blocks.0.attn.hook_pattern": lambda tensor: torch.tensor(removed)[None]}
    without = run_with_hooks(model, IDS, edits)[query, best]
    assert whole.contributions.heads[0, head, query, key] == pytest.approx(
        whole.logits[query, best] - without, abs=1e-4
    )


def test_forward_pass_arrays_have_their_documented_shapes():
    whole = forward_pass(make(n_layer=3), IDS)
    assert whole.embedding.shape == (6, 16) and whole.patterns.shape == (3, 2, 6, 6)
    assert whole.neurons.shape == (3, 6, 64) and whole.norms.shape == (7, 6) and whole.logits.shape == (6, 11)
    assert forward_pass(make(feed_forward=False), IDS).norms.shape == (3, 6)
    assert forward_pass(make(feed_forward=False), IDS).neurons.shape == (2, 6, 0)


def test_forward_pass_norms_are_those_of_the_residual_stream():
    model = make()
    at = run_with_cache(model, IDS)
    names = ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_mid", "blocks.0.hook_resid_post"]
    expected = [np.linalg.norm(at[name], axis=-1) for name in names]
    assert np.allclose(forward_pass(model, IDS).norms[:3], expected)


def test_without_residual_connections_there_are_no_contributions():
    assert forward_pass(make(residual=False), IDS).contributions is None


def test_the_forward_pass_of_a_bigram_is_a_table_lookup(bigram):
    whole = forward_pass(bigram, IDS)
    table = next(bigram.parameters()).detach().numpy()
    assert np.array_equal(whole.embedding, table[IDS]) and np.array_equal(whole.logits, table[IDS])
    assert np.allclose(whole.contributions.total, table[IDS].max(axis=-1))
    assert whole.patterns.shape == (0, 0, 6, 6)
