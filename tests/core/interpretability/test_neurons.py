import numpy as np
import pytest
import torch

from core.interpretability import finish
from core.interpretability.activations import PartError, PromptError, run_with_cache
from core.interpretability.neurons import logit_effects, neuron_steps, top_activations
from tests.core.interpretability.conftest import SWITCHES, VOCAB_SIZE, make, run_with_hooks

WINDOWS = torch.randint(VOCAB_SIZE, (30, 13), generator=torch.Generator().manual_seed(1))
IDS = [3, 1, 4, 1, 5, 9]


@pytest.mark.parametrize("layer", [0, 1])
def test_top_activations_finds_the_strongest_positions_of_all_windows(gpt, layer):
    along = [run_with_cache(gpt, window[:-1], [f"blocks.{layer}.mlp.hook_post"]) for window in WINDOWS]
    values = np.stack([next(iter(recorded.values()))[:, 17] for recorded in along])  # (N, T)
    order = np.argsort(-values.max(axis=1), kind="stable")[:4]
    found = finish(top_activations(gpt, WINDOWS, layer, 17, top=4))
    assert [place.window for place in found] == order.tolist()
    assert [place.position for place in found] == values[order].argmax(axis=1).tolist()
    np.testing.assert_allclose([place.value for place in found], values[order].max(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0].values, values[order[0]], rtol=1e-4, atol=1e-5)


def test_top_activations_scans_a_long_text_in_batches(gpt, monkeypatch):
    monkeypatch.setattr("core.interpretability.activations._MAX_TOKENS_AT_ONCE", 84)  # seven windows
    whole = finish(top_activations(gpt, WINDOWS, 0, 3, top=5))
    steps = list(top_activations(gpt, WINDOWS, 0, 3, top=5))
    assert [step.done for step in steps] == [7, 14, 21, 28, 30] and steps[0].total == 30
    assert [place.window for place in steps[-1].result] == [place.window for place in whole]
    assert len(steps[0].result) == 5
    assert len(finish(top_activations(gpt, WINDOWS[:2], 0, 3, top=5))) == 2


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_logit_effects_match_the_logit_change_when_the_neuron_fires(switch):
    """Raise one neuron of the last layer by one; with the norm's scale fixed, the logits change by its effects."""
    model = make(**switch)
    if not model.config.feed_forward:
        with pytest.raises(PartError, match="this one has none"):
            logit_effects(model, 1, 5)
        return
    recorded = run_with_cache(model, IDS)
    before, stream = recorded["blocks.1.mlp.hook_post"], recorded["blocks.1.hook_resid_post"][-1].astype(np.float64)
    after = before.copy()
    after[-1, 5] += 1
    moved = {}
    run_with_hooks(model, IDS, {
        "blocks.1.mlp.hook_post": lambda tensor: torch.tensor(after)[None],
        "blocks.1.hook_resid_post": lambda tensor: moved.update(stream=tensor[0, -1].double().numpy()),
    })  # fmt: skip
    weight = 1.0 if switch.get("norm") == "none" else model.transformer.ln_f.weight.detach().double().numpy()
    step = moved["stream"] - stream
    if switch.get("norm", "layer") == "layer":
        step = step - step.mean()
    gained = model.lm_head.weight.detach().double().numpy() @ (step * weight)
    np.testing.assert_allclose(logit_effects(model, 1, 5).logits, gained - gained.mean(), rtol=1e-2, atol=1e-3)


def test_logit_effects_list_the_most_raised_and_lowered_tokens(gpt):
    writing = logit_effects(gpt, 0, 5, count=3)
    order = np.argsort(writing.logits)
    assert [token for token, _ in writing.raised] == order[::-1][:3].tolist()
    assert [token for token, _ in writing.lowered] == order[:3].tolist()
    assert writing.raised[0][1] == writing.logits.max() and writing.lowered[0][1] == writing.logits.min()
    assert len(logit_effects(gpt, 0, 5, count=99).raised) == VOCAB_SIZE


def test_without_residual_connections_only_last_layer_neurons_have_logit_effects():
    model = make(residual=False)
    assert logit_effects(model, 1, 0).logits.shape == (VOCAB_SIZE,)
    with pytest.raises(PartError, match="Choose a neuron of the last layer"):
        logit_effects(model, 0, 0)


@pytest.mark.parametrize(("layer", "neuron"), [(2, 0), (0, 64), (0, -1)])
def test_a_missing_neuron_is_refused_by_name(gpt, layer, neuron):
    for look in (
        lambda: logit_effects(gpt, layer, neuron),
        lambda: finish(top_activations(gpt, WINDOWS, layer, neuron)),
    ):
        with pytest.raises(ValueError, match=f"no neuron {neuron + 1} in layer {layer + 1}"):
            look()


STEPPED = [
    {}, {"bias": True}, {"activation": "swiglu"}, {"activation": "relu2"}, {"mixture_of_experts": True, "bias": True},
]  # fmt: skip


@pytest.mark.parametrize("switch", STEPPED, ids=str)
def test_neuron_steps_match_the_model(switch):
    model = make(**switch)
    at = run_with_cache(model, [3, 1, 4, 1])
    steps = neuron_steps(model, [3, 1, 4, 1], layer=1, neuron=7, position=2)
    assert steps.products.sum() + steps.bias == pytest.approx(steps.before, abs=1e-4)
    assert steps.after == pytest.approx(float(at["blocks.1.mlp.hook_post"][2, 7]), abs=1e-5)
    nonlinear = {"swiglu": lambda x: x * steps.gate, "relu2": lambda x: max(x, 0) ** 2}.get(switch.get("activation"))
    expected = nonlinear(steps.before) if nonlinear else float(torch.nn.functional.gelu(torch.tensor(steps.before)))
    assert steps.after == pytest.approx(steps.expert_weight * expected, abs=1e-4)
    width = at["blocks.1.mlp.hook_post"].shape[-1]
    alone = [neuron_steps(model, [3, 1, 4, 1], 1, neuron, 2).added for neuron in range(width)]
    bias = model.transformer.h[1].mlp.c_proj.bias
    whole = sum(alone) + (0 if bias is None else bias.detach().numpy())
    assert whole == pytest.approx(at["blocks.1.hook_mlp_out"][2], abs=1e-3)


def test_neuron_steps_at_a_missing_token_are_refused(gpt):
    with pytest.raises(PromptError, match="no token 5"):
        neuron_steps(gpt, [3, 1, 4, 1], layer=0, neuron=0, position=4)
