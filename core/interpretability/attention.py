"""Attention patterns, and one attention weight step by step."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from core.interpretability import Progress
from core.interpretability.activations import Ids, PromptError, as_row, run_with_cache
from core.interpretability.residual_stream import run_blocks, stream_at
from core.model import GPT, Bigram
from core.text.token_display import quoted, visible


def attention_patterns(model: GPT | Bigram, ids: Ids) -> Float32[np.ndarray, "L H T T"]:
    """Return the attention weights of each query (row) for each key; a bigram model has neither layers nor heads."""
    if not isinstance(model, GPT):
        return np.zeros((0, 0, len(ids), len(ids)), dtype=np.float32)
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layer)]
    recorded = run_with_cache(model, ids, names)
    return np.stack([recorded[name] for name in names])


def coarse_patterns(model: GPT, ids: Ids, size: int) -> Iterator[Progress[Float32[np.ndarray, "L H G G"]]]:
    """Compute the patterns of a long prompt in squares of `size` by `size` tokens, layer by layer.

    Only one layer's full patterns are in memory at a time; unfinished layers are nan. Raises PromptError like `as_row`.
    """
    row, layers = as_row(model, ids), model.config.n_layer
    groups = -(-row.size(1) // size)
    weights = np.full((layers, model.config.n_head, groups, groups), np.nan, dtype=np.float32)
    stream = stream_at(model, row, 0)
    for layer in range(layers):

        def hook(name: str, tensor: Tensor, layer: int = layer) -> None:
            if name == f"blocks.{layer}.attn.hook_pattern":
                weights[layer] = coarsened(tensor[0].float().cpu().numpy(), size)

        stream = run_blocks(model, stream, layer, hook, until=layer + 1)
        yield Progress(layer + 1, layers, weights.copy())


def coarsened(patterns: Float[np.ndarray, "*A T T"], size: int) -> Float[np.ndarray, "*A G G"]:
    """Return patterns in squares of `size` by `size`: the mean over queries of the sum over keys.

    Rows still sum to 1. If T is not a multiple of `size`, the last row and column have fewer tokens.
    """
    starts = np.arange(0, patterns.shape[-1], size)
    counts = np.diff([*starts, patterns.shape[-1]])
    summed = np.add.reduceat(np.add.reduceat(patterns, starts, axis=-1), starts, axis=-2)
    return summed / counts[:, None].astype(patterns.dtype)


def over_heads(patterns: Float[np.ndarray, "L H T T"], how: str = "mean") -> Float[np.ndarray, "L T T"]:
    """Return the mean or maximum over the heads of each layer; raises ValueError if `how` is neither."""
    if how not in ("mean", "max"):
        raise ValueError(f"how must be 'mean' or 'max', not {how!r}")
    if not patterns.size:  # a bigram model
        return np.zeros((len(patterns), *patterns.shape[2:]), dtype=patterns.dtype)
    return patterns.mean(axis=1) if how == "mean" else patterns.max(axis=1)


def rollout(patterns: Float[np.ndarray, "L H T T"], residual: bool = True) -> Float32[np.ndarray, "L T T"]:
    """Return the attention rollout (Abnar and Zuidema 2020, section 3) after each layer.

    Each layer's mean over heads, averaged with the identity if the model has residual connections, multiplies the
    product of the layers below. Rows sum to 1. Values and feed-forward layers are not considered.
    """
    T = patterns.shape[-1]
    flow, stages = np.eye(T, dtype=np.float32), np.zeros((len(patterns), T, T), dtype=np.float32)
    for layer, mixed in enumerate(over_heads(patterns)):
        step = (mixed + np.eye(T, dtype=np.float32)) / 2 if residual else mixed
        flow = step @ flow
        stages[layer] = flow
    return stages


def to_bytes(patterns: Float[np.ndarray, "*A"]) -> UInt8[np.ndarray, "*A"]:
    """Return weights as bytes, 255 for 1; the error is at most 1 / 510."""
    return np.rint(np.clip(patterns, 0, 1) * 255).astype(np.uint8)


def describe(
    patterns: Float[np.ndarray, "L H T T"],
    tokens: Sequence[str],
    layer: int,
    head: int,
    row: int,
    column: int | None = None,
) -> str:
    """Return one cell in words: "'e' looks 62% at 'h', 1 back".

    Layer, head, row and column count from 0; the weights are from 0 to 1.
    """
    weights = patterns[layer, head, row]
    column = int(weights.argmax()) if column is None else column
    percent = "under 1%" if 0 < weights[column] < 0.005 else f"{weights[column]:.0%}"
    looks = f"{quoted(visible(tokens[row]))} looks {percent} at"
    if column == row:
        return f"{looks} itself"
    distance = f"{row - column} back" if column < row else f"{column - row} ahead"
    return f"{looks} {quoted(visible(tokens[column]))}, {distance}"


class AttentionWeight(NamedTuple):
    """One attention weight step by step, and the head's output for its query."""

    steps: tuple[str, ...]  # applied to query and key before their product, in this order: "normalised", "rotated"
    q_projected: Float32[np.ndarray, "D"]  # output of its linear layer
    k_projected: Float32[np.ndarray, "D"]
    q: Float32[np.ndarray, "D"]  # after `steps`
    k: Float32[np.ndarray, "D"]
    products: Float32[np.ndarray, "D"]  # q * k, elementwise
    product: float  # their sum
    scale: float  # what the sum is multiplied by, 1 / sqrt(D), or 1 if the model does not scale
    distance_penalty: float  # ALiBi's, which is subtracted; 0 with other positions
    score: float  # product * scale - distance_penalty, before the mask
    hidden: bool  # whether this key is masked for this query
    row_scores: Float32[np.ndarray, "T"]  # the scores of all keys for this query; -inf where they are masked
    row_weights: Float32[np.ndarray, "T"]  # their softmax, summing to 1, or to less with an attention sink
    weight: float  # this cell's
    values: Float32[np.ndarray, "T D"]  # of all keys
    weighted_values: Float32[np.ndarray, "T D"]  # row_weights times values
    gate: float | None  # factor of their sum in a model with gated attention
    z: Float32[np.ndarray, "D"]  # their sum, times the gate: the head's output for this query


