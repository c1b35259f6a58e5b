"""A mixture of experts against separate feed-forward layers."""

import pytest
import torch

from core.config import ModelConfig
from core.model.gpt import MLP, MixtureOfExperts
from core.training.trainer import Trainer
from tests.core.model.test_gpt import small_gpt, some_ids
from tests.core.training.conftest import SMALL, VOCAB_SIZE

SIZE = {"n_embd": 16, "n_head": 2, "bias": True}


def alone(mixture: MixtureOfExperts, expert: int, activation: str) -> MLP:
    """Return one expert as a separate layer."""
    mlp = MLP(ModelConfig(**SIZE, activation=activation))
    width = mlp.c_proj.in_features
    rows = torch.cat([part[expert * width :][:width] for part in torch.arange(len(mixture.c_fc.weight)).chunk(
        len(mlp.c_fc.weight) // width)])  # fmt: skip
    with torch.no_grad():
        mlp.c_fc.weight.copy_(mixture.c_fc.weight[rows])
        mlp.c_fc.bias.copy_(mixture.c_fc.bias[rows])
        mlp.c_proj.weight.copy_(mixture.c_proj.weight[:, expert * width :][:, :width])
        mlp.c_proj.bias.zero_()
    return mlp


@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize(("experts", "active"), [(1, 1), (4, 1), (4, 2), (3, 3)])
def test_each_token_gets_the_weighted_sum_of_its_top_experts(activation, experts, active):
    torch.manual_seed(0)
    settings = {"mixture_of_experts": True, "n_expert": experts, "n_expert_active": active, "activation": activation}
    mixture = MixtureOfExperts(ModelConfig(**SIZE, **settings)).eval()
    layers = [alone(mixture, expert, activation) for expert in range(experts)]
    x = torch.randn(2, 5, 16)
    out = mixture(x)
    for token, result in zip(x.flatten(0, 1), out.flatten(0, 1), strict=True):
        shares = (mixture.router.weight @ token).softmax(dim=0)
        best = sorted(range(experts), key=lambda expert: -shares[expert])[:active]
        total = sum(shares[expert] for expert in best) if active > 1 else 1
        expected = sum(shares[expert] / total * layers[expert](token[None, None])[0, 0] for expert in best)
        torch.testing.assert_close(result, expected + mixture.c_proj.bias, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixture(x, hook=lambda name, tensor: None), out, rtol=1e-4, atol=1e-5)


def test_the_balance_loss_is_one_for_a_uniform_router_and_trains_the_router():
    model = small_gpt(mixture_of_experts=True).train()
    mixture = model.transformer.h[0].mlp
    torch.nn.init.zeros_(mixture.router.weight)
    model(some_ids())
    assert mixture.take_balance().item() == pytest.approx(1)
    changes = {"model.mixture_of_experts": True, "model.n_expert_active": 1}
    configs = [SMALL.replace(changes | {"model.expert_balance": weight}) for weight in (0.0, 1.0)]
    ids = some_ids(length=300)[0] % VOCAB_SIZE
    trainers = [Trainer(config, ids[:200], ids[200:], VOCAB_SIZE) for config in configs]
    before = trainers[0].model.transformer.h[0].mlp.router.weight.detach().clone()
    assert trainers[0].train_step().loss == trainers[1].train_step().loss
    routers = [trainer.model.transformer.h[0].mlp.router.weight for trainer in trainers]
    assert not torch.equal(*routers) and not torch.equal(routers[0], before)


def test_more_active_experts_than_there_are_is_refused():
    with pytest.raises(ValueError, match="n_expert_active 5 cannot be more than n_expert 4"):
        ModelConfig(mixture_of_experts=True, n_expert_active=5)
