"""Inspection of a trained model: arrays in, arrays out. Computations longer than a second report their progress.

Dimensions in annotations: B rows, T tokens, C channels, L layers, H heads, D channels of a head, V tokens of the
vocabulary, N windows of W tokens each, S training steps; there are L + 1 `stages`, one before each block and one after
the last. A bigram model has V channels and one stage.
"""

from collections import deque
from collections.abc import Iterator
from typing import Generic, NamedTuple, TypeVar

Result = TypeVar("Result")


class Progress(NamedTuple, Generic[Result]):
    """How far a computation is, and its result so far."""

    done: int
    total: int
    result: Result  # complete once done == total


def finish(steps: Iterator[Progress[Result]]) -> Result:
    """Return the complete result; raises ValueError if there is nothing to compute."""
    last = deque(steps, maxlen=1)
    if not last:
        raise ValueError("there was nothing to compute")
    return last[0].result
