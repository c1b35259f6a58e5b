"""Texts, tokenizers, batches, and baselines that count n-grams."""


def split_point(length: int, val_fraction: float) -> int:
    """Return how many of `length` tokens are for training, like nanoGPT's `int(0.9 * length)`; the rest validates."""
    return int((1 - val_fraction) * length)
