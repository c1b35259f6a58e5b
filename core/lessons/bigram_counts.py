"""What is hidden in a batch, and the table of all pairs that counting gives."""

from collections.abc import Sequence

import torch
from torch import Tensor


def examples(x: Sequence[int], y: Sequence[int]) -> list[tuple[list[int], int]]:
    """The examples hidden in one piece: after each beginning of x, the token of y that truly came next."""
    return [(list(x[: t + 1]), y[t]) for t in range(len(x))]


def count_pairs(ids: Tensor, vocab_size: int) -> Tensor:
    """How often each token is followed by each other in ids (N,): a table (V, V), a row for each first token."""
    counts = torch.zeros(vocab_size, vocab_size)
    first, second = ids[:-1], ids[1:]
    counts.index_put_((first, second), torch.ones(len(first)), accumulate=True)
    return counts


def as_probabilities(counts: Tensor) -> Tensor:
    """Each row of counts (V, V) as shares of the row; a row that was never seen knows nothing, so it is even."""
    seen = counts.sum(dim=1, keepdim=True)  # (V, 1)
    return torch.where(seen > 0, counts / seen.clamp(min=1), 1 / counts.shape[1])


def distance(learned: Tensor, counted: Tensor, counts: Tensor) -> float:
    """Which share of its belief a table of probabilities (V, V) has elsewhere than another: 0 where they agree.

    Rows count as often as they are used: as often as their token stands in the text.
    """
    elsewhere = (learned - counted).abs().sum(dim=1) / 2  # (V,)
    share = counts.sum(dim=1) / counts.sum()
    return float(share @ elsewhere)
