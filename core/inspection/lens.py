"""The logit lens: what a model would say if it stopped thinking early (nostalgebraist 2020).

The stream after each block goes straight through the last norm and the scores of the vocabulary, as if the blocks that
follow added nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from core.inspection.recording import Ids, device_of, record
from core.inspection.stream import stage_names, unembed
from core.model import GPT, Bigram


@dataclass(frozen=True)
class Lens:
    """What would be said at each stage and position. Stage s is after s blocks; K alternatives are kept.

    Attributes:
        ids: (L + 1, T, K) int64, the likeliest tokens, best first.
        probabilities: (L + 1, T, K) float32, theirs.
        answer: (T,) int64, the likeliest token at the last stage: what the model really says.
        answer_probability: (L + 1, T) float32, the belief in that answer at each stage.
        first: (T,) int64, the first stage at which the answer leads.
        settled: (T,) int64, the first stage from which on it leads to the end.
    """

    ids: np.ndarray
    probabilities: np.ndarray
    answer: np.ndarray
    answer_probability: np.ndarray
    first: np.ndarray
    settled: np.ndarray


def logit_lens(model: GPT | Bigram, ids: Ids, alternatives: int = 5) -> Lens:
    """The lens over a whole prompt (T,). Logits are held for one stage at a time, so long prompts fit into memory.

    Raises PromptError for no tokens, or more than the context holds.
    """
    best, belief = [], []
    for logits in _stages(model, ids, backwards=True):  # the last stage first: it tells the answer
        stage = logits.softmax(dim=-1)
        best.append(stage.topk(min(alternatives, model.vocab_size)))
        answer = best[0].indices[:, 0]
        belief.append(stage.gather(-1, answer[:, None])[:, 0])
    tokens = torch.stack([found.indices for found in reversed(best)])  # (L + 1, T, K)
    leads = tokens[..., 0] == answer  # (L + 1, T)
    stays = leads.flip(0).cummin(dim=0).values.flip(0)
    return Lens(
        ids=tokens.numpy(),
        probabilities=torch.stack([found.values for found in reversed(best)]).numpy(),
        answer=answer.numpy(),
        answer_probability=torch.stack(belief[::-1]).numpy(),
        first=leads.int().argmax(dim=0).numpy(),
        settled=stays.int().argmax(dim=0).numpy(),
    )


def lens_logits(model: GPT | Bigram, ids: Ids, positions: Sequence[int] | None = None) -> np.ndarray:
    """The logits at every stage: (L + 1, P, V) float32, for some positions, or all T unless given.

    For GPT-2's vocabulary all of 1,024 positions would be 2.7 GB: ask for the few that are drawn.
    """
    return np.stack([logits.numpy() for logits in _stages(model, ids, positions)])


def _stages(
    model: GPT | Bigram, ids: Ids, positions: Sequence[int] | None = None, backwards: bool = False
) -> Iterator[Tensor]:
    """Logits (P, V) on the processor, stage by stage."""
    names = stage_names(model)
    recorded = record(model, ids, names)
    row = torch.as_tensor(ids, dtype=torch.int64)
    chosen = torch.arange(len(row)) if positions is None else torch.as_tensor(positions, dtype=torch.int64)
    device = device_of(model)
    for name in reversed(names) if backwards else names:
        stream = torch.from_numpy(recorded[name])[chosen].to(device)
        yield unembed(model, stream, row[chosen].to(device)).float().cpu()
