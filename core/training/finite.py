"""Whether numbers are still numbers."""

from collections.abc import Iterable

from torch import Tensor


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no tensor holds inf or nan. One pass without a copy, as long as the sums do not overflow."""
    return all(
        not tensor.is_floating_point() or bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
        for tensor in tensors
    )
