"""One training step on a prompt: its losses, the gradient at every stage of the residual stream, and the update."""

from copy import deepcopy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from core.config import TrainConfig
from core.fast.threads import threads_for
from core.interpretability.activations import Ids, PromptError, as_row, device_of
from core.model import GPT, Bigram, parameter_count
from core.training.optimizers import build_optimizer, set_learning_rates
from core.training.trainer import objective


class MatrixUpdate(NamedTuple):
    """The effect of one step on one matrix, in Euclidean norms."""

    weights: float  # before the step
    gradient: float
    update: float  # the change of the weights

    @property
    def ratio(self) -> float:
        """Return the update-to-weight ratio; 0 if the weights are 0."""
        return self.update / self.weights if self.weights else 0.0


class TrainingStep(NamedTuple):
    """One step on a prompt of T tokens; the stages of the stream are those of `core.interpretability.forward_pass`."""

    losses: np.ndarray  # (T - 1,), nats, for each next token
    before: float  # their mean
    after: float  # the same with the weights after the step
    stream: np.ndarray  # (S, T), norms of the mean loss's gradient at each stage; for a bigram at its logits, (1, T)
    updates: dict[str, MatrixUpdate]  # by parameter name


def training_step(model: GPT | Bigram, ids: Ids, config: TrainConfig) -> TrainingStep:
    """Take one step on a prompt (T,) with a config's optimizer and peak learning rates, on a copy of the model.

    The optimizer starts without state, because a snapshot has none. Dropout and clipping are off.

    Raises PromptError for fewer than two tokens, or more than the context.
    """
    row = as_row(model, ids).to(device_of(model))
    if row.size(1) < 2:
        raise PromptError("A training step needs at least two tokens: each is the target of the one before.")
    copied = deepcopy(model).eval().requires_grad_()
    stages: list[Tensor] = []

    def hook(name: str, tensor: Tensor) -> None:
        first = name in ("blocks.0.hook_resid_pre", "hook_embed") and (isinstance(model, Bigram) or "blocks" in name)
        middle = name.endswith("hook_resid_mid") and model.config.feed_forward
        if first or middle or name.endswith("hook_resid_post"):
            tensor.retain_grad()
            stages.append(tensor)

    with torch.enable_grad(), threads_for(3 * row.numel() * parameter_count(model)):
        logits, _loss = copied(row, hook=hook)
        losses = F.cross_entropy(logits[0, :-1].float(), row[0, 1:], reduction="none")
        objective(losses.mean(), logits[:, :-1], row[:, 1:], config).backward()
        weights = {name: parameter.detach().clone() for name, parameter in copied.named_parameters()}
        optimizer = build_optimizer(copied, config)
        set_learning_rates(optimizer, config, fraction=1.0)
        optimizer.step()
    with torch.no_grad():
        after = F.cross_entropy(copied(row)[0][0, :-1].float(), row[0, 1:])
    return TrainingStep(
        losses=losses.detach().cpu().numpy(),
        before=float(losses.detach().mean()),
        after=float(after),
        stream=np.stack([stage.grad[0].norm(dim=-1).cpu().numpy() for stage in stages if stage.grad is not None]),
        updates={
            name: MatrixUpdate(
                float(weights[name].norm()),
                float(parameter.grad.norm()) if parameter.grad is not None else 0.0,
                float((parameter.detach() - weights[name]).norm()),
            )
            for name, parameter in copied.named_parameters()
        },
    )
