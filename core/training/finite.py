"""Whether weights and logits are finite numbers."""

from collections.abc import Iterable

from torch import Tensor

from core.errors import NotFiniteError


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor holds inf or nan. One pass without a copy, as long as the sums do not overflow."""
    return all(
        not tensor.is_floating_point() or bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
        for tensor in tensors
    )


def finite_logits(logits: Tensor) -> Tensor:
    """Return the logits as they are; raise NotFiniteError where they hold nan or +inf.

    -inf is a token that cannot be sampled, so it may stand anywhere but everywhere.
    """
    if logits.numel() and not bool(logits.max().isfinite()):  # the maximum of numbers with a nan is nan
        raise NotFiniteError(
            "This model computes logits that are not finite numbers, so they give no probabilities. Its training "
            "overflowed or its weights are damaged; choose an earlier step or another model."
        )
    return logits
