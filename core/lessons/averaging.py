"""The mathematical trick in self-attention: the mean of the past, found in three ways (the lecture's three versions).

T is the number of places, C the numbers at each of them.
"""

import torch
from torch import Tensor


def average_by_loop(x: Tensor) -> Tensor:
    """Every place gets the mean of all places up to itself: (T, C) -> (T, C)."""
    means = torch.zeros_like(x)
    for t in range(len(x)):
        past = x[: t + 1]  # (t + 1, C): this place and all before it
        means[t] = past.mean(dim=0)
    return means


def triangle(T: int) -> Tensor:
    """Row t shares a weight of 1 equally among places 0 to t, and gives none to the future: (T, T)."""
    allowed = torch.tril(torch.ones(T, T))
    return allowed / allowed.sum(dim=1, keepdim=True)


def average_by_matrix(x: Tensor) -> Tensor:
    """The same means, all at once, by one product of matrices: (T, C) -> (T, C)."""
    return triangle(len(x)) @ x  # (T, T) @ (T, C) -> (T, C)


def softmax_weights(scores: Tensor) -> Tensor:
    """Scores (T, T) as weights (T, T): the future is hidden, and each row is made to sum to 1."""
    future = torch.ones_like(scores).triu(diagonal=1).bool()
    return scores.masked_fill(future, float("-inf")).softmax(dim=1)  # e to the minus infinity is 0


def average_by_softmax(x: Tensor) -> Tensor:
    """The same means again: nobody is more interesting than another, so every score is 0. (T, C) -> (T, C)."""
    scores = torch.zeros(len(x), len(x))
    return softmax_weights(scores) @ x
