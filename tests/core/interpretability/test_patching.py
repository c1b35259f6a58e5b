import numpy as np
import pytest
import torch

from core.interpretability import finish
from core.interpretability.activations import PartError, PromptError, run_with_cache
from core.interpretability.patching import answers, patch_map
from tests.core.interpretability.conftest import SWITCHES, make, run_with_hooks

CLEAN, CORRUPTED = [3, 1, 4, 1, 5, 9], [3, 7, 4, 1, 5, 2]
SHORT = [3, 1, 4, 9], [3, 7, 4, 2]  # for tests that run the model once per cell


def one_by_one(model, prompts, what, answer, rival):
    """Compute each cell with a separate run."""
    original, changed = prompts
    difference = lambda logits: logits[-1, answer] - logits[-1, rival]  # noqa: E731
    clean, corrupted = (difference(run_with_hooks(model, prompt)) for prompt in prompts)
    names = {
        "stream": ["blocks.0.hook_resid_pre", "blocks.0.hook_resid_post", "blocks.1.hook_resid_post"],
        "attention": ["blocks.0.hook_attn_out", "blocks.1.hook_attn_out"],
        "mlp": ["blocks.0.hook_mlp_out", "blocks.1.hook_mlp_out"],
    }[what]
    recorded = run_with_cache(model, original)
    moved = np.zeros((len(names), len(original)))
    for row, name in enumerate(names):
        for place in range(len(original)):

            def swap(tensor, name=name, place=place):
                tensor = tensor.clone()
                tensor[0, place] = torch.tensor(recorded[name][place])
                return tensor

            moved[row, place] = difference(run_with_hooks(model, changed, {name: swap})) - corrupted
    return moved / (clean - corrupted)


@pytest.mark.parametrize("switch", [*SWITCHES, {"residual": False}], ids=str)
@pytest.mark.parametrize("what", ["stream", "attention", "mlp"])
def test_every_cell_matches_a_run_with_one_patched_activation(switch, what):
    model = make(**switch)
    if what == "mlp" and not model.config.feed_forward:
        with pytest.raises(PartError, match="no feed-forward layer"):
            finish(patch_map(model, *SHORT, what))
        return
    found = finish(patch_map(model, *SHORT, what, answer=0, rival=8))
    expected = one_by_one(model, SHORT, what, 0, 8)
    assert found.moved.dtype == np.float32 and len(found.rows) == len(found.moved)
    np.testing.assert_allclose(found.moved, expected, rtol=2e-3, atol=2e-3)


def test_patching_the_only_difference_restores_all_and_earlier_positions_nothing(gpt):
    """Patching the differing token before block 1 restores everything, and patching earlier positions nothing."""
    moved = finish(patch_map(gpt, CLEAN, CORRUPTED[:5] + CLEAN[5:])).moved  # they differ only at position 1
    assert moved[0] == pytest.approx([0, 1, 0, 0, 0, 0], abs=1e-4)
    assert moved[:, 0] == pytest.approx(0, abs=1e-4)  # causal: position 0 sees no difference
    assert moved[-1] == pytest.approx(
        [0, 0, 0, 0, 0, 1], abs=1e-4
    )  # after the last block only the last position counts


def test_patch_map_yields_named_rows_one_by_one(gpt):
    steps = list(patch_map(gpt, CLEAN, CORRUPTED))
    assert [(step.done, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert np.isnan(steps[0].result.moved[1:]).all() and np.isfinite(steps[-1].result.moved).all()
    assert steps[0].result.rows == ["before block 1", "after block 1", "after block 2"]
    assert finish(patch_map(gpt, CLEAN, CORRUPTED, "mlp")).rows == ["MLP 1", "MLP 2"]
    assert finish(patch_map(gpt, CLEAN, CORRUPTED, "attention")).rows == ["attention 1", "attention 2"]


def test_default_answers_are_the_top_tokens_of_both_prompts(gpt):
    found = answers(gpt, CLEAN, CORRUPTED)
    clean, corrupted = run_with_hooks(gpt, CLEAN)[-1], run_with_hooks(gpt, CORRUPTED)[-1]
    assert found.answer == clean.argmax()
    assert found.rival == next(token for token in np.argsort(-corrupted) if token != found.answer)
    assert found.clean == pytest.approx(clean[found.answer] - clean[found.rival], abs=1e-4)
    assert found.corrupted == pytest.approx(corrupted[found.answer] - corrupted[found.rival], abs=1e-4)


def test_prompts_that_cannot_be_compared_are_refused(gpt):
    with pytest.raises(PromptError, match="must have the same length; these have 6 and 5 tokens"):
        finish(patch_map(gpt, CLEAN, CORRUPTED[:5]))
    with pytest.raises(PromptError, match="same answer, so there is no difference"):
        finish(patch_map(gpt, CLEAN, CLEAN))
    with pytest.raises(PromptError, match="13 tokens, but the model sees only 12"):
        answers(gpt, [0] * 13, [1] * 13)
    with pytest.raises(PromptError, match="at least one character in each"):
        answers(gpt, [], [])
