from typing import get_args

import pytest

from core.config import ModelConfig, TrainConfig
from core.model import build_model
from core.training.optimizers import OPTIMIZERS, build_optimizer

TRAIN = TrainConfig(weight_decay=0.1, beta1=0.8, beta2=0.95)


def test_the_settings_offer_every_optimizer():
    assert list(OPTIMIZERS) == list(get_args(TrainConfig.model_fields["optimizer"].annotation))


def test_weight_decay_applies_to_matrices_and_not_to_vectors():
    model = build_model(ModelConfig(n_layer=1, n_head=2, n_embd=8, block_size=4, bias=True), vocab_size=5)
    decays = {
        id(parameter): group["weight_decay"]
        for group in build_optimizer(model, TRAIN).param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        vector = name.endswith(".bias") or ".ln_" in name
        assert decays.pop(id(parameter)) == (0.0 if vector else 0.1), name
    assert not decays  # every parameter occurs once, tied or not


@pytest.mark.parametrize("config", [ModelConfig(kind="bigram", block_size=4), ModelConfig(norm="none", n_layer=1)])
def test_a_model_without_vectors_has_one_parameter_group(config):
    assert len(build_optimizer(build_model(config, vocab_size=5), TRAIN).param_groups) == 1


def test_adamw_uses_the_configured_betas():
    optimizer = build_optimizer(build_model(ModelConfig(kind="bigram"), vocab_size=5), TRAIN)
    assert optimizer.param_groups[0]["betas"] == (0.8, 0.95)
