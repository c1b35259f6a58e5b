"""Self-attention step by step: averages of the past, one head (Vaswani 2017, section 3.2.1), the mask, the order.

T is the number of tokens, C the width of the model, D the size of the head.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from core.interpretability.activations import run_with_cache
from core.interpretability.attention import attention_patterns
from core.interpretability.residual_stream import next_token_probabilities
from core.interpretability.token_losses import window_losses
from core.model import GPT
from core.text.batches import fixed_windows

_WINDOWS = 200


def average_by_loop(x: Tensor) -> Tensor:
    """Return the mean of each position and all before it: (T, C) -> (T, C)."""
    means = torch.zeros_like(x)
    for t in range(len(x)):
        past = x[: t + 1]  # (t + 1, C): this position and all before it
        means[t] = past.mean(dim=0)
    return means


def averaging_weights(T: int) -> Tensor:
    """Return weights whose row t is 1 / (t + 1) for positions 0 to t, and 0 for later ones: (T, T)."""
    allowed = torch.tril(torch.ones(T, T))
    return allowed / allowed.sum(dim=1, keepdim=True)


def average_by_matrix(x: Tensor) -> Tensor:
    """Return the same means by one matrix product: (T, C) -> (T, C)."""
    return averaging_weights(len(x)) @ x  # (T, T) @ (T, C) -> (T, C)


def softmax_weights(scores: Tensor) -> Tensor:
    """Return scores (T, T) as weights (T, T): masked to the past, each row summing to 1."""
    future = torch.ones_like(scores).triu(diagonal=1).bool()
    return scores.masked_fill(future, float("-inf")).softmax(dim=1)  # e to the minus infinity is 0


def average_by_softmax(x: Tensor) -> Tensor:
    """Return the same means from equal scores: (T, C) -> (T, C)."""
    scores = torch.zeros(len(x), len(x))
    return softmax_weights(scores) @ x


class Attended(NamedTuple):
    """Everything that a head computes."""

    queries: Tensor  # (T, D) what each token looks for
    keys: Tensor  # (T, D) what each token offers
    values: Tensor  # (T, D) what each token passes on
    scores: Tensor  # (T, T) how well the query of the row matches the key of the column
    weights: Tensor  # (T, T) each row sums to 1
    out: Tensor  # (T, D) the weighted sum of the values


def attend(x: Tensor, to_query: Tensor, to_key: Tensor, to_value: Tensor) -> Attended:
    """Compute one head's output for tokens x (T, C), given its three matrices (C, D)."""
    queries, keys, values = x @ to_query, x @ to_key, x @ to_value  # (T, D) each
    scores = queries @ keys.T / math.sqrt(queries.shape[1])  # (T, T)
    future = torch.ones_like(scores).triu(diagonal=1).bool()
    weights = scores.masked_fill(future, float("-inf")).softmax(dim=1)  # (T, T)
    return Attended(queries, keys, values, scores, weights, weights @ values)


def residual_before_attention(model: GPT, ids: list[int], layer: int) -> Tensor:
    """Return the input of a layer's heads, after the layer's norm: (T, C)."""
    name = f"blocks.{layer}.hook_resid_pre"
    stream = torch.from_numpy(run_with_cache(model, ids, [name])[name])
    with torch.no_grad():
        block = model.transformer.h[layer]
        return block.read(stream, block.ln_1)


def head_matrices(model: GPT, layer: int, head: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the three matrices (C, D) of one head of a trained model: for queries, keys and values."""
    attention = model.transformer.h[layer].attn
    D, shared = attention.head_size, model.config.kv_head_of(head)
    stacked = attention.c_attn.weight.detach().split(attention.widths)  # all heads' queries (C, C), keys and values
    query, key, value = (
        part[one * D : (one + 1) * D].T for part, one in zip(stacked, (head, shared, shared), strict=True)
    )
    return query, key, value


def random_scores(head_size: int, divide: bool, tokens: int = 64, seed: int = 1337) -> Tensor:
    """Return the scores (T, T) of random queries and keys with mean 0 and variance 1."""
    rng = torch.Generator().manual_seed(seed)
    queries, keys = torch.randn(2, tokens, head_size, generator=rng)  # (T, D) each
    scores = queries @ keys.T  # each is a sum of D products, so its variance is D
    return scores / math.sqrt(head_size) if divide else scores


def softmax_slope(scores: Tensor) -> float:
    """Return the sum of a softmax's slopes w (1 - w), averaged over the rows: how much training can still change."""
    weights = scores.softmax(dim=1)  # (T, T)
    return float((weights * (1 - weights)).sum(dim=1).mean())


def max_attention(scores: Tensor) -> float:
    """Return the largest weight of each row's softmax, averaged over the rows."""
    return float(scores.softmax(dim=1).max(dim=1).values.mean())


def position_losses(model: GPT, ids: Tensor) -> Tensor:
    """Return the mean loss at each position of the context, on text ids (N,): (T,) nats."""
    return window_losses(model, fixed_windows(ids, model.block_size, _WINDOWS)).mean(dim=0)


def attention_to_next(model: GPT, ids: Tensor) -> float:
    """Return the largest mean attention that a head pays to the next token, which is the answer: 0 to 1."""
    patterns = torch.from_numpy(attention_patterns(model, ids[: model.block_size]))  # (L, H, T, T)
    return float(patterns.diagonal(offset=1, dim1=-2, dim2=-1).mean(dim=-1).max())


def predictions_after_shuffling(model: GPT, ids: list[int], seed: int = 0) -> tuple[list[int], Tensor, Tensor]:
    """Shuffle all tokens but the last; return them and the next-token probabilities before (V,) and after (V,)."""
    order = torch.randperm(len(ids) - 1, generator=torch.Generator().manual_seed(seed)).tolist()
    shuffled = [ids[index] for index in order] + ids[-1:]
    before, after = (torch.as_tensor(next_token_probabilities(model, row)) for row in (ids, shuffled))
    return shuffled, before, after