def attention_weight_steps(model: GPT, ids: Ids, layer: int, head: int, query: int, key: int) -> AttentionWeight:
    """Compute the attention weight of `key` for `query` in `head` of `layer` step by step; all count from 0.

    "Attention Is All You Need" (Vaswani 2017), equation 1, for one query and one key. Raises PromptError like `as_row`,
    for a query or key beyond the prompt, and for a softmax over queries: its weights do not come from a row.
    """
    if model.config.softmax_over == "queries":
        raise PromptError(
            "This model takes its softmax over the queries, so a weight depends on its whole column, including later "
            "tokens. Only the softmax over keys is shown step by step here."
        )
    attention = f"blocks.{layer}.attn."
    steps = ("normalised",) * model.config.qk_norm + ("rotated",) * (model.config.position == "rope")
    recorded = run_with_cache(
        model,
        ids,
        [attention + name for name in ("hook_q", "hook_k", "hook_v", "hook_attn_scores", "hook_pattern", "hook_z")]
        + [attention + name for name in ("hook_rot_q", "hook_rot_k") if steps]
        + [attention + "hook_gate"] * model.config.gated_attention,
    )
    at = {name.removeprefix(attention): tensor for name, tensor in recorded.items()}
    T = len(at["hook_q"])
    if not (0 <= query < T and 0 <= key < T):
        raise PromptError(f"This prompt has {T} tokens; there is no cell in row {query + 1}, column {key + 1} of it.")
    shared = model.config.kv_head_of(head)
    q_projected, k_projected = at["hook_q"][query, head], at["hook_k"][key, shared]
    q, k = at.get("hook_rot_q", at["hook_q"])[query, head], at.get("hook_rot_k", at["hook_k"])[key, shared]
    row_weights, values = at["hook_pattern"][head, query], at["hook_v"][:, shared]
    scale = model.transformer.h[layer].attn.scale
    product, penalty = float(q @ k), 0.0
    if model.config.position == "alibi":
        penalty = float(model.transformer.h[layer].attn.slopes[head]) * abs(query - key)
    return AttentionWeight(
        steps=steps,
        q_projected=q_projected,
        k_projected=k_projected,
        q=q,
        k=k,
        products=q * k,
        product=product,
        scale=scale,
        distance_penalty=penalty,
        score=product * scale - penalty,
        hidden=model.config.is_masked(query, key),
        row_scores=at["hook_attn_scores"][head, query],
        row_weights=row_weights,
        weight=float(row_weights[key]),
        values=values,
        weighted_values=row_weights[:, None] * values,
        gate=float(at["hook_gate"][query, head]) if "hook_gate" in at else None,
        z=at["hook_z"][query, head],
    )
