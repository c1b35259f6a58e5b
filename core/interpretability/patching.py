"""Activation patching: which activations carry the difference between two prompts?

The corrupted prompt is computed many times, each time with one activation of the clean prompt, and the change in the
answer is measured ("Locating and Editing Factual Associations in GPT", Meng 2022, section 2.1: causal tracing).
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor

from core.interpretability import Progress
from core.interpretability.activations import (
    Ids,
    PartError,
    PromptError,
    as_row,
    compute_logits,
    device_of,
    rows_at_once,
    run_batch_with_cache,
)
from core.interpretability.residual_stream import run_blocks, stage_names, unembed
from core.model import GPT, Bigram


class Answers(NamedTuple):
    """The two tokens whose logits are compared after the last token of either prompt."""

    answer: int  # the clean prompt's
    rival: int  # the corrupted prompt's
    clean: float  # logit of `answer` minus that of `rival`, after the clean prompt
    corrupted: float  # the same after the corrupted one


class PatchMap(NamedTuple):
    """The effect of each patched activation."""

    # 0 for the corrupted prompt's logit difference, 1 for the clean one's; nan in rows not done yet
    moved: Float32[np.ndarray, "rows T"]
    rows: list[str]  # titles, from the first layer up
    answers: Answers  # the measured tokens and their logit differences


def answers(
    model: GPT | Bigram, clean: Ids, corrupted: Ids, answer: int | None = None, rival: int | None = None
) -> Answers:
    """Choose the two tokens whose logits after the last token distinguish the prompts.

    By default, `answer` is the top token after the clean prompt, and `rival` the top token other than `answer` after
    the corrupted one. Raises PromptError for prompts that differ in length, do not fit, or lead to the same answer.
    """
    pair = _pair(model, clean, corrupted)
    logits = compute_logits(model, pair)[:, -1].float().cpu()  # (2, V)
    answer = int(logits[0].argmax()) if answer is None else answer
    if rival is None:
        rival = next(int(token) for token in logits[1].argsort(descending=True) if token != answer)
    difference = (logits[:, answer] - logits[:, rival]).tolist()
    if abs(difference[0] - difference[1]) < 1e-4:
        raise PromptError(
            "Both prompts lead this model to the same answer, so there is no difference to trace. Change one of them."
        )
    return Answers(answer, rival, *difference)


def patch_map(
    model: GPT,
    clean: Ids,
    corrupted: Ids,
    what: Literal["stream", "attention", "mlp"] = "stream",
    answer: int | None = None,
    rival: int | None = None,
) -> Iterator[Progress[PatchMap]]:
    """Patch every layer and position, row by row from the first layer up; raises like `answers`.

    Args:
        clean, corrupted: two prompts of the same length.
        what: the patched activation: the residual stream between the blocks (L + 1 rows), or the output of each block's
            attention or feed-forward layer (L rows). Raises PartError for blocks without that layer.
    """
    if what == "mlp" and not model.config.feed_forward:
        raise PartError("The blocks of this model have no feed-forward layer to swap, only attention.")
    goal = answers(model, clean, corrupted, answer, rival)
    pair = _pair(model, clean, corrupted)
    T, layers = pair.size(1), model.config.n_layer
    points = {"attention": "hook_attn_out", "mlp": "hook_mlp_out"}
    stages = stage_names(model)
    names = stages if what == "stream" else [f"blocks.{layer}.{points[what]}" for layer in range(layers)]
    recorded = run_batch_with_cache(model, pair, list(dict.fromkeys([*stages, *names])))
    stream_words = ["before block 1", *(f"after block {layer + 1}" for layer in range(layers))]
    rows = stream_words if what == "stream" else [f"{'MLP' if what == 'mlp' else what} {i + 1}" for i in range(layers)]
    moved = np.full((len(names), T), np.nan, dtype=np.float32)
    for row, name in enumerate(names):
        for places in torch.arange(T).split(rows_at_once(model, T)):
            streams = recorded[stages[row]][1].repeat(len(places), 1, 1)  # one corrupted copy for each place
            replacement = recorded[name][0]  # (T, C)
            if what == "stream":
                streams = _replaced(streams, replacement, places)
                ends = run_blocks(model, streams, row)
            else:
                ends = run_blocks(
                    model,
                    streams,
                    row,
                    lambda at, tensor, name=name, new=replacement, places=places: (
                        _replaced(tensor.clone(), new, places) if at == name else None
                    ),
                )
            logits = unembed(model, ends[:, -1], pair[1, -1].expand(len(places)).to(device_of(model)))
            difference = (logits[:, goal.answer] - logits[:, goal.rival]).float().cpu().numpy()
            moved[row, places.numpy()] = (difference - goal.corrupted) / (goal.clean - goal.corrupted)
        yield Progress(row + 1, len(names), PatchMap(moved.copy(), rows, goal))


def _replaced(streams: Tensor, replacement: Tensor, places: Tensor) -> Tensor:
    """Replace the vector at places[i] in copy i (of the first dimension) by that of `replacement`, in place."""
    streams[torch.arange(len(places)), places] = replacement[places]
    return streams


def _pair(model: GPT | Bigram, clean: Ids, corrupted: Ids) -> Tensor:
    """Return both prompts as (2, T). Raises PromptError if they do not fit."""
    if not len(clean) or not len(corrupted):
        raise PromptError("Two prompts are compared here: write at least one character in each.")
    if len(clean) != len(corrupted):
        raise PromptError(
            "Swapping works position by position, so both prompts must have the same length; these have "
            f"{len(clean):,} and {len(corrupted):,} tokens."
        )
    return torch.cat([as_row(model, clean), as_row(model, corrupted)])
