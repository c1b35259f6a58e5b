"""The table that a bigram model has learned, beside the one that counting gives."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from core.model import Bigram


class Tables(NamedTuple):
    """Each (V, V) float32: row i says what follows token i."""

    learned: np.ndarray  # probabilities; every row sums to 1
    counted: np.ndarray  # the same; a token that was never followed by another has 1 / V everywhere
    difference: np.ndarray  # learned - counted
    seen: np.ndarray  # (V,) int64, how often each token was followed by another: rows seen rarely are learned badly


def compare_tables(model: Bigram, ids: ArrayLike) -> Tables:
    """The model's table beside the pairs counted in the text ids (N,) that it learned from, without smoothing."""
    V = model.vocab_size
    ids = np.asarray(ids, dtype=np.int64)
    counts = np.bincount(ids[:-1] * V + ids[1:], minlength=V * V).reshape(V, V)
    seen = counts.sum(axis=1)
    counted = np.where(seen[:, None] > 0, counts / np.maximum(seen, 1)[:, None], 1 / V).astype(np.float32)
    learned = model.table().float().cpu().numpy()
    return Tables(learned, counted, learned - counted, seen)
