"""The residual stream between the blocks, the logits at each (the logit lens), and the rest of the model from one on.

A stage is a number of blocks: stage 0 enters the first block, stage L leaves the last one.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from core.fast.threads import threads_for
from core.interpretability.activations import Ids, as_row, device_of, run_batch_with_cache, run_with_cache
from core.model import GPT, Bigram, Hook, evaluating, finite_logits, parameter_count
from core.model.gpt import scoped

_MOST_SCORES_AT_ONCE = 2**23  # 32 MB: with a vocabulary as large as GPT-2's, 166 positions


def residual_stream(model: GPT | Bigram, ids: Ids) -> np.ndarray:
    """Return the stream at every stage: (L + 1, T, C) float32; of a bigram model its logits, (1, T, V)."""
    names = stage_names(model)
    recorded = run_with_cache(model, ids, names)
    return np.stack([recorded[name] for name in names])


def stage_names(model: GPT | Bigram) -> list[str]:
    """Return the hook point of each stage."""
    if not isinstance(model, GPT):
        return ["hook_embed"]
    last = model.config.n_layer - 1
    return [f"blocks.{layer}.hook_resid_pre" for layer in range(last + 1)] + [f"blocks.{last}.hook_resid_post"]


def stream_at(model: GPT | Bigram, ids: Tensor, stage: int) -> Tensor:
    """Return the stream of a batch (B, T) at one stage: (B, T, C), or (B, T, V) for a bigram model."""
    name = stage_names(model)[stage]
    return run_batch_with_cache(model, ids, [name])[name]


@torch.no_grad()
def run_blocks(
    model: GPT | Bigram, stream: Tensor, stage: int, hook: Hook | None = None, until: int | None = None
) -> Tensor:
    """Compute the stream at stage `until`, the last one unless given, from that at `stage`: (B, T, C) both.

    The hook applies to the next block only; the others run on the fast path.
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
    """Return the logits (..., V) of a stream (..., C) and its input tokens `ids` (...); raises as `finite_logits`."""
    if not isinstance(model, GPT):
        return finite_logits(stream)
    with evaluating(model), threads_for(stream.numel() * model.vocab_size):
        return finite_logits(model.unembed(stream, ids))


def last_stream(model: GPT | Bigram, ids: Tensor) -> Tensor:
    """Return the stream after the last block for a batch (B, T), on the fast path: (B, T, C), or (B, T, V)."""
    return run_blocks(model, stream_at(model, ids, 0), 0)


def logits_in_chunks(model: GPT | Bigram, stream: Tensor, ids: Tensor) -> Iterator[Tensor]:
    """Yield the logits (P, V) of a stream (N, C) and ids (N,), a few positions at a time and in order.

    The logits of 1,024 positions are 200 MB with GPT-2's vocabulary, and every operation on them takes as much again.
    """
    size = max(1, _MOST_SCORES_AT_ONCE // model.vocab_size)
    for piece, read in zip(stream.split(size), ids.to(stream.device).split(size), strict=True):
        yield unembed(model, piece, read)


def lens_logits(model: GPT | Bigram, ids: Ids, positions: Sequence[int]) -> np.ndarray:
    """Return the logit lens (nostalgebraist 2020) of some positions: the logits at every stage, (L + 1, P, V) float32.

    The stream of each stage goes through the last norm and the unembedding, as if later blocks added nothing.
    """
    streams, device = torch.from_numpy(residual_stream(model, ids)[:, positions]), device_of(model)
    row = torch.as_tensor(ids, dtype=torch.int64)[positions].to(device)
    return np.stack([unembed(model, stream.to(device), row).float().cpu().numpy() for stream in streams])


def next_token_logits(model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
    """Return the next token's logits (V,) float32; of a prompt longer than the context the last tokens are read."""
    row = as_row(model, ids[-model.block_size :])
    last = last_stream(model, row)[:, -1]
    return unembed(model, last, row[:, -1].to(last.device))[0].float().cpu().numpy()


def next_token_probabilities(model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
    """Return the next token's probabilities at temperature 1: (V,) float64. Raises as `next_token_logits`."""
    logits = next_token_logits(model, ids).astype(np.float64)
    weights = np.exp(logits - logits.max())  # the largest becomes 1: nothing overflows
    return weights / weights.sum()
