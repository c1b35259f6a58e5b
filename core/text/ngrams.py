"""N-gram baselines counted on the same text: uniform, unigram, bigram and trigram, which a model should beat.

They use Witten-Bell smoothing (1991, method C) in the interpolated form of Chen and Goodman, "An Empirical Study of
Smoothing Techniques for Language Modeling" (1998, section 2.5). It has no parameter to tune and suits alphabets, in
which most histories occur. With n(h) tokens counted after a history h, u(h) distinct ones among them, and h' the
history without its first token,

    P(c | h) = (n(h, c) + u(h) P(c | h')) / (n(h) + u(h))

down to the empty history, which is interpolated with the uniform distribution, 1 / V. The more distinct tokens followed
a history, the less weight its own counts get.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from core.errors import TextError

_CHUNK = 1 << 20  # tokens counted at once
_TABLE = 1 << 22  # most distinct sequences that are counted in a table; more are sorted


BASELINES = {
    "uniform": "uniform guess",
    "unigram": "unigram baseline",
    "bigram": "bigram baseline",
    "trigram": "trigram baseline",
    "floor": "lowest possible",
}
"""The labels of the baselines in a loss chart. `floor` is the lowest loss that a task allows, not a count."""


@dataclass(frozen=True)
class Baselines:
    """Losses on validation text, nats/token, of counts on the training split."""

    uniform: float
    unigram: float
    bigram: float
    trigram: float


def count_baselines(
    train_ids: ArrayLike, val_ids: ArrayLike, vocab_size: int, predicted: ArrayLike | None = None
) -> Baselines:
    """Return the losses of the uniform guess and of unigram, bigram and trigram counts, on the same tokens.

    Memory grows with the text, not with the vocabulary. A token's history is what precedes it in `val_ids` (N,); at the
    first two positions it is shorter. Raises TextError if either split has fewer than three tokens.

    Args:
        predicted: positions in `val_ids` of the tokens to measure on, so that a model's loss can be compared on exactly
            the same tokens (`core.text.batches.predicted_positions`); by default all from the third on.
    """
    train, val = np.asarray(train_ids), np.asarray(val_ids)
    if len(train) < 3 or len(val) < 3:
        raise TextError(
            f"Counting triples needs at least 3 tokens in each part of the text; they have {len(train)} and {len(val)}."
        )
    if predicted is None:
        positions = np.arange(2, len(val))
    else:  # read little more of a large text than the tokens to measure on
        positions = np.asarray(predicted, dtype=np.int64).ravel()
        needed = np.unique(np.append(np.maximum(positions[:, None] - np.arange(3), 0), (0, 1, 2)))
        val, positions = val[needed], np.searchsorted(needed, positions)
    val = _as_ids(val)
    probability = np.full(len(positions), 1 / vocab_size)
    losses = []
    for order in (1, 2, 3):
        reach = positions >= order - 1  # tokens with a full history; the others keep the lower order
        histories = _history(val, order, vocab_size)[positions[reach] - order + 1]
        probability[reach] = _interpolate(
            train, histories, val[positions[reach]], vocab_size, order, probability[reach]
        )
        losses.append(float(-np.log(probability).mean()))
    return Baselines(math.log(vocab_size), *losses)


def pair_probabilities(train_ids: ArrayLike, before: ArrayLike, vocab_size: int) -> np.ndarray:
    """Return the bigram baseline's probabilities (R, V) of what follows each of `before` (R,), in one pass."""
    train = np.asarray(train_ids)
    single = np.bincount(train, minlength=vocab_size)  # (V,)
    variety = np.count_nonzero(single)
    shorter = (single + variety / vocab_size) / (len(train) + variety)
    distinct, row_of = np.unique(_as_ids(before), return_inverse=True)
    rows = np.full(vocab_size, -1, dtype=np.int64)
    rows[distinct] = np.arange(len(distinct))
    row = rows[train[:-1]]
    pairs = np.bincount(row[row >= 0] * vocab_size + train[1:][row >= 0], minlength=len(distinct) * vocab_size)
    pairs = pairs.reshape(len(distinct), vocab_size)
    n, u = pairs.sum(axis=1, keepdims=True), np.count_nonzero(pairs, axis=1)[:, None]
    return np.where(n > 0, (pairs + u * shorter) / np.maximum(n + u, 1), shorter)[row_of]


def _interpolate(
    train: np.ndarray,
    histories: np.ndarray,
    tokens: np.ndarray,
    vocab_size: int,
    order: int,
    shorter: np.ndarray,
) -> np.ndarray:
    """Return P(token | history) for each pair, from the probability with the shorter history."""
    pairs, pair_counts = _count_sequences(train, order, vocab_size)
    contexts, first, variety = np.unique(pairs // vocab_size, return_index=True, return_counts=True)
    totals = np.add.reduceat(pair_counts, first)
    n_pair = _look_up(pairs, pair_counts, histories * vocab_size + tokens)
    n, u = _look_up(contexts, totals, histories), _look_up(contexts, variety, histories)
    return np.where(n > 0, (n_pair + u * shorter) / np.maximum(n + u, 1), shorter)


def _count_sequences(ids: np.ndarray, order: int, vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return every sequence of `order` tokens as a number, sorted, and its count; in chunks, to save memory."""
    different = vocab_size**order
    table = np.zeros(different if different <= _TABLE else 0, dtype=np.int64)
    counted: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(ids) - order + 1, _CHUNK):
        chunk = _as_ids(ids[start : start + _CHUNK + order - 1])
        sequences = _history(chunk, order, vocab_size) * vocab_size + chunk[order - 1 :]
        if len(table):
            table += np.bincount(sequences, minlength=different)
        else:
            counted.append(np.unique(sequences, return_counts=True))
    if len(table):
        sequences = np.flatnonzero(table)
        return sequences, table[sequences]
    if len(counted) == 1:
        return counted[0]
    sequences, index = np.unique(np.concatenate([numbers for numbers, _ in counted]), return_inverse=True)
    return sequences, np.bincount(index, np.concatenate([counts for _, counts in counted])).astype(np.int64)


def _history(ids: np.ndarray, order: int, vocab_size: int) -> np.ndarray:
    """Return the `order - 1` tokens before each token as one number, from the first that has them: (N - order + 1,)."""
    length = len(ids) - order + 1
    history = np.zeros(length, dtype=np.int64)
    for offset in range(order - 1):
        history = history * vocab_size + ids[offset : offset + length]
    return history


def _look_up(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return the value of each wanted key, 0 if it is not among the sorted `keys`."""
    index = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[index] == wanted, values[index], 0)


def _as_ids(ids: ArrayLike) -> np.ndarray:
    return np.asarray(ids, dtype=np.int64)
