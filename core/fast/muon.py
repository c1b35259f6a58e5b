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
        moves.sort(key=lambda move: (sorted(move.update.shape), move.update.shape, move.lr))
        for _, alike in groupby(moves, key=lambda move: sorted(move.update.shape)):
            stacks = [list(stack) for _, stack in groupby(alike, key=lambda move: (move.update.shape, move.lr))]
            _apply_together(stacks, self._normalize_rows)


class _Move(NamedTuple):
    update: Tensor  # (rows, columns), to be orthogonalized
    weight: Tensor  # the part of a weight matrix that it changes
    row_squares: Tensor  # (rows,) running averages of the mean square of its orthogonal updates
    lr: float


def _apply_together(stacks: list[list[_Move]], normalize_rows: bool) -> None:
    """Apply moves of one shape or its transpose; those of a stack have the same shape and learning rate."""
    updates = [torch.stack([move.update for move in moves]) for moves in stacks]
    is_tall = [update.size(1) > update.size(2) for update in updates]
    wide = torch.cat([update.mT if tall else update for update, tall in zip(updates, is_tall, strict=True)])
    parts = orthogonalize(wide).split([len(moves) for moves in stacks])
    for moves, tall, part in zip(stacks, is_tall, parts, strict=True):
        steps = part.mT if tall else part
        if normalize_rows:
            steps = _normalize_rows(steps, [move.row_squares for move in moves])
        rows, columns = steps.shape[1:]
        scale = math.sqrt(max(1.0, rows / columns))  # by shape, so that all outputs change equally
        torch._foreach_add_([move.weight for move in moves], steps.unbind(), alpha=-moves[0].lr * scale)


def _normalize_rows(steps: Tensor, row_squares: list[Tensor]) -> Tensor:
    """Update the average row sizes, and divide the rows of (N, rows, columns) by them; each matrix keeps its norm."""
    norms = steps.norm(dim=2)  # (N, rows)
    squares = torch.stack(row_squares).lerp_(norms.square() / steps.size(2), 1 - _ROW_DECAY)
    torch._foreach_copy_(row_squares, squares.unbind())
    shares = (squares + 1e-12).rsqrt()
    whole, after = norms.norm(dim=1), (norms * shares).norm(dim=1).clamp(min=1e-12)
    return steps * (shares * (whole / after)[:, None])[:, :, None]


def orthogonalize(matrices: Tensor) -> Tensor:
    """Bring the singular values of (N, rows, columns), rows <= columns, near 1, between about 0.7 and 1.2.

    Computed in bfloat16, whose three digits are enough for a direction, if the device has instructions for it.
    """
    a, b, c = _COEFFICIENTS
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)  # no singular value is above 1 now
    if _multiplies_bfloat16(matrices.device.type):
        x = x.bfloat16()
    elif x.size(2) > x.size(1):
        return _factor(x @ x.mT) @ x
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def _factor(gram: Tensor) -> Tensor:
    """Return what turns matrices with these Gram matrices (N, rows, rows) into their orthogonal ones, from the left.

    It takes the same iterations on the small side alone: each is a polynomial of the Gram matrix. Four matrices of
    (96, 384) take 5.4 ms on one thread, before 8.6. bfloat16 has too few digits for it.
    """
    a, b, c = _COEFFICIENTS
    product = polynomial = None
    for _ in range(_ITERATIONS):
        gram = gram if polynomial is None else polynomial @ gram @ polynomial
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=1, dim2=2).add_(a)
        product = polynomial if product is None else polynomial @ product
    assert product is not None
    return product
