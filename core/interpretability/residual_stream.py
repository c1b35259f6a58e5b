"""The residual stream at each stage, its logits (the logit lens), and the rest of the model from a stage on.

A stage is a number of blocks: stage 0 enters the first block, stage L leaves the last one.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Float64, Int
from torch import Tensor

from core.fast.threads import threads_for
from core.interpretability.activations import Ids, as_row, device_of, run_batch_with_cache, run_with_cache
from core.model import GPT, Bigram, Hook, evaluating, finite_logits, parameter_count
from core.model.layers import scoped

_MAX_SCORES_AT_ONCE = 2**23  # 32 MB: with a vocabulary as large as GPT-2's, 166 positions


def residual_stream(model: GPT | Bigram, ids: Ids) -> Float32[np.ndarray, "stages T C"]:
    """Return the stream at every stage; for a bigram model, its logits."""
    names = stage_names(model)
    recorded = run_with_cache(model, ids, names)
    return np.stack([recorded[name] for name in names])


def stage_names(model: GPT | Bigram) -> list[str]:
    """Return the hook point of each stage."""
    if not isinstance(model, GPT):
        return ["hook_embed"]
    last = model.config.n_layer - 1
    return [f"blocks.{layer}.hook_resid_pre" for layer in range(last + 1)] + [f"blocks.{last}.hook_resid_post"]


def stream_at(model: GPT | Bigram, ids: Int[Tensor, "B T"], stage: int) -> Float[Tensor, "B T C"]:
    """Return the stream of a batch at one stage; for a bigram model, its logits."""
    name = stage_names(model)[stage]
    return run_batch_with_cache(model, ids, [name])[name]


@torch.no_grad()
def run_blocks(
    model: GPT | Bigram,
    stream: Float[Tensor, "B T C"],
    stage: int,
    hook: Hook | None = None,
    until: int | None = None,
) -> Float[Tensor, "B T C"]:
    """Compute the stream at stage `until`, by default the last one, from the stream at `stage`.

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
def unembed(model: GPT | Bigram, stream: Float[Tensor, "*A C"], ids: Int[Tensor, "*A"]) -> Float[Tensor, "*A V"]:
    """Return the logits of a stream and its input tokens `ids`; raises like `finite_logits`."""
    if not isinstance(model, GPT):
        return finite_logits(stream)
    with evaluating(model), threads_for(stream.numel() * model.vocab_size):
        return finite_logits(model.unembed(stream, ids))


def last_stream(model: GPT | Bigram, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T C"]:
    """Return the stream after the last block for a batch, on the fast path; for a bigram model, its logits."""
    return run_blocks(model, stream_at(model, ids, 0), 0)


def logits_in_chunks(
    model: GPT | Bigram, stream: Float[Tensor, "N C"], ids: Int[Tensor, "N"]
) -> Iterator[Float[Tensor, "P V"]]:
    """Yield the logits of a stream and its tokens, a few positions at a time and in order.

    The logits of 1,024 positions are 200 MB with GPT-2's vocabulary, and every operation on them takes as much again.
    """
    size = max(1, _MAX_SCORES_AT_ONCE // model.vocab_size)
    for piece, read in zip(stream.split(size), ids.to(stream.device).split(size), strict=True):
        yield unembed(model, piece, read)


def lens_logits(
    model: GPT | Bigram, ids: Ids, positions: Sequence[int]
) -> Float32[np.ndarray, "stages {len(positions)} V"]:
    """Return the logit lens (nostalgebraist 2020) at some positions: the logits at every stage.

    The stream of each stage goes through the last norm and the unembedding, as if later blocks added nothing.
    """
    streams, device = torch.from_numpy(residual_stream(model, ids)[:, positions]), device_of(model)
    row = torch.as_tensor(ids, dtype=torch.int64)[positions].to(device)
    return np.stack([unembed(model, stream.to(device), row).float().cpu().numpy() for stream in streams])


def next_token_logits(model: GPT | Bigram, ids: Ids) -> Float32[np.ndarray, "V"]:
    """Return the next token's logits; only the last tokens of a prompt longer than the context are read."""
    row = as_row(model, ids[-model.block_size :])
    last = last_stream(model, row)[:, -1]
    return unembed(model, last, row[:, -1].to(last.device))[0].float().cpu().numpy()


def next_token_probabilities(model: GPT | Bigram, ids: Ids) -> Float64[np.ndarray, "V"]:
    """Return the next token's probabilities at temperature 1; raises like `next_token_logits`."""
    logits = next_token_logits(model, ids).astype(np.float64)
    weights = np.exp(logits - logits.max())  # the largest becomes 1: nothing overflows
    return weights / weights.sum()
