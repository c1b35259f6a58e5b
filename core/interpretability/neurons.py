"""Neurons of a feed-forward layer: the tokens that activate them most, and their effect on the logits.

"Transformer Feed-Forward Layers Are Key-Value Memories" (Geva 2021): the first matrix decides what activates a
neuron, the second what it adds.
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float32, Int
from torch import Tensor, nn
from torch.nn import functional

from core.interpretability import Progress
from core.interpretability.activations import (
    POST_NORM,
    Ids,
    PartError,
    PromptError,
    rows_at_once,
    run_batch_with_cache,
    run_with_cache,
)
from core.model import GPT
from core.model.gpt import MLP, MixtureOfExperts


class TopActivation(NamedTuple):
    """One token at which a neuron is active."""

    value: float  # after the activation function
    window: int  # its index
    position: int  # of the token in the window
    values: Float32[np.ndarray, "T"]  # the neuron at every token of that window


class LogitEffects(NamedTuple):
    """The effect of one neuron on the logits of the next token."""

    logits: Float32[np.ndarray, "V"]  # for an activation of 1, before the scale of the last norm, minus their mean
    raised: list[tuple[int, float]]  # tokens with their effect, the most raised first
    lowered: list[tuple[int, float]]  # the same, the most lowered first


def top_activations(
    model: GPT, windows: Int[Tensor, "N W"], layer: int, neuron: int, top: int = 10
) -> Iterator[Progress[list[TopActivation]]]:
    """Find the `top` tokens that activate a neuron most, largest first, at most one per window.

    The last token of a window is not read. Layer and neuron count from 0; a layer has
    `core.model.gpt.feed_forward_width` neurons. Raises ValueError for one that the model lacks.
    """
    _feed_forward(model, layer, neuron)
    name = f"blocks.{layer}.mlp.hook_post"
    read = windows[:, :-1]
    best: list[TopActivation] = []
    size = rows_at_once(model, read.size(1))
    for start in range(0, len(read), size):
        part = read[start : start + size]
        values = run_batch_with_cache(model, part, [name])[name][..., neuron].float().cpu()  # (B, T)
        strongest, places = values.max(dim=1)
        for row in strongest.topk(min(top, len(strongest))).indices.tolist():
            place = TopActivation(float(strongest[row]), start + row, int(places[row]), values[row].numpy().copy())
            best.append(place)
        best = heapq.nlargest(top, best, key=lambda place: (place.value, -place.window))
        yield Progress(min(start + size, len(read)), len(read), list(best))


def logit_effects(model: GPT, layer: int, neuron: int, count: int = 10) -> LogitEffects:
    """Return a neuron's direct effect: its output direction through the last norm's weights and the unembedding.

    Raises PartError for a model without residual connections or with post-norm, ValueError for a neuron that it
    lacks.
    """
    mlp = _feed_forward(model, layer, neuron)
    if not model.config.residual and layer < model.config.n_layer - 1:
        raise PartError(
            "This model has no residual connections, so the output of this layer does not reach the logits directly. "
            "Choose a neuron of the last layer."
        )
    if model.config.post_norm:
        raise PartError(POST_NORM)
    direction = mlp.c_proj.weight.detach()[:, neuron].double()  # (C,)
    norm = model.transformer.ln_f
    if isinstance(norm, nn.LayerNorm):
        direction = direction - direction.mean()
    if not isinstance(norm, nn.Identity):
        direction = direction * norm.weight.detach()
    logits = model.lm_head.weight.detach() @ direction.to(model.lm_head.weight)
    logits = (logits - logits.mean()).float().cpu()
    count = min(count, len(logits))
    ends = (logits.topk(count, largest=largest) for largest in (True, False))
    return LogitEffects(
        logits.numpy(), *(list(zip(end.indices.tolist(), end.values.tolist(), strict=True)) for end in ends)
    )


class NeuronSteps(NamedTuple):
    """One neuron at one token, step by step."""

    inputs: Float32[np.ndarray, "C"]  # the normalized residual stream
    weights: Float32[np.ndarray, "C"]  # the neuron's row of the first matrix
    products: Float32[np.ndarray, "C"]  # inputs * weights, elementwise
    bias: float  # 0 if the model has none
    before: float  # the sum of products and bias
    expert_weight: float  # its expert's weight from the router, a factor of `after`; 1 without experts
    gate: float | None  # factor of `before` in a gated activation, after the gate's own nonlinearity
    after: float  # after the nonlinearity, times `expert_weight`
    outputs: Float32[np.ndarray, "C"]  # the neuron's column of the second matrix
    added: Float32[np.ndarray, "C"]  # after * outputs: what it adds to the residual stream


def neuron_steps(model: GPT, ids: Ids, layer: int, neuron: int, position: int) -> NeuronSteps:
    """Compute one neuron for one token of a prompt step by step; layer, neuron and position count from 0.

    Raises PartError for a model without neurons, ValueError for a neuron that it lacks, and PromptError like `as_row`
    or for a position that the prompt lacks.
    """
    mlp, scope = _feed_forward(model, layer, neuron), f"blocks.{layer}"
    recorded = run_with_cache(
        model, ids, [f"{scope}.hook_resid_mid", f"{scope}.mlp.hook_pre", f"{scope}.mlp.hook_post"]
    )
    stream, pre, post = recorded.values()
    if not 0 <= position < len(pre):
        raise PromptError(f"This prompt has {len(pre)} tokens; it has no token {position + 1}.")
    gated = pre.shape[-1] > post.shape[-1]  # the first half of the first matrix makes the gate
    row = neuron + post.shape[-1] * gated
    with torch.no_grad():
        block, vector = model.transformer.h[layer], torch.from_numpy(stream[position])
        inputs = block.read(vector.to(mlp.c_fc.weight), block.ln_2).float().cpu().numpy()
    expert_weight = 1.0
    if isinstance(mlp, MixtureOfExperts):
        router = run_with_cache(model, ids, [f"{scope}.mlp.hook_router"])[f"{scope}.mlp.hook_router"]
        expert_weight = float(router[position, neuron * mlp.n_expert // post.shape[-1]])
    bias = mlp.c_fc.bias
    weights = mlp.c_fc.weight.detach()[row].float().cpu().numpy()
    outputs = mlp.c_proj.weight.detach()[:, neuron].float().cpu().numpy()
    after = float(post[position, neuron])
    return NeuronSteps(
        inputs=inputs,
        weights=weights,
        products=inputs * weights,
        bias=0.0 if bias is None else bias[row].item(),
        before=float(pre[position, row]),
        expert_weight=expert_weight,
        gate=float(functional.silu(torch.tensor(float(pre[position, neuron])))) if gated else None,
        after=after,
        outputs=outputs,
        added=after * outputs,
    )


def _feed_forward(model: GPT, layer: int, neuron: int) -> MLP:
    """Return a layer's MLP; raises PartError if the model has none, ValueError if it lacks that neuron."""
    layers = [block.mlp for block in model.transformer.h if block.mlp is not None]
    if not layers:
        raise PartError("The neurons of a GPT are the hidden units of its feed-forward layers, and this one has none.")
    if not (0 <= layer < len(layers) and 0 <= neuron < layers[0].c_proj.in_features):
        raise ValueError(f"this model has no neuron {neuron + 1} in layer {layer + 1}")
    return layers[layer]
