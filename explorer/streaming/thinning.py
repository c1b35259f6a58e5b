"""Which rows stay where there are more than a screen can show: those that shape the picture, extremes above all."""

from collections.abc import Mapping

import numpy as np
from tsdownsample import MinMaxDownsampler

MEASURED = "val_loss"  # rows that have it are few and dear: each took an evaluation


def chosen(columns: Mapping[str, np.ndarray], count: int, most: int) -> np.ndarray:
    """At most `most` of `count` rows, as their places in order, the first and the last among them.

    Measured rows stay as long as they take no more than half of the room. Of every doubling of the place some stay, so
    that a logarithmic axis has points at its beginning too. The other columns share the rest: each is cut into
    stretches, and of every stretch its lowest and highest stay, so that a single outlier is always among them. Room
    that is left then is filled evenly.

    Args:
        columns: float64 (count,) by name, nan where a row has no number.
    """
    if count <= most:
        return np.arange(count)
    kept = {0, count - 1, *by_octaves(count, most // 60)}
    if MEASURED in columns:
        kept.update(extremes(columns[MEASURED], (most - 2) // 2))
    others = [values for name, values in columns.items() if name != MEASURED]
    room = most - len(kept)
    for values in others:
        kept.update(extremes(values, room // len(others)))
    return np.array(sorted(kept.union(evenly(count, most - len(kept)))))


def by_octaves(count: int, each: int) -> list[int]:
    """Places among `count`, up to so many of every doubling: 1 to 2, 2 to 4, 4 to 8 and so on."""
    if count < 2 or not each:
        return []
    return np.unique(np.exp2(np.arange(0, np.log2(count), 1 / each)).astype(int)).tolist()


def extremes(values: np.ndarray, most: int) -> list[int]:
    """At most `most` places of numbers, among them the lowest and the highest; all of them where they are so few."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) <= most:
        return known.tolist()
    if most < 2:
        return []
    return known[MinMaxDownsampler().downsample(values[known], n_out=most // 2 * 2)].tolist()


def evenly(count: int, most: int) -> list[int]:
    """At most `most` places among `count`, evenly taken, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)] if most > 1 else []
