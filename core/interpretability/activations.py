"""Reading and replacing the activations of one forward pass. The rest of this package builds on it."""

from collections.abc import Collection, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

from core.errors import ExplorerError
from core.fast.threads import threads_for
from core.model import GPT, Bigram, Hook, evaluating, finite_logits, parameter_count

Ids = Sequence[int] | Int[np.ndarray, "_"] | Int[Tensor, "_"]
"""One row of tokens."""

_MAX_NUMBERS_AT_ONCE = 2**25  # in the largest tensor of a forward pass: 128 MB
_MAX_TOKENS_AT_ONCE = 4096  # more are not faster


class PromptError(ExplorerError):
    """A prompt is empty, longer than the context, or does not fit the prompt it is compared with."""


POST_NORM = (
    "This model normalizes after each part has been added (post-norm), so the outputs of its parts do not add up to "
    "its logits. Choose a model that normalizes before each part."
)


class PartError(ExplorerError):
    """A model of this kind lacks the part in question."""


def run_with_cache(
    model: GPT | Bigram, ids: Ids, names: Collection[str] | None = None
) -> dict[str, Float32[np.ndarray, "..."]]:
    """Return the activations at the named hook points, by default all, in the order of the forward pass.

    They have no batch dimension: `blocks.0.attn.hook_pattern` is (H, T, T), `hook_embed` (T, C).
    Raises PromptError like `as_row`, and ValueError for a point that the model lacks.
    """
    recorded = run_batch_with_cache(model, as_row(model, ids), names)
    return {name: tensor[0].float().cpu().numpy() for name, tensor in recorded.items()}


def run_batch_with_cache(
    model: GPT | Bigram, ids: Int[Tensor, "B T"], names: Collection[str] | None = None
) -> dict[str, Float[Tensor, "B ..."]]:
    """Return activations of a batch, on the model's device; the forward pass ends after the last named point."""
    recorded: dict[str, Tensor] = {}
    wanted = None if names is None else set(names)

    def hook(name: str, tensor: Tensor) -> None:
        if wanted is None or name in wanted:
            recorded[name] = tensor.clone()
            if wanted is not None and len(recorded) == len(wanted):
                raise _Enough

    try:
        compute_logits(model, ids, hook)
    except _Enough:
        return recorded
    if missing := sorted((wanted or set()) - recorded.keys()):
        raise ValueError(f"this model does not have the points {', '.join(missing)}")
    return recorded


@torch.no_grad()
def compute_logits(model: GPT | Bigram, ids: Int[Tensor, "B T"], hook: Hook | None = None) -> Float[Tensor, "B T V"]:
    """Return the logits without gradient or dropout; raises like `finite_logits`.

    A hook may replace the activations at some points (`core.model.gpt`), here those of one head:

    >>> zero_head_2 = lambda name, z: z * keep if name == "blocks.0.attn.hook_z" else None  # z: (B, T, H, D)
    >>> logits = compute_logits(model, as_row(model, ids), zero_head_2)
    """
    with evaluating(model), threads_for(ids.numel() * parameter_count(model)):
        return finite_logits(model(ids.to(device_of(model), torch.int64), hook=hook)[0])


def device_of(model: GPT | Bigram) -> torch.device:
    return next(model.parameters()).device


def rows_at_once(model: GPT | Bigram, length: int) -> int:
    """Return how many sequences of `length` tokens to compute at once: enough to be fast, few enough for memory."""
    config = model.config
    widest = model.vocab_size
    if isinstance(model, GPT):
        widest = max(widest, 4 * config.n_embd, config.n_head * length)
    return max(1, min(_MAX_TOKENS_AT_ONCE // length, _MAX_NUMBERS_AT_ONCE // (length * widest)))


class _Enough(Exception):
    """Ends a forward pass after the last wanted hook point."""


def as_row(model: GPT | Bigram, ids: Ids) -> Int64[Tensor, "1 T"]:
    """Return one row of tokens as a batch. Raises PromptError if there are none, or more than the context."""
    ids = torch.as_tensor(ids, dtype=torch.int64)
    if ids.ndim != 1:
        raise ValueError(f"ids must be one row of tokens (T,), not {tuple(ids.shape)}")
    if not len(ids):
        raise PromptError("There is nothing to look at yet: write at least one character.")
    if len(ids) > model.block_size:
        raise PromptError(
            f"This prompt has {len(ids):,} tokens, but the model sees only {model.block_size} at once. Shorten it."
        )
    return ids[None]
