"""What a model expects next."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from core.interpretability.activations import as_row
from core.interpretability.residual_stream import last_stream, unembed
from core.model import GPT, Bigram


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
