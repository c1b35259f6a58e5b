"""Which earlier tokens each token looks at. L layers, H heads, T tokens."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from core.inspection.recording import record
from core.model import GPT, Bigram
from core.text.display import visible


def attention_patterns(model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
    """How much each token (row) looks at each token (column), in every head: (L, H, T, T), float32.

    Every row sums to 1. A bigram model has no attention: (0, 0, T, T). Raises PromptError for no tokens, or more than
    the context holds.
    """
    if not isinstance(model, GPT):
        return np.zeros((0, 0, len(ids), len(ids)), dtype=np.float32)
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layer)]
    recorded = record(model, ids, names)
    return np.stack([recorded[name] for name in names])


def to_bytes(patterns: np.ndarray) -> np.ndarray:
    """The same as uint8 with 255 for 1: what the live board is sent. Off by at most 1 / 510."""
    return np.rint(np.clip(patterns, 0, 1) * 255).astype(np.uint8)


def describe(
    patterns: np.ndarray, tokens: Sequence[str], layer: int, head: int, row: int, column: int | None = None
) -> str:
    """One cell in words: "'e' looks 62 % at 'h', 1 back".

    Args:
        patterns: (L, H, T, T), weights from 0 to 1.
        tokens: the T tokens.
        layer, head, row: counted from 0.
        column: the token looked at; the one looked at most unless given.
    """
    weights = patterns[layer, head, row]
    column = int(weights.argmax()) if column is None else column
    looks = f"'{visible(tokens[row])}' looks {_percent(float(weights[column]))} at"
    if column == row:
        return f"{looks} itself"
    distance = f"{row - column} back" if column < row else f"{column - row} ahead"
    return f"{looks} '{visible(tokens[column])}', {distance}"


def _percent(weight: float) -> str:
    return "under 1 %" if 0 < weight < 0.005 else f"{weight:.0%}".replace("%", " %")
