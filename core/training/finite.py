"""Checks that weights and logits are finite numbers."""

from collections.abc import Iterable

from torch import Tensor

from core.errors import NotFiniteError


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no tensor has inf or nan, in one pass without a copy unless a sum overflows."""
    return all(
        not tensor.is_floating_point() or bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
        for tensor in tensors
    )


def finite_logits(logits: Tensor) -> Tensor:
    """Return the logits unchanged; raise NotFiniteError for nan, +inf, or nothing but -inf (never sampled)."""
    if logits.numel() and not bool(logits.max().isfinite()):  # the maximum of numbers with a nan is nan
        raise NotFiniteError(
            "This model computes logits that are not finite numbers, so they give no probabilities. Its training "
            "overflowed or its weights are damaged; choose an earlier step or another model."
        )
    return logits
