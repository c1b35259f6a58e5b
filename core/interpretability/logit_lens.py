"""The logit lens: the prediction after each block (nostalgebraist 2020).

The residual stream after each block goes through the last norm and the unembedding, as if later blocks added nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.interpretability.activations import Ids, device_of
from core.interpretability.residual_stream import positions_at_once, residual_stream, unembed
from core.model import GPT, Bigram


@dataclass(frozen=True)
class Lens:
    """The predictions at each stage and position. Stage s is after s blocks; K tokens are listed.

    Attributes:
        ids: (L + 1, T, K) int64, the most likely tokens, best first.
        probabilities: (L + 1, T, K) float32, theirs.
        answer: (T,) int64, the most likely token at the last stage: the model's prediction.
        answer_probability: (L + 1, T) float32, its probability at each stage.
        first: (T,) int64, the first stage at which it is the most likely.
        stable_from: (T,) int64, the first stage from which it stays so.
    """

    ids: np.ndarray
    probabilities: np.ndarray
    answer: np.ndarray
    answer_probability: np.ndarray
    first: np.ndarray
    stable_from: np.ndarray


def logit_lens(model: GPT | Bigram, ids: Ids, alternatives: int = 5) -> Lens:
    """Apply the lens to a prompt (T,). Logits are computed for one stage and a few positions at a time.

    Raises PromptError for no tokens, or more than the context.
    """
    row = torch.as_tensor(ids, dtype=torch.int64)
    streams = torch.from_numpy(residual_stream(model, ids))  # (L + 1, T, C)
    size = positions_at_once(model)
    batches = [
        _lens_at(model, *piece, min(alternatives, model.vocab_size))
        for piece in zip(streams.split(size, dim=1), row.split(size), strict=True)
    ]
    tokens, probabilities, belief = (torch.cat(part, dim=1) for part in zip(*batches, strict=True))
    answer = tokens[-1, :, 0]  # (T,)
    leads = tokens[..., 0] == answer  # (L + 1, T)
    stays = leads.flip(0).cummin(dim=0).values.flip(0)
    return Lens(
        ids=tokens.numpy(),
        probabilities=probabilities.numpy(),
        answer=answer.numpy(),
        answer_probability=belief.numpy(),
        first=leads.int().argmax(dim=0).numpy(),
        stable_from=stays.int().argmax(dim=0).numpy(),
    )


def lens_logits(model: GPT | Bigram, ids: Ids, positions: Sequence[int] | None = None) -> np.ndarray:
    """Return the logits at every stage: (L + 1, P, V) float32, for some positions, or all T unless given.

    For GPT-2's vocabulary all of 1,024 positions are 2.7 GB.
    """
    row = torch.as_tensor(ids, dtype=torch.int64)
    chosen = torch.arange(len(row)) if positions is None else torch.as_tensor(positions, dtype=torch.int64)
    streams = torch.from_numpy(residual_stream(model, ids))[:, chosen]
    return np.stack([_scored(model, stream, row[chosen]).numpy() for stream in streams])


def _lens_at(model: GPT | Bigram, streams: Tensor, ids: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the `count` most likely tokens, their probabilities (S, P, K), and the final answer's probability (S, P).

    Args:
        streams: (S, P, C), of tokens (P,).
    """
    best, belief = [], []
    for stream in streams.flip(0):  # the last stage first: it has the answer
        beliefs = _scored(model, stream, ids).softmax(dim=-1)
        best.append(beliefs.topk(count))
        answer = best[0].indices[:, :1]
        belief.append(beliefs.gather(-1, answer)[:, 0])
    best, belief = best[::-1], belief[::-1]
    return (
        torch.stack([top.indices for top in best]),
        torch.stack([top.values for top in best]),
        torch.stack(belief),
    )


def _scored(model: GPT | Bigram, stream: Tensor, ids: Tensor) -> Tensor:
    """Return logits (P, V) on the processor for one stage's stream (P, C)."""
    device = device_of(model)
    return unembed(model, stream.to(device), ids.to(device)).float().cpu()
