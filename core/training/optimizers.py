"""Optimizers, which turn gradients into weight updates. `OPTIMIZERS` lists them.

Settings that only one optimizer has start with its name (`muon_momentum`).
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from core.config import TrainConfig
from core.fast.muon import Muon

Parameters = dict[str, nn.Parameter]


def adamw(parameters: Parameters, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return AdamW (Loshchilov and Hutter 2017) over two groups, as in nanoGPT.

    Matrices and embedding tables decay; biases and norm gains (one dimension) do not, because decay would switch
    channels off. The fused kernel makes one pass over each tensor, in a third of the loop's time on two CPU cores.
    """
    groups = [
        {"params": [p for p in parameters.values() if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters.values() if p.dim() < 2], "weight_decay": 0.0},
    ]
    groups = [group | {"rate": "learning_rate"} for group in groups if group["params"]]
    fused = all(p.device.type != "meta" for p in parameters.values())  # `core.training.work` counts on meta
    return [torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=fused)]


def muon(parameters: Parameters, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """Return Muon (Jordan 2024) over the weight matrices of the blocks, if there are any, and AdamW over the rest."""
    matrices = {name: p for name, p in parameters.items() if ".h." in name and p.dim() == 2}
    rest = adamw({name: p for name, p in parameters.items() if name not in matrices}, config)
    if not matrices:
        return rest
    stacked = [p for name, p in matrices.items() if "c_attn" in name]  # queries, keys, values
    others = [p for name, p in matrices.items() if "c_attn" not in name]
    groups: list[dict[str, Any]] = [{"params": others, "rate": "muon_learning_rate"}]
    if stacked:
        rows, width = stacked[0].shape  # keys and values have fewer rows than queries if heads share them
        parts = (width, (rows - width) // 2, (rows - width) // 2)
        groups.insert(0, {"params": stacked, "rate": "muon_learning_rate", "parts": parts})
    rates = config.muon_learning_rate, config.muon_momentum, config.weight_decay
    return [Muon(groups, *rates, normalize_rows=config.muon_normalize_rows), *rest]


OPTIMIZERS: dict[str, Callable[[Parameters, TrainConfig], list[torch.optim.Optimizer]]] = {
    "adamw": adamw,
    "muon": muon,
}
"""Functions that return optimizers for all parameters; a group's `rate` names its peak learning rate's setting."""


class CombinedOptimizer:
    """Several optimizers, each with its own parameters, used as one."""

    def __init__(self, *optimizers: torch.optim.Optimizer):
        self.optimizers = optimizers
        self.state: defaultdict[Tensor, dict[str, Tensor]] = defaultdict(dict)  # shared by all of them
        for optimizer in optimizers:
            optimizer.state = self.state

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()


def build_optimizer(model: nn.Module, config: TrainConfig) -> CombinedOptimizer:
    """Return the optimizers that the config names, for the parameters of a model."""
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return CombinedOptimizer(*OPTIMIZERS[config.optimizer](parameters, config))


def set_learning_rates(optimizer: CombinedOptimizer, config: TrainConfig, fraction: float) -> None:
    """Set every group's learning rate to this fraction of its peak in the current config."""
    for group in optimizer.param_groups:
        group["lr"] = getattr(config, group["rate"]) * fraction
