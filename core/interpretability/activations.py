"""Reading and replacing the activations of one forward pass. The rest of this package builds on it."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

from core.errors import ExplorerError
from core.fast.threads import threads_for
from core.model import GPT, Bigram, Hook, evaluating, finite_logits, parameter_count

Ids = Sequence[int] | Int[np.ndarray, "_"] | Int[Tensor, "_"]
"""One row of tokens."""

Edit = Callable[[Tensor], Tensor | None] | Tensor | np.ndarray
"""What replaces the tensor at a hook point: an array, with or without the batch dimension, or a function that takes the
tensor (1, ...) and returns its replacement, or None to leave it."""

_MOST_NUMBERS_AT_ONCE = 2**25  # in the largest tensor of a forward pass: 128 MB
_MOST_TOKENS_AT_ONCE = 4096  # more are not faster


class PromptError(ExplorerError):
    """A prompt is empty, longer than the context, or does not fit the prompt it is compared with."""


POST_NORM = (
    "This model normalizes after each part has been added (post-norm), so what its parts add does not add up to its "
    "logits. Look at a model that normalizes before them."
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
    _check_all_met(wanted or set(), recorded)
    return recorded


def run_with_hooks(
    model: GPT | Bigram, ids: Ids, edits: Mapping[str, Edit] | None = None
) -> Float32[np.ndarray, "T V"]:
    """Return the logits of the model with the activations at some points (`core.model.gpt`) replaced.

    >>> without_head_2 = run_with_hooks(model, ids, {"blocks.0.attn.hook_z": lambda z: z * keep})  # z: (1, T, H, D)
    >>> with_their_stream = run_with_hooks(model, ids, {"blocks.1.hook_resid_pre": recorded["blocks.1.hook_resid_pre"]})

    Raises PromptError like `as_row`, and ValueError for a missing point or a replacement of another shape.
    """
    edits = edits or {}
    met: dict[str, bool] = {}

    def hook(name: str, tensor: Tensor) -> Tensor | None:
        if name not in edits:
            return None
        met[name] = True
        return _edited(name, tensor, edits[name])

    logits = compute_logits(model, as_row(model, ids), hook if edits else None)[0]
    _check_all_met(set(edits), met)
    return logits.float().cpu().numpy()


@torch.no_grad()
def compute_logits(model: GPT | Bigram, ids: Int[Tensor, "B T"], hook: Hook | None = None) -> Float[Tensor, "B T V"]:
    """Return the logits without gradient or dropout; raises like `finite_logits`."""
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
    return max(1, min(_MOST_TOKENS_AT_ONCE // length, _MOST_NUMBERS_AT_ONCE // (length * widest)))


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


def _edited(name: str, tensor: Tensor, edit: Edit) -> Tensor | None:
    if callable(edit) and not isinstance(edit, Tensor):
        replacement = edit(tensor)
    else:
        replacement = torch.as_tensor(edit).to(tensor)
        if replacement.shape == tensor.shape[1:]:
            replacement = replacement[None]
    if replacement is not None and replacement.shape != tensor.shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not {tuple(replacement.shape)}")
    return replacement


def _check_all_met(wanted: set[str], met: Mapping[str, object]) -> None:
    if missing := sorted(wanted - met.keys()):
        raise ValueError(f"this model does not have the points {', '.join(missing)}")
