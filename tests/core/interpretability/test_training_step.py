from copy import deepcopy

import numpy as np
import pytest
import torch
from torch.nn import functional

from core.config import TrainConfig
from core.interpretability.activations import PromptError
from core.interpretability.training_step import training_step
from core.training.optimizers import build_optimizer, set_learning_rates
from tests.core.interpretability.conftest import SWITCHES, make, run_with_hooks

IDS = [3, 1, 4, 1, 5, 9]
CONFIG = TrainConfig(steps=100, warmup_steps=0, learning_rate=1e-3, device="cpu", precision="float32")


def loss_of(logits, ids=IDS):
    return functional.cross_entropy(torch.as_tensor(logits)[:-1], torch.tensor(ids[1:]))


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_gradient_norms_match_autograd(switch):
    model = make(**switch)
    taken = training_step(model, IDS, CONFIG)
    assert taken.before == pytest.approx(float(loss_of(run_with_hooks(model, IDS))), abs=1e-5)
    assert taken.losses.mean() == pytest.approx(taken.before, abs=1e-5)
    model.requires_grad_()
    loss_of(model(torch.tensor([IDS]))[0][0]).backward()
    for name, parameter in model.named_parameters():
        expected = 0.0 if parameter.grad is None else float(parameter.grad.norm())
        assert taken.updates[name].gradient == pytest.approx(expected, rel=1e-3, abs=1e-6), name


@pytest.mark.parametrize("stage", ["blocks.0.hook_resid_pre", "blocks.1.hook_resid_mid", "blocks.1.hook_resid_post"])
def test_stream_gradients_match_finite_differences(stage):
    model = make().double()
    taken = training_step(model, IDS, CONFIG)
    index = {"blocks.0.hook_resid_pre": 0, "blocks.1.hook_resid_mid": 3, "blocks.1.hook_resid_post": 4}[stage]
    gradient = np.zeros((6, 16))
    for token in range(6):
        for place in range(16):
            shift = torch.zeros(1, 6, 16, dtype=torch.float64)
            shift[0, token, place] = 1e-4

            def moved(sign, shift=shift):
                def hook(name, tensor):
                    return tensor + sign * shift if name == stage else None

                with torch.no_grad():
                    return float(loss_of(model(torch.tensor([IDS]), hook=hook)[0][0]))

            gradient[token, place] = (moved(1) - moved(-1)) / 2e-4
    assert taken.stream.shape == (5, 6)
    assert taken.stream[index] == pytest.approx(np.linalg.norm(gradient, axis=1), rel=0.01, abs=1e-4)


def test_a_small_step_lowers_the_loss_and_leaves_the_model_unchanged():
    model = make()
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    taken = training_step(model, IDS, CONFIG.model_copy(update={"learning_rate": 1e-4}))
    assert taken.after < taken.before
    assert all(torch.equal(parameter, weights[name]) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_updates_match_the_optimizer_at_its_highest_learning_rate(optimizer):
    model = make()
    config = CONFIG.model_copy(update={"optimizer": optimizer, "weight_decay": 0.0})
    taken = training_step(model, IDS, config)
    copied = deepcopy(model).requires_grad_()
    loss_of(copied(torch.tensor([IDS]))[0][0]).backward()
    built = build_optimizer(copied, config)
    set_learning_rates(built, config, 1.0)
    built.step()
    before = dict(model.named_parameters())
    for name, parameter in copied.named_parameters():
        moved = float((parameter - before[name]).detach().norm())
        assert taken.updates[name].update == pytest.approx(moved, rel=1e-3), name
        assert taken.updates[name].ratio == taken.updates[name].update / taken.updates[name].weights


def test_a_bigram_step_has_gradients_at_every_token_but_the_last():
    model = make(kind="bigram")
    taken = training_step(model, IDS, CONFIG)
    assert taken.stream.shape == (1, 6) and taken.stream[0, -1] == 0 and (taken.stream[0, :-1] > 0).all()
    assert len(taken.updates) == 1


def test_one_token_is_refused(gpt):
    with pytest.raises(PromptError, match="at least two tokens"):
        training_step(gpt, [3], CONFIG)
