"""Windows of token ids for training and evaluation. B is the batch, T the context (block_size)."""

import torch
from torch import Tensor

from core.errors import TextError
from core.text import split_point


def split_ids(ids: Tensor, val_fraction: float) -> tuple[Tensor, Tensor]:
    """Return the training part and, at the end, the validation part of a text's ids (N,), without a copy."""
    n = split_point(len(ids), val_fraction)
    return ids[:n], ids[n:]


def random_batch(
    ids: Tensor, batch_size: int, block_size: int, generator: torch.Generator, device: str | torch.device = "cpu"
) -> tuple[Tensor, Tensor]:
    """Return random windows x (B, T) of one split (N,) and, shifted by one, the tokens y (B, T) that came next, int64.

    The generator, on the processor, samples where they begin. Raises TextError for a split shorter than block_size + 1.
    """
    _check(ids, block_size)
    starts = torch.randint(len(ids) - block_size, (batch_size,), generator=generator)
    windows = _windows(ids, starts, block_size).to(device, torch.int64)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def fixed_windows(ids: Tensor, block_size: int, count: int) -> Tensor:
    """Return evenly spaced windows of a split, always the same: (count, block_size + 1), int64.

    The first begins at the split's start and the last ends at its end. A split too short for `count` different
    windows gives as many as it has. Raises TextError if there is none.
    """
    _check(ids, block_size)
    return _windows(ids, _even_starts(len(ids), block_size, count), block_size).to(torch.int64)


def predicted_positions(length: int, block_size: int, count: int) -> Tensor:
    """Return the positions in a split of the tokens predicted in `fixed_windows`: (count, block_size), int64."""
    return _even_starts(length, block_size, count)[:, None] + 1 + torch.arange(block_size)


def _even_starts(length: int, block_size: int, count: int) -> Tensor:
    last_start = length - block_size - 1
    count = min(count, last_start + 1)
    return torch.arange(count) * last_start // max(count - 1, 1)


def _windows(ids: Tensor, starts: Tensor, block_size: int) -> Tensor:
    index = starts[:, None] + torch.arange(block_size + 1)
    return ids[index.to(ids.device)]


def _check(ids: Tensor, block_size: int) -> None:
    if len(ids) <= block_size:
        raise TextError(
            f"This part of the text has {len(ids):,} tokens, but a context of {block_size} needs at least "
            f"{block_size + 1}. Choose a longer text or a shorter context."
        )
