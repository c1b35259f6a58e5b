"""The residual stream: what it holds between the blocks, and the rest of the model from any place on.

A stage counts the blocks already passed: stage 0 is what enters the first block, stage L what leaves the last one.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from core.fast.threads import threads_for
from core.interpretability.activations import Ids, as_row, run_batch_with_cache, run_with_cache
from core.model import GPT, Bigram, Hook, evaluating, parameter_count
from core.model.gpt import scoped
from core.training.finite import finite_logits

_MOST_SCORES_AT_ONCE = 2**23  # 32 MB: with a vocabulary as large as GPT-2's, 166 places


def residual_stream(model: GPT | Bigram, ids: Ids) -> np.ndarray:
    """The stream at every stage: (L + 1, T, C) float32. A bigram model has one stage, its logits: (1, T, V).

    Raises PromptError for no tokens, or more than the context holds.
    """
    names = stage_names(model)
    recorded = run_with_cache(model, ids, names)
    return np.stack([recorded[name] for name in names])


def stage_names(model: GPT | Bigram) -> list[str]:
    """The points at which the stream can be seen and replaced, one for each stage."""
    if not isinstance(model, GPT):
        return ["hook_embed"]
    last = model.config.n_layer - 1
    return [f"blocks.{layer}.hook_resid_pre" for layer in range(last + 1)] + [f"blocks.{last}.hook_resid_post"]


def stream_at(model: GPT | Bigram, ids: Tensor, stage: int) -> Tensor:
    """The stream of pieces (B, T) at one stage: (B, T, C), or (B, T, V) for a bigram model."""
    name = stage_names(model)[stage]
    return run_batch_with_cache(model, ids, [name])[name]


@torch.no_grad()
def read_on(
    model: GPT | Bigram, stream: Tensor, stage: int, hook: Hook | None = None, until: int | None = None
) -> Tensor:
    """The stream at stage `until`, the last one unless given, from the one at `stage`: (B, T, C) both.

    The tap sees only the block that follows: the others run on the fast path.
    """
    if not isinstance(model, GPT):
        return stream
    with evaluating(model), threads_for(stream[..., 0].numel() * parameter_count(model)):
        for layer in range(stage, model.config.n_layer if until is None else until):
            block = model.transformer.h[layer]
            stream = block(stream, None, scoped(hook, f"blocks.{layer}") if layer == stage else None)
    return stream


@torch.no_grad()
def unembed(model: GPT | Bigram, stream: Tensor, ids: Tensor) -> Tensor:
    """What the model would say if nothing were added to the stream (..., C) any more: logits (..., V).

    The last norm is applied, and the model's table of pairs added if it has one. `ids` (...) are the tokens read.
    Raises NotFiniteError where the logits give no probabilities.
    """
    if not isinstance(model, GPT):
        return finite_logits(stream)
    with evaluating(model), threads_for(stream.numel() * model.vocab_size):
        return finite_logits(model.unembed(stream, ids))


def last_stream(model: GPT | Bigram, ids: Tensor) -> Tensor:
    """The stream behind the last block for pieces of text (B, T), on the fast path: (B, T, C), or (B, T, V)."""
    return read_on(model, stream_at(model, ids, 0), 0)


def places_at_once(model: GPT | Bigram) -> int:
    """How many places to score together, so that their logits stay small however large the vocabulary is.

    The scores of 1,024 places are 200 MB with GPT-2's vocabulary, and every step with them takes as much again.
    """
    return max(1, _MOST_SCORES_AT_ONCE // model.vocab_size)


def scores_in_pieces(model: GPT | Bigram, stream: Tensor, ids: Tensor) -> Iterator[Tensor]:
    """`unembed` for many places, stream (N, C) and ids (N,), a few at a time and in order: logits (P, V) each."""
    size = places_at_once(model)
    for piece, read in zip(stream.split(size), ids.to(stream.device).split(size), strict=True):
        yield unembed(model, piece, read)


def next_token_logits(model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
    """The score of each token coming next: (V,) float32. Only the last place is scored, however long the prompt is.

    Of tokens beyond the context only the last are read, as when generating. Raises PromptError for no tokens.
    """
    row = as_row(model, ids[-model.block_size :])
    last = last_stream(model, row)[:, -1]
    return unembed(model, last, row[:, -1].to(last.device))[0].float().cpu().numpy()


def next_token_probabilities(model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
    """The model's own probability (temperature 1) of each token coming next: (V,), float64, summing to 1.

    Reads what `next_token_logits` does, and raises what it does.
    """
    logits = next_token_logits(model, ids).astype(np.float64)
    weights = np.exp(logits - logits.max())  # the largest becomes 1: nothing overflows
    return weights / weights.sum()
