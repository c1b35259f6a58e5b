"""Muon: orthogonalized momentum (Jordan 2024, https://kellerjordan.github.io/posts/muon/).

It replaces the update of plain momentum by the nearest matrix whose singular values are all equal, found by a few
matrix products (Newton-Schulz) instead of a singular value decomposition.
"""

import math
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from core.training.hardware import knows_bfloat16

_multiplies_bfloat16 = cache(knows_bfloat16)  # needed at every step
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: steep at zero, so that small singular values rise fast
_ITERATIONS = 5


class Muon(torch.optim.Optimizer):
    """The same updates as `torch.optim.Muon`, with matrices of one shape, or its transpose, orthogonalized together.

    On a processor the update of a small model spends its time on calls, not on arithmetic. A group of parameters with
    `"parts": 3` has that many matrices stacked (queries, keys and values in `c_attn`), each orthogonalized by itself.
    """

    def __init__(self, params: Iterable[Any], lr: float = 0.02, momentum: float = 0.95, weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": 1})

    @torch.no_grad()
    # pyrefly: ignore[bad-override]
    def step(self, closure: None = None) -> None:  # noqa: ARG002 (the signature of Optimizer)
        """Update the weights from their gradients."""
        moves = []  # (update to orthogonalize, the part of a weight matrix that it changes, its learning rate)
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
            averages = [self.state[weight]["momentum_buffer"] for weight in weights]
            torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
            if decay := group["lr"] * group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - decay)
            for weight, update in zip(weights, ahead, strict=True):
                for part, part_update in zip(weight.chunk(group["parts"]), update.chunk(group["parts"]), strict=True):
                    moves.append((part_update, part, group["lr"]))
        moves.sort(key=lambda move: sorted(move[0].shape))
        for _, alike in groupby(moves, key=lambda move: sorted(move[0].shape)):
            _apply_together(list(alike))


def _apply_together(moves: list[tuple[Tensor, Tensor, float]]) -> None:
    wide = torch.stack([update.T if update.size(0) > update.size(1) else update for update, _, _ in moves])
    weights: list[Tensor] = []
    steps: list[Tensor] = []
    for orthogonal, (_, weight, lr) in zip(orthogonalize(wide), moves, strict=True):
        tall = weight.size(0) > weight.size(1)
        scale = math.sqrt(weight.size(0) / weight.size(1)) if tall else 1.0  # so that all outputs change equally
        weights.append(weight)
        steps.append((orthogonal.T if tall else orthogonal) * (-lr * scale))
    torch._foreach_add_(weights, steps)


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of (N, rows, columns), rows <= columns, near 1, between about 0.7 and 1.2.

    Computed in bfloat16, whose three digits are enough for a direction, where the device has instructions for it.
    """
    a, b, c = _COEFFICIENTS
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # no singular value is above 1 now
    if _multiplies_bfloat16(matrices.device.type):
        x = x.bfloat16()
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)
