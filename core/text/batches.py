"""Windows of token ids for training and evaluation. B is the batch, T the context (block_size).

Windows of a task (`core.text.tasks`) start where problems start, and only answers count in the loss.
"""

import torch
from torch import Tensor

from core.errors import TextError
from core.text import split_point
from core.text.tasks import AnswerTokens

IGNORED = -100  # target of a token that does not count: `ignore_index` of PyTorch's cross_entropy


def split_ids(ids: Tensor, val_fraction: float) -> tuple[Tensor, Tensor]:
    """Return the training part and, at the end, the validation part of a text's ids (N,), without a copy."""
    n = split_point(len(ids), val_fraction)
    return ids[:n], ids[n:]


def problem_starts(ids: Tensor, block_size: int, answers: AnswerTokens) -> Tensor:
    """Return the starts of problems in a split (N,) from which a whole window fits: (P,), int64.

    Each follows a newline, because a split may start within a problem. Raises TextError if there is none.
    """
    starts = (ids == answers.end).nonzero().flatten() + 1
    starts = starts[starts < len(ids) - block_size]
    if not len(starts):
        raise TextError(
            f"No problem in this part of the text is followed by a context of {block_size} tokens. Choose a shorter "
            "context or another validation fraction."
        )
    return starts


def answer_targets(x: Tensor, y: Tensor, answers: AnswerTokens) -> Tensor:
    """Return the targets y (B, T) of windows x that start with a problem, IGNORED outside answers."""
    inside = (x == answers.separator).cumsum(dim=1) > (x == answers.end).cumsum(dim=1)
    return y.masked_fill(~inside, IGNORED)


def random_batch(
    ids: Tensor,
    batch_size: int,
    block_size: int,
    generator: torch.Generator,
    device: str | torch.device = "cpu",
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return random windows x (B, T) of one split (N,) and the next tokens y (B, T), shifted by one, int64.

    The generator, which is on the CPU, samples where they start, among `starts` (P,) if passed. Raises TextError for a
    split shorter than block_size + 1.
    """
    check_length(ids, block_size)
    count = len(ids) - block_size if starts is None else len(starts)
    chosen = torch.randint(count, (batch_size,), generator=generator)
    starts = chosen if starts is None else starts[chosen]
    windows = _windows(ids, starts, block_size).to(device, torch.int64)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


def fixed_windows(ids: Tensor, block_size: int, count: int, starts: Tensor | None = None) -> Tensor:
    """Return evenly spaced windows of a split, always the same: (count, block_size + 1), int64.

    The first starts at the split's start and the last ends at its end, or at the first and the last of `starts` (P,).
    A split too short for `count` different windows gives as many as it has. Raises TextError if there is none.
    """
    check_length(ids, block_size)
    return _windows(ids, _even_starts(len(ids), block_size, count, starts), block_size).to(torch.int64)


def predicted_positions(length: int, block_size: int, count: int, starts: Tensor | None = None) -> Tensor:
    """Return the positions in a split of the tokens predicted in `fixed_windows`: (count, block_size), int64."""
    return _even_starts(length, block_size, count, starts)[:, None] + 1 + torch.arange(block_size)


def _even_starts(length: int, block_size: int, count: int, starts: Tensor | None) -> Tensor:
    last = length - block_size - 1 if starts is None else len(starts) - 1
    count = min(count, last + 1)
    even = torch.arange(count) * last // max(count - 1, 1)
    return even if starts is None else starts[even]


def _windows(ids: Tensor, starts: Tensor, block_size: int) -> Tensor:
    index = starts[:, None] + torch.arange(block_size + 1)
    return ids[index.to(ids.device)]


def check_length(ids: Tensor, block_size: int, part: str = "This") -> None:
    """Raise TextError if a split, called `part`, is shorter than a window."""
    if len(ids) <= block_size:
        raise TextError(
            f"{part} part of the text has {len(ids):,} tokens, but a context of {block_size} needs at least "
            f"{block_size + 1}. Choose a longer text or a shorter context."
        )
