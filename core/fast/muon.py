"""Muon: orthogonalized momentum (Jordan 2024, https://kellerjordan.github.io/posts/muon/).

It replaces the update of plain momentum by the nearest matrix whose singular values are all equal, found by a few
matrix products (Newton-Schulz) instead of a singular value decomposition.
"""

import math
from collections.abc import Iterable
from functools import cache
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor

from core.training.hardware import knows_bfloat16

_multiplies_bfloat16 = cache(knows_bfloat16)  # needed at every step
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's quintic: steep at zero, so that small singular values rise fast
_ITERATIONS = 5
_ROW_DECAY = 0.95  # of the running average of each row's squares, with `normalize_rows`


class Muon(torch.optim.Optimizer):
    """The same updates as `torch.optim.Muon`, with matrices of one shape, or its transpose, orthogonalized together.

    On a CPU, a small model's update spends its time on calls, not on arithmetic. A parameter group with `"parts"` has
    stacked matrices with these numbers of rows (queries, keys, values in `c_attn`), each orthogonalized separately.

    With `normalize_rows`, each row of an update, which belongs to one output, is divided by the running average of its
    size (NorMuon, Li 2025, https://arxiv.org/abs/2510.05491). The whole update keeps its norm.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        normalize_rows: bool = False,
    ):
        self._normalize_rows = normalize_rows
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": ()})

    @torch.no_grad()
    # pyrefly: ignore[bad-override]
    def step(self, closure: None = None) -> None:  # noqa: ARG002 (the signature of Optimizer)
        """Update the weights from their gradients."""
        moves: list[_Move] = []
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
                    if self._normalize_rows:
                        self.state[weight]["row_squares"] = weight.new_zeros(len(weight))
            averages = [self.state[weight]["momentum_buffer"] for weight in weights]
            torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
            ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
            if decay := group["lr"] * group["weight_decay"]:
                torch._foreach_mul_(weights, 1 - decay)
            for weight, update in zip(weights, ahead, strict=True):
                parts = group["parts"] or len(weight)  # `split` takes a single number as the rows of each part
                squares = self.state[weight].get("row_squares", weight.new_empty(len(weight)))
                split = zip(update.split(parts), weight.split(parts), squares.split(parts), strict=True)
                moves += [_Move(part_update, part, rows, group["lr"]) for part_update, part, rows in split]
        moves.sort(key=lambda move: sorted(move.update.shape))
        for _, alike in groupby(moves, key=lambda move: sorted(move.update.shape)):
            _apply_together(list(alike), self._normalize_rows)


class _Move(NamedTuple):
    update: Tensor  # (rows, columns), to be orthogonalized
    weight: Tensor  # the part of a weight matrix that it changes
    row_squares: Tensor  # (rows,) running averages of the mean square of its orthogonal updates
    lr: float


def _apply_together(moves: list[_Move], normalize_rows: bool) -> None:
    wide = torch.stack([move.update.T if move.update.size(0) > move.update.size(1) else move.update for move in moves])
    steps = [
        orthogonal.T if move.weight.size(0) > move.weight.size(1) else orthogonal
        for orthogonal, move in zip(orthogonalize(wide), moves, strict=True)
    ]
    if normalize_rows:
        steps = _normalize_rows(steps, [move.row_squares for move in moves])
    # Scaled by shape, so that all outputs change equally.
    scales = [math.sqrt(max(1.0, move.weight.size(0) / move.weight.size(1))) for move in moves]
    steps = torch._foreach_mul(steps, [-move.lr * scale for move, scale in zip(moves, scales, strict=True)])
    torch._foreach_add_([move.weight for move in moves], steps)


def _normalize_rows(steps: list[Tensor], row_squares: list[Tensor]) -> list[Tensor]:
    """Update the average row sizes, and divide the rows of updates by them; each whole update keeps its norm."""
    torch._foreach_lerp_(row_squares, [step.square().mean(dim=1) for step in steps], 1 - _ROW_DECAY)
    sizes = torch._foreach_sqrt(torch._foreach_add(row_squares, 1e-12))
    evened = torch._foreach_div(steps, [size[:, None] for size in sizes])
    norms, after = torch._foreach_norm(steps), torch._foreach_clamp_min(torch._foreach_norm(evened), 1e-12)
    return list(torch._foreach_mul(evened, torch._foreach_div(norms, after)))


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of (N, rows, columns), rows <= columns, near 1, between about 0.7 and 1.2.

    Computed in bfloat16, whose three digits are enough for a direction, if the device has instructions for it.
    """
    a, b, c = _COEFFICIENTS
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # no singular value is above 1 now
    if _multiplies_bfloat16(matrices.device.type):
        x = x.bfloat16()
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)
