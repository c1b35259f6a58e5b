"""What turns gradients into steps: AdamW for everything, or Muon for the matrices inside the blocks and AdamW else."""

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from core.config import TrainConfig
from core.fast.muon import Muon


def build_optimizer(model: nn.Module, config: TrainConfig) -> "torch.optim.AdamW | Together":
    """The optimizer that the config names; a group's `rate` is the setting that holds its highest learning rate.

    AdamW (Loshchilov and Hutter 2017) over two groups, as in nanoGPT: matrices and embedding tables decay; biases and
    the gains of norms (one dimension) do not: pulling those towards zero would switch channels off. The fused kernel
    makes one pass over each tensor: on two processor cores it takes a third of the time of the plain loop.
    """
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    muon = _muon(parameters, config) if config.optimizer == "muon" else None
    taken = {id(p) for group in muon.param_groups for p in group["params"]} if muon else set()
    rest = [parameter for parameter in parameters.values() if id(parameter) not in taken]
    groups = [
        {"params": [p for p in rest if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group | {"rate": "learning_rate"} for group in groups if group["params"]]
    adamw = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)
    return Together(muon, adamw) if muon else adamw


def _muon(parameters: dict[str, nn.Parameter], config: TrainConfig) -> Muon | None:
    """Muon over the weight matrices of the blocks; None where there are none."""
    inside = {name: p for name, p in parameters.items() if ".h." in name and p.dim() == 2}
    stacked = [p for name, p in inside.items() if "c_attn" in name]  # queries, keys, values
    others = [p for name, p in inside.items() if "c_attn" not in name]
    if not inside:
        return None
    groups = [
        {"params": stacked, "rate": "muon_learning_rate", "parts": 3},
        {"params": others, "rate": "muon_learning_rate"},
    ]
    return Muon(groups, config.muon_learning_rate, config.muon_momentum, config.weight_decay)


def set_learning_rates(optimizer: "torch.optim.Optimizer | Together", config: TrainConfig, fraction: float) -> None:
    """Give every group this fraction of its highest learning rate, as the config has it now."""
    for group in optimizer.param_groups:
        group["lr"] = getattr(config, group["rate"]) * fraction


class Together:
    """Several optimizers, each with parameters of its own, handled as if they were one."""

    def __init__(self, *optimizers: torch.optim.Optimizer):
        self.optimizers = optimizers
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)  # one for all: to be read and written
        for optimizer in optimizers:
            optimizer.state = self.state

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()
