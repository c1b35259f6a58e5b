"""Where the loss lives: by place in the context, by kind of character, and on a passage token by token."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.inspection.recording import Ids, PromptError, read, rows_at_once
from core.model import GPT, Bigram, Tap
from core.text.display import KINDS, kind_of


class KindLoss(NamedTuple):
    """How hard one kind of token is to foresee."""

    kind: str  # one of `core.text.display.KINDS`
    loss: float  # nats a token, their mean
    count: int  # tokens of the kind
    share: float  # of the whole loss, from 0 to 1


def window_losses(model: GPT | Bigram, windows: Tensor, tap: Tap | None = None) -> Tensor:
    """The loss of every token foreseen, (N, T) float32 nats, for windows (N, T + 1); the tap may change the model."""
    parts = windows.split(rows_at_once(model, windows.size(1) - 1))
    return torch.cat([next_token_losses(read(model, part[:, :-1], tap), part[:, 1:]) for part in parts])


def next_token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """Nats (B, T), on the processor, of targets (B, T) under logits (B, T, V)."""
    targets = targets.to(logits.device, torch.int64)
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none").view(targets.shape).cpu()


def loss_by_position(losses: np.ndarray | Tensor) -> np.ndarray:
    """Mean loss at each place in the context: (T,) from (N, T). Entry t was foreseen from t + 1 tokens."""
    return np.asarray(losses, dtype=np.float64).mean(axis=0)


def loss_by_kind(losses: np.ndarray | Tensor, targets: np.ndarray | Tensor, tokens: Sequence[str]) -> list[KindLoss]:
    """Mean loss for each kind of token that was to be foreseen, in the order of KINDS; absent kinds are left out.

    Args:
        losses, targets: (N, T) both.
        tokens: the vocabulary (V).
    """
    losses = np.asarray(losses, dtype=np.float64).ravel()
    kind_of_token = np.array([KINDS.index(kind_of(token)) for token in tokens])
    kinds = kind_of_token[np.asarray(targets).ravel()]
    counts, sums = np.bincount(kinds, minlength=len(KINDS)), np.bincount(kinds, losses, minlength=len(KINDS))
    whole = losses.sum() or 1.0
    return [
        KindLoss(kind, float(total / count), int(count), float(total / whole))
        for kind, count, total in zip(KINDS, counts, sums, strict=True)
        if count
    ]


def passage_losses(model: GPT | Bigram, ids: Ids) -> np.ndarray:
    """The loss of every token of a passage but the first: (T - 1,) float32 nats.

    A passage longer than the context is read in windows that overlap by half, so that every token is foreseen from at
    least half a context, or from all that stands before it. Raises PromptError for fewer than two tokens.
    """
    ids = torch.as_tensor(ids, dtype=torch.int64)
    if len(ids) < 2:
        raise PromptError("There is nothing to foresee yet: write at least two characters.")
    size = min(model.block_size, len(ids) - 1)
    starts = _starts(len(ids), size)
    losses = window_losses(model, torch.stack([ids[start : start + size + 1] for start in starts]))
    return _joined(losses.numpy(), starts, len(ids) - 1)


def passage_logits(model: GPT | Bigram, ids: Ids) -> np.ndarray:
    """What the model expects after every token of a passage but the last: logits (T - 1, V) float32.

    A long passage is read as by `passage_losses`. Raises PromptError for fewer than two tokens.
    """
    ids = torch.as_tensor(ids, dtype=torch.int64)
    if len(ids) < 2:
        raise PromptError("There is nothing to foresee yet: write at least two characters.")
    size = min(model.block_size, len(ids) - 1)
    starts = _starts(len(ids), size)
    parts = torch.stack([ids[start : start + size] for start in starts]).split(rows_at_once(model, size))
    logits = np.concatenate([read(model, part).float().cpu().numpy() for part in parts])  # (S, size, V)
    return _joined(logits, starts, len(ids) - 1)


def _starts(length: int, size: int) -> list[int]:
    """Where windows of `size` + 1 tokens begin that overlap by half; the last ends at the end."""
    return [*range(0, length - size - 1, max(1, size // 2)), length - size - 1]


def _joined(rows: np.ndarray, starts: list[int], length: int) -> np.ndarray:
    """(length, ...) from windows (S, size, ...): where they overlap, the earlier one has read more of what precedes."""
    joined = np.empty((length, *rows.shape[2:]), dtype=np.float32)
    for start, row in zip(reversed(starts), reversed(rows), strict=True):
        joined[start : start + len(row)] = row
    return joined
