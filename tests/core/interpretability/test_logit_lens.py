import numpy as np
import pytest
import torch

from core.interpretability.activations import PromptError, run_with_cache
from core.interpretability.residual_stream import lens_logits
from tests.core.interpretability.conftest import SWITCHES, VOCAB_SIZE, make, run_with_hooks

IDS = [3, 1, 4, 1, 5, 9]


def by_definition(model, switch):
    """Normalize and unembed the stream after each block in plain lines."""
    recorded = run_with_cache(model, IDS)
    stages = [recorded[f"blocks.{i}.hook_resid_pre"] for i in (0, 1)] + [recorded["blocks.1.hook_resid_post"]]
    parameters = {name: tensor.detach().double().numpy() for name, tensor in model.state_dict().items()}
    found = []
    for x in stages:
        norm = switch.get("norm", "layer")
        if norm == "layer":
            x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
        if norm == "rms":
            x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5)
        if norm != "none":
            x = x * parameters["transformer.ln_f.weight"] + parameters.get("transformer.ln_f.bias", 0)
        scores = x @ parameters["lm_head.weight"].T
        found.append(scores + parameters["bigram.weight"][IDS] if "bigram.weight" in parameters else scores)
    return np.stack(found)


@pytest.mark.parametrize("switch", [*SWITCHES, {"residual": False}], ids=str)
def test_lens_logits_match_their_definition_after_each_block(switch):
    model = make(**switch)
    logits = lens_logits(model, IDS, range(6))
    assert logits.shape == (3, 6, VOCAB_SIZE) and logits.dtype == np.float32
    np.testing.assert_allclose(logits, by_definition(model, switch), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(logits[-1], run_with_hooks(model, IDS), rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(lens_logits(model, IDS, [5, 2]), logits[:, [5, 2]])


def test_a_bigram_model_has_one_stage(bigram):
    logits = lens_logits(bigram, IDS, range(6))
    assert logits.shape == (1, 6, VOCAB_SIZE)
    expected = bigram.table()[torch.tensor(IDS)]
    np.testing.assert_allclose(torch.from_numpy(logits[0]).softmax(dim=-1), expected, rtol=1e-5)


def test_an_empty_prompt_is_refused(gpt):
    with pytest.raises(PromptError, match="write at least one character"):
        lens_logits(gpt, [], [])
