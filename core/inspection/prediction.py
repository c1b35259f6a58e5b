"""What a model expects next."""

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from core.inspection.recording import run_with
from core.model import GPT, Bigram


def next_token_probabilities(model: GPT | Bigram, ids: Sequence[int] | np.ndarray | Tensor) -> np.ndarray:
    """The model's own probability (temperature 1) of each token coming next: (V,), float64, summing to 1.

    Of tokens beyond the context only the last are read, as when generating. Raises PromptError for no tokens.
    """
    logits = run_with(model, ids[-model.block_size :])[-1].astype(np.float64)
    weights = np.exp(logits - logits.max())  # the largest becomes 1: nothing overflows
    return weights / weights.sum()
