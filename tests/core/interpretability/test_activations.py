import numpy as np
import pytest
import torch

from core.interpretability import Progress, finish
from core.interpretability.activations import (
    PromptError,
    compute_logits,
    rows_at_once,
    run_batch_with_cache,
    run_with_cache,
)
from tests.core.interpretability.conftest import VOCAB_SIZE, make, run_with_hooks

IDS = [3, 1, 4, 1, 5, 9]


def test_without_hooks_the_logits_are_the_models_own(gpt):
    expected = gpt(torch.tensor([IDS]))[0][0].detach().numpy()
    np.testing.assert_array_equal(run_with_hooks(gpt, IDS), expected)


@pytest.mark.parametrize("as_ids", [list, tuple, np.array, torch.tensor])
def test_token_ids_may_be_a_list_tuple_array_or_tensor(gpt, as_ids):
    assert run_with_hooks(gpt, as_ids(IDS)).shape == (6, VOCAB_SIZE)


def test_cached_activations_have_their_documented_shapes(gpt):
    recorded = run_with_cache(gpt, IDS)
    assert recorded["hook_embed"].shape == recorded["blocks.1.hook_resid_post"].shape == (6, 16)
    assert recorded["blocks.0.attn.hook_q"].shape == recorded["blocks.0.attn.hook_z"].shape == (6, 2, 8)
    assert recorded["blocks.1.attn.hook_pattern"].shape == (2, 6, 6)
    assert recorded["blocks.0.mlp.hook_post"].shape == (6, 64)
    assert all(array.dtype == np.float32 for array in recorded.values())
    names = list(recorded)
    assert names[0] == "hook_embed" and names[-1] == "ln_final.hook_normalized"


def test_only_the_requested_activations_are_cached(gpt):
    assert list(run_with_cache(gpt, IDS, ["blocks.0.hook_attn_out"])) == ["blocks.0.hook_attn_out"]


def test_the_residual_stream_is_the_sum_of_its_parts(gpt):
    recorded = run_with_cache(gpt, IDS)
    np.testing.assert_allclose(
        recorded["blocks.0.hook_resid_pre"] + recorded["blocks.0.hook_attn_out"] + recorded["blocks.0.hook_mlp_out"],
        recorded["blocks.0.hook_resid_post"],
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_hook_changes_the_logits_and_has_no_lasting_effect(gpt):
    before = run_with_hooks(gpt, IDS)
    after = run_with_hooks(gpt, IDS, {"blocks.0.hook_attn_out": torch.zeros_like})
    assert np.abs(before - after).max() > 1e-3
    np.testing.assert_array_equal(run_with_hooks(gpt, IDS), before)  # the hook has no lasting effect


def test_zeroing_all_block_outputs_leaves_only_the_embedding(gpt):
    silenced = run_with_hooks(
        gpt, IDS, {f"blocks.{i}.{name}": torch.zeros_like for i in (0, 1) for name in ("hook_attn_out", "hook_mlp_out")}
    )
    stream = gpt.transformer.wte.weight[IDS] + gpt.transformer.wpe.weight[: len(IDS)]
    expected = gpt.lm_head(gpt.transformer.ln_f(stream)).detach().numpy()
    np.testing.assert_allclose(silenced, expected, rtol=1e-4, atol=1e-4)


def test_a_hook_that_returns_none_changes_nothing(gpt):
    np.testing.assert_allclose(
        run_with_hooks(gpt, IDS, {"hook_embed": lambda tensor: None}), run_with_hooks(gpt, IDS), rtol=1e-4, atol=1e-4
    )


def test_hooks_work_on_a_bigram_model(bigram):
    assert not run_with_hooks(bigram, IDS, {"hook_embed": torch.zeros_like}).any()
    assert list(run_with_cache(bigram, IDS)) == ["hook_embed"]


def test_run_with_hooks_disables_dropout_and_restores_the_mode():
    model = make(dropout=0.5).train()
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    np.testing.assert_array_equal(run_with_hooks(model, IDS), run_with_hooks(model, IDS))  # no dropout
    assert model.training
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())


def test_an_empty_or_too_long_prompt_is_refused(gpt):
    with pytest.raises(PromptError, match="This prompt has 13 tokens, but the model sees only 12 at once. Shorten it"):
        run_with_cache(gpt, [0] * 13)
    with pytest.raises(PromptError, match="write at least one character"):
        run_with_cache(gpt, [])


def test_an_unknown_hook_point_is_refused_by_name(gpt):
    with pytest.raises(ValueError, match=r"does not have the points blocks\.7\.hook_z"):
        run_with_cache(gpt, IDS, ["hook_embed", "blocks.7.hook_z"])


def test_a_cached_activation_of_another_prompt_can_replace_one(gpt):
    other = run_with_cache(gpt, [2, 7, 1, 8, 2, 8])
    expected = run_with_hooks(gpt, [2, 7, 1, 8, 2, 8])
    stream = torch.tensor(other["blocks.1.hook_resid_pre"])[None]
    moved = run_with_hooks(gpt, IDS, {"blocks.1.hook_resid_pre": lambda tensor: stream})
    np.testing.assert_allclose(moved, expected, rtol=1e-4, atol=1e-4)


def test_a_batch_gives_the_same_activations_as_each_sequence_alone(gpt):
    pieces = torch.tensor([IDS, IDS[::-1]])
    names = ["blocks.0.hook_mlp_out", "blocks.1.attn.hook_pattern"]
    together = run_batch_with_cache(gpt, pieces, names)
    logits = compute_logits(gpt, pieces)
    for row, piece in enumerate(pieces):
        alone = run_with_cache(gpt, piece, names)
        for name in names:
            np.testing.assert_allclose(together[name][row], alone[name], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(logits[row], run_with_hooks(gpt, piece), rtol=1e-4, atol=1e-5)


def test_nothing_beyond_the_last_requested_hook_point_is_computed(gpt):
    gpt.transformer.h[1].forward = None  # calling it would fail
    assert list(run_with_cache(gpt, IDS, ["blocks.0.hook_resid_post"])) == ["blocks.0.hook_resid_post"]


def test_rows_at_once_shrinks_for_large_models(gpt):
    assert rows_at_once(gpt, 12) == 4096 // 12
    wide = make(n_embd=2048, n_head=2)
    assert 1 <= rows_at_once(wide, 12) <= 2**25 // (12 * 4 * 2048)
    assert rows_at_once(gpt, 10**6) == 1


def test_finish_returns_the_last_result():
    assert finish(Progress(done, 3, "abc"[:done]) for done in (1, 2, 3)) == "abc"


def test_finish_without_any_step_is_an_error():
    with pytest.raises(ValueError, match="nothing to compute"):
        finish(iter(()))
