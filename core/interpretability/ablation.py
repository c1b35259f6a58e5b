"""Ablation: the loss of a model without some of its parts.

Zero ablation replaces a part's output with 0; mean ablation with its mean, which keeps the inputs of the other parts
in their usual range ("Interpretability in the Wild", Wang 2022, section 2.1).
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.formatting import head_name
from core.interpretability import Progress
from core.interpretability.activations import device_of, rows_at_once, run_batch_with_cache
from core.interpretability.residual_stream import run_blocks, stream_at, unembed
from core.interpretability.token_losses import next_token_losses, window_losses
from core.model import GPT, Hook
from core.text.batches import IGNORED, answer_targets
from core.text.tasks import AnswerTokens

Means = Mapping[str, Float[Tensor, "..."]]
"""Mean output at each hook point: (H, D) for `hook_z`, (C,) for `hook_attn_out` and `hook_mlp_out`."""


class Part(NamedTuple):
    """A part that can be ablated: a head, all heads of a layer, its MLP, or the block; layer and head count from 0."""

    kind: Literal["head", "attention", "mlp", "block"]
    layer: int
    head: int = 0  # only for a head

    def __str__(self) -> str:
        if self.kind == "head":
            return f"head {head_name(self.layer, self.head)}"
        return f"{'MLP' if self.kind == 'mlp' else self.kind} {self.layer + 1}"


class HeadCost(NamedTuple):
    """The cost of ablating one head."""

    layer: int
    head: int
    increase: float  # of the loss, nats/token; negative if the model is better without the head


def ablation_hook(model: GPT, parts: Collection[Part], means: Means | None = None) -> Hook:
    """Return a hook that ablates some parts, with zeros or with `means`; raises ValueError for a missing part.

    It treats every position separately, so it also works in `generate`. In a model without residual connections, an
    ablated sublayer empties the residual stream.
    """
    heads: dict[str, list[int]] = {}
    silenced: set[str] = set()
    for part in parts:
        if not (0 <= part.layer < model.config.n_layer and 0 <= part.head < model.config.n_head):
            raise ValueError(f"this model has no {part}")
        block = f"blocks.{part.layer}"
        if part.kind == "head":
            heads.setdefault(f"{block}.attn.hook_z", []).append(part.head)
        if part.kind in ("attention", "block"):
            silenced.add(f"{block}.hook_attn_out")
        if part.kind in ("mlp", "block"):
            silenced.add(f"{block}.hook_mlp_out")  # a block without feed-forward never calls it

    def hook(name: str, tensor: Tensor) -> Tensor | None:
        if name in heads:
            tensor = tensor.clone()  # (B, T, H, D)
            tensor[:, :, heads[name]] = means[name][heads[name]].to(tensor) if means else 0
            return tensor
        if name in silenced:
            return means[name].to(tensor).expand_as(tensor) if means else torch.zeros_like(tensor)
        return None

    return hook


def mean_activations(model: GPT, windows: Int[Tensor, "N W"]) -> dict[str, Float[Tensor, "..."]]:
    """Return the mean outputs of heads and sublayers over all tokens of the windows except their last one."""
    names = [
        f"blocks.{layer}.{name}"
        for layer in range(model.config.n_layer)
        for name in ("attn.hook_z", "hook_attn_out", *["hook_mlp_out"] * model.config.feed_forward)
    ]
    sums: dict[str, Tensor] = {}
    read = windows[:, :-1]
    for part in read.split(rows_at_once(model, read.size(1))):
        for name, tensor in run_batch_with_cache(model, part, names).items():
            sums[name] = sums.get(name, 0) + tensor.double().sum(dim=(0, 1)).cpu()
    return {name: (total / read.numel()).float() for name, total in sums.items()}


def ablated_loss(
    model: GPT,
    windows: Int[Tensor, "N W"],
    parts: Collection[Part],
    means: Means | None = None,
    answers: AnswerTokens | None = None,
) -> float:
    """Return the mean loss in nats/token on windows with some parts ablated; for a task, only on its answers."""
    losses = window_losses(model, windows, ablation_hook(model, parts, means) if parts else None).double()
    return float(losses[_targets(windows, answers) != IGNORED].mean())


def _targets(windows: Int[Tensor, "N W"], answers: AnswerTokens | None) -> Int[Tensor, "N W-1"]:
    return answer_targets(windows[:, :-1], windows[:, 1:], answers) if answers else windows[:, 1:]


def rank_heads(
    model: GPT, windows: Int[Tensor, "N W"], means: Means | None = None, answers: AnswerTokens | None = None
) -> Iterator[Progress[list[HeadCost]]]:
    """Measure the cost of ablating each head on windows, from the first layer up.

    The result lists the heads done so far, the newest last; sort by `increase` for the ranking. Blocks below the
    ablated one are computed once per layer, not once per head. For a task, only answers count.
    """
    parts = windows.split(rows_at_once(model, windows.size(1) - 1))
    streams = [stream_at(model, part[:, :-1], 0) for part in parts]

    def loss(stage: int, hook: Hook | None = None) -> float:
        total = 0.0
        for stream, part in zip(streams, parts, strict=True):
            ids = part[:, :-1].to(device_of(model))
            logits = unembed(model, run_blocks(model, stream, stage, hook), ids)
            total += float(next_token_losses(logits, _targets(part, answers)).double().sum())  # 0 where IGNORED
        return total / int((_targets(windows, answers) != IGNORED).sum())

    full_loss = loss(0)
    costs: list[HeadCost] = []
    for layer in range(model.config.n_layer):
        for head in range(model.config.n_head):
            silent = ablation_hook(model, [Part("head", layer, head)], means)
            costs.append(HeadCost(layer, head, loss(layer, silent) - full_loss))
            yield Progress(len(costs), model.config.n_layer * model.config.n_head, list(costs))
        streams = [run_blocks(model, stream, layer, until=layer + 1) for stream in streams]
