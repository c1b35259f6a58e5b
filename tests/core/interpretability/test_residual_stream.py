import numpy as np
import pytest
import torch

from core.errors import NotFiniteError
from core.interpretability.activations import PromptError, compute_logits, run_with_cache
from core.interpretability.patching import answers
from core.interpretability.residual_stream import (
    lens_logits,
    next_token_probabilities,
    residual_stream,
    run_blocks,
    stream_at,
    unembed,
)
from core.interpretability.token_losses import token_predictions, window_losses
from tests.core.interpretability.conftest import SWITCHES, VOCAB_SIZE, make, run_with_hooks

IDS = [3, 1, 4, 1, 5, 9]
PIECES = torch.tensor([IDS, IDS[::-1]])


def test_the_residual_stream_is_recorded_before_and_after_each_block(gpt):
    stream, recorded = residual_stream(gpt, IDS), run_with_cache(gpt, IDS)
    assert stream.shape == (3, 6, 16)
    np.testing.assert_array_equal(stream[0], recorded["blocks.0.hook_resid_pre"])
    np.testing.assert_array_equal(stream[1], recorded["blocks.0.hook_resid_post"])
    np.testing.assert_array_equal(stream[2], recorded["blocks.1.hook_resid_post"])


@pytest.mark.parametrize("switch", [*SWITCHES, {"residual": False}, {"post_norm": True}, {"kind": "bigram"}], ids=str)
@pytest.mark.parametrize("stage", [0, 1, 2])
def test_running_the_blocks_from_any_stage_gives_the_models_logits(switch, stage):
    model = make(**switch)
    stage = 0 if switch.get("kind") == "bigram" else stage
    logits = unembed(model, run_blocks(model, stream_at(model, PIECES, stage), stage), PIECES)
    torch.testing.assert_close(logits, compute_logits(model, PIECES), rtol=1e-4, atol=1e-4)


def test_the_hook_is_called_only_in_the_remaining_blocks(gpt):
    names = []
    run_blocks(gpt, stream_at(gpt, PIECES, 1), 1, hook=lambda name, tensor: names.append(name))
    assert names[0] == "blocks.1.hook_resid_pre" and names[-1] == "blocks.1.hook_resid_post"


def test_a_bigram_models_stream_is_its_logits(bigram):
    stream = residual_stream(bigram, IDS)
    assert stream.shape == (1, 6, VOCAB_SIZE)
    np.testing.assert_array_equal(stream[0], compute_logits(bigram, torch.tensor([IDS]))[0])


@pytest.mark.parametrize("kind", ["gpt", "bigram"])
def test_next_token_probabilities_are_the_softmax_of_the_last_logits(kind, request):
    model = request.getfixturevalue(kind)
    probabilities = next_token_probabilities(model, [3, 1, 4])
    expected = model(torch.tensor([[3, 1, 4]]))[0][0, -1].softmax(dim=-1).detach().numpy()
    assert probabilities.shape == (VOCAB_SIZE,)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)
    assert probabilities.sum() == pytest.approx(1)


def test_next_token_probabilities_use_only_the_last_context(gpt):
    ids = [i % VOCAB_SIZE for i in range(30)]
    np.testing.assert_array_equal(next_token_probabilities(gpt, ids), next_token_probabilities(gpt, ids[-12:]))


def test_an_empty_prompt_is_refused(gpt):
    with pytest.raises(PromptError, match="write at least one character"):
        next_token_probabilities(gpt, [])


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 3e38])
def test_non_finite_logits_are_refused_by_every_function_that_shows_probabilities(bad):
    model = make(tie_weights=False)
    with torch.no_grad():
        model.lm_head.weight[:, :] = bad  # 3e38 is finite, but the logits are not
    windows = torch.tensor([[3, 1, 4, 1]])
    for show in (
        lambda: next_token_probabilities(model, [3, 1, 4]),
        lambda: token_predictions(model, [3, 1, 4]),
        lambda: window_losses(model, windows),
        lambda: window_losses(model, windows, lambda name, tensor: None),
        lambda: lens_logits(model, [3, 1, 4], [0, 1, 2]),
        lambda: run_with_hooks(model, [3, 1, 4]),
        lambda: answers(model, [3, 1, 4], [3, 2, 4]),
    ):
        with pytest.raises(NotFiniteError, match="logits that are not finite"):
            show()
