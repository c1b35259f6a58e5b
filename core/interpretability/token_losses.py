"""The loss by position in the context, by kind of character, and token by token."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int, Int64
from torch import Tensor
from torch.nn import functional as F

from core.interpretability.activations import Ids, PromptError, compute_logits, rows_at_once
from core.interpretability.residual_stream import last_stream, logits_in_chunks
from core.model import GPT, Bigram, Hook
from core.text.token_display import KINDS, kind_of


class KindLoss(NamedTuple):
    """The loss on one kind of token."""

    kind: str  # one of `core.text.token_display.KINDS`
    loss: float  # their mean, nats/token
    count: int  # tokens of the kind
    share: float  # of the whole loss, from 0 to 1


class TokenPredictions(NamedTuple):
    """The predictions for every token of a passage except the first: T of them, with K alternatives."""

    probabilities: Float32[np.ndarray, "T"]  # of the token itself
    alternatives: Int64[np.ndarray, "T K"]  # the top tokens, best first
    shares: Float32[np.ndarray, "T K"]  # their probabilities


def window_losses(
    model: GPT | Bigram, windows: Int[Tensor, "N W"], hook: Hook | None = None
) -> Float32[Tensor, "N W-1"]:
    """Return the loss in nats of every predicted token."""
    parts = windows.split(rows_at_once(model, windows.size(1) - 1))
    if hook is not None:
        return torch.cat([next_token_losses(compute_logits(model, part[:, :-1], hook), part[:, 1:]) for part in parts])
    losses = []
    for part in parts:
        start, targets = 0, part[:, 1:].flatten()
        for logits in logits_in_chunks(model, last_stream(model, part[:, :-1]).flatten(0, 1), part[:, :-1].flatten()):
            losses.append(next_token_losses(logits[None], targets[None, start : start + len(logits)])[0])
            start += len(logits)
    return torch.cat(losses).view(len(windows), -1)


def next_token_losses(logits: Float[Tensor, "B T V"], targets: Int[Tensor, "B T"]) -> Float32[Tensor, "B T"]:
    """Return the losses in nats, on the CPU, of targets under logits."""
    targets = targets.to(logits.device, torch.int64)
    return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), reduction="none").view(targets.shape).cpu()


def loss_by_position(losses: Float[np.ndarray, "N T"] | Float[Tensor, "N T"]) -> Float64[np.ndarray, "T"]:
    """Return the mean loss at each position. Entry t was predicted from t + 1 tokens."""
    return np.asarray(losses, dtype=np.float64).mean(axis=0)


def loss_by_kind(
    losses: Float[np.ndarray, "N T"] | Float[Tensor, "N T"],
    targets: Int[np.ndarray, "N T"] | Int[Tensor, "N T"],
    tokens: Sequence[str],
) -> list[KindLoss]:
    """Return the mean loss for each kind of target, in the order of KINDS; `tokens` is the vocabulary."""
    losses = np.asarray(losses, dtype=np.float64).ravel()
    kind_of_token = np.array([KINDS.index(kind_of(token)) for token in tokens])
    kinds = kind_of_token[np.asarray(targets).ravel()]
    counts, sums = np.bincount(kinds, minlength=len(KINDS)), np.bincount(kinds, losses, minlength=len(KINDS))
    total_loss = losses.sum() or 1.0
    return [
        KindLoss(kind, float(total / count), int(count), float(total / total_loss))
        for kind, count, total in zip(KINDS, counts, sums, strict=True)
        if count
    ]


def token_predictions(model: GPT | Bigram, ids: Ids, alternatives: int = 5) -> TokenPredictions:
    """Return the probability of every token of a passage except the first, and the top alternatives.

    A passage longer than the context is read in windows that overlap by half, so that every token is predicted from at
    least half a context, or from all tokens before it. Raises PromptError for fewer than two tokens.
    """
    ids = torch.as_tensor(ids, dtype=torch.int64)
    if len(ids) < 2:
        raise PromptError("There is nothing to predict yet: write at least two characters.")
    came: list[Tensor] = []
    best: list[Tensor] = []
    shares: list[Tensor] = []
    start = 0
    for logits in logits_in_chunks(model, _passage_stream(model, ids), ids[:-1]):
        beliefs = logits.float().softmax(dim=-1).cpu()
        targets = ids[start + 1 : start + 1 + len(beliefs)]
        top = beliefs.topk(min(alternatives, model.vocab_size))
        came.append(beliefs.gather(-1, targets[:, None])[:, 0])
        best.append(top.indices)
        shares.append(top.values)
        start += len(beliefs)
    return TokenPredictions(torch.cat(came).numpy(), torch.cat(best).numpy(), torch.cat(shares).numpy())


def _passage_stream(model: GPT | Bigram, ids: Tensor) -> Tensor:
    """Return the last stream of a passage (T,) without its last token: (T - 1, C), read in overlapping windows."""
    length = len(ids) - 1
    size = min(model.block_size, length)
    starts = [*range(0, length - size, max(1, size // 2)), length - size]
    parts = torch.stack([ids[start : start + size] for start in starts]).split(rows_at_once(model, size))
    rows = torch.cat([last_stream(model, part) for part in parts])  # (S, size, C)
    joined = rows.new_empty((length, rows.size(-1)))
    for start, row in zip(reversed(starts), rows.flip(0), strict=True):  # of two windows, the earlier has more context
        joined[start : start + size] = row
    return joined
