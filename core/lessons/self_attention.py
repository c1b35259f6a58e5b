"""One head of self-attention, spelled out (Vaswani 2017, section 3.2.1).

T is the number of tokens, C the width of the model, D the size of the head.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from core.interpretability.activations import run_with_cache
from core.model import GPT


class Attended(NamedTuple):
    """Everything that a head computes on its way."""

    queries: Tensor  # (T, D) what each token looks for
    keys: Tensor  # (T, D) what each token offers
    values: Tensor  # (T, D) what each token hands over
    scores: Tensor  # (T, T) how well the query of the row fits the key of the column
    weights: Tensor  # (T, T) the same as shares: each row sums to 1
    out: Tensor  # (T, D) what each token takes home


def attend(x: Tensor, to_query: Tensor, to_key: Tensor, to_value: Tensor) -> Attended:
    """What one head makes of tokens x (T, C), given its three matrices (C, D)."""
    queries, keys, values = x @ to_query, x @ to_key, x @ to_value  # (T, D) each
    scores = queries @ keys.T / math.sqrt(queries.shape[1])  # (T, T)
    future = torch.ones_like(scores).triu(diagonal=1).bool()
    weights = scores.masked_fill(future, float("-inf")).softmax(dim=1)  # (T, T)
    return Attended(queries, keys, values, scores, weights, weights @ values)


def residual_before_attention(model: GPT, ids: list[int], layer: int) -> Tensor:
    """The tokens as the heads of a layer find them, normalised: (T, C)."""
    stream = torch.from_numpy(
        run_with_cache(model, ids, [f"blocks.{layer}.hook_resid_pre"])[f"blocks.{layer}.hook_resid_pre"]
    )
    with torch.no_grad():
        return model.transformer.h[layer].ln_1(stream)


def matrices_of(model: GPT, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor]:
    """The three matrices (C, D) of one head of a trained model: for queries, keys and values."""
    C, D = model.config.n_embd, model.config.n_embd // model.config.n_head
    stacked = model.transformer.h[layer].attn.c_attn.weight.detach()  # (3 C, C): all heads' queries, keys, values
    mine = slice(head * D, (head + 1) * D)
    return tuple(stacked[part * C : (part + 1) * C][mine].T for part in range(3))


def random_scores(head_size: int, divide: bool, tokens: int = 64, seed: int = 1337) -> Tensor:
    """Scores (T, T) of queries and keys whose numbers are thrown with dice: mean 0, variance 1."""
    rng = torch.Generator().manual_seed(seed)
    queries, keys = torch.randn(2, tokens, head_size, generator=rng)  # (T, D) each
    scores = queries @ keys.T  # each is a sum of D products, so its variance is D
    return scores / math.sqrt(head_size) if divide else scores


def slope_left(scores: Tensor) -> float:
    """How much of a row's softmax can still be moved: the sum of its slopes w (1 - w), on average over the rows."""
    weights = scores.softmax(dim=1)  # (T, T)
    return float((weights * (1 - weights)).sum(dim=1).mean())


def max_attention(scores: Tensor) -> float:
    """The weight that softmax gives to the best of each row, on average: 1 is all for one and nothing for the rest."""
    return float(scores.softmax(dim=1).max(dim=1).values.mean())
