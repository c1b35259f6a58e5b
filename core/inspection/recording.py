"""Watching one forward pass, or changing something in the middle of it. Everything else here builds on this."""

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from core.errors import ExplorerError
from core.model import GPT, Bigram, Tap, evaluating

Edit = Callable[[Tensor], Tensor | None]
"""Takes the tensor at a point, with its leading batch dimension of 1; returns a replacement, or None to leave it."""


class PromptError(ExplorerError):
    """A prompt is empty, or longer than the model can see at once."""


def record(
    model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor, names: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """What passes the named points (`core.model.tap`) while the model reads some tokens, in the order of passing.

    Args:
        ids: the tokens (T,).
        names: points to keep; all of them unless given.

    Returns:
        float32 arrays without the batch dimension: `blocks.0.attn.hook_pattern` is (H, T, T), `hook_embed` (T, C).

    Raises:
        PromptError: no tokens, or more than the context holds.
        ValueError: the model does not have a named point.
    """
    recorded: dict[str, np.ndarray] = {}

    def tap(name: str, tensor: Tensor) -> None:
        if names is None or name in names:
            recorded[name] = tensor[0].float().cpu().numpy().copy()

    _forward(model, ids, tap)
    _check_all_met(set(names or ()), recorded)
    return recorded


def run_with(
    model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor, edits: Mapping[str, Edit] | None = None
) -> np.ndarray:
    """Logits (T, V), float32, of the model with some of its inner tensors replaced on their way.

    >>> without_head_2 = run_with(model, ids, {"blocks.0.attn.hook_z": lambda z: z * keep})  # z: (1, T, H, C / H)

    Args:
        ids: the tokens (T,).
        edits: for each point (`core.model.tap`), what is done to the tensor passing there.

    Raises:
        PromptError: no tokens, or more than the context holds.
        ValueError: the model does not have a named point, or a replacement has another shape.
    """
    edits = edits or {}
    met: dict[str, bool] = {}

    def tap(name: str, tensor: Tensor) -> Tensor | None:
        if name not in edits:
            return None
        met[name] = True
        replacement = edits[name](tensor)
        if replacement is not None and replacement.shape != tensor.shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}, not {tuple(replacement.shape)}")
        return replacement

    logits = _forward(model, ids, tap if edits else None)
    _check_all_met(set(edits), met)
    return logits.float().cpu().numpy()


def _forward(model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor, tap: Tap | None) -> Tensor:
    """Logits (T, V); the model and its mode are as before afterwards."""
    ids = torch.as_tensor(ids, dtype=torch.int64, device=next(model.parameters()).device)
    if ids.ndim != 1:
        raise ValueError(f"ids must be one row of tokens (T,), not {tuple(ids.shape)}")
    if not len(ids):
        raise PromptError("There is nothing to look at yet: write at least one character.")
    if len(ids) > model.block_size:
        raise PromptError(
            f"This prompt has {len(ids):,} tokens, but the model sees only {model.block_size} at once. Shorten it."
        )
    with torch.no_grad(), evaluating(model):
        return model(ids[None], tap=tap)[0][0]


def _check_all_met(wanted: set[str], met: Mapping[str, object]) -> None:
    if missing := sorted(wanted - met.keys()):
        raise ValueError(f"this model does not have the points {', '.join(missing)}")
