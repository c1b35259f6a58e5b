"""The trainer: it takes training steps and evaluates, and yields an event for each."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from time import perf_counter, thread_time
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from core.config import RunConfig, TrainConfig
from core.errors import NotFiniteError, TrainingError
from core.live_settings import with_change
from core.model import GPT, all_finite, build_model, evaluating
from core.model.gpt import MixtureOfExperts
from core.text.batches import IGNORED, answer_targets, check_length, fixed_windows, problem_starts, random_batch
from core.text.tasks import AnswerTokens
from core.training.data_parallel import SINGLE, ProcessGroup
from core.training.evaluation import COUNTED, score, sequences_at_once, windows_at_once
from core.training.health import Health, matrices, measure_health, update_ratios
from core.training.optimizers import build_optimizer, set_learning_rates
from core.training.schedule import fraction_at, learning_rate_at

_ADVICE = "A lower learning rate, a longer warm-up or gradient clipping usually helps."


class StepEvent(NamedTuple):
    """One update of the weights."""

    step: int  # steps done, this one included
    loss: float  # nats/token on this step's batch, before its update
    learning_rate: float
    grad_norm: float  # norm of the whole gradient, before clipping
    tokens: int  # in this step's batch
    seconds: float
    waiting: float = 0.0  # the part of it in which other programs had the processor


class EvaluationEvent(NamedTuple):
    """One evaluation, always on the same windows of each split."""

    step: int  # steps done so far
    train_loss: float  # nats/token, without dropout
    val_loss: float
    seconds: float
    train_accuracy: float | None = None  # share of problems answered right; None for a text without a task
    val_accuracy: float | None = None


def objective(loss: Tensor, logits: Tensor, targets: Tensor, config: TrainConfig) -> Tensor:
    """Return what training minimizes: the loss with label smoothing (Szegedy 2015) and z-loss (Chowdhery 2022).

    Args:
        loss: the mean cross-entropy, nats/token.
        logits: (B, T, V).
        targets: (B, T), at least one of them not `IGNORED`.
    """
    if not (config.label_smoothing or config.z_loss):
        return loss
    counts = (targets != IGNORED) / (targets != IGNORED).sum()  # (B, T), each a share of the mean
    denominator = logits.float().logsumexp(dim=-1)  # log of the softmax's denominator, (B, T)
    to_all = (counts * (denominator - logits.float().mean(dim=-1))).sum()  # cross-entropy to equal probabilities
    smoothed = (1 - config.label_smoothing) * loss + config.label_smoothing * to_all
    return smoothed + config.z_loss * (counts * denominator.square()).sum()


def _in_parts(batch: Tensor, size: int) -> tuple[Tensor, ...]:
    return (batch,) if len(batch) <= size else batch.split(size)  # `split` takes a tenth of a small model's step


class Trainer:
    """Trains one model on one text.

    All random numbers come from the config's seed and are the trainer's own: batches use a separate generator, and
    dropout uses a state that torch's generator is set to during a step. So evaluation, sampling or another trainer in
    between never changes the course of training.

    >>> trainer = Trainer(config, train_ids, val_ids, tokenizer.vocab_size)
    >>> for event in trainer.events():
    ...     print(event)
    """

    def __init__(
        self,
        config: RunConfig,
        train_ids: Tensor,  # (N,)
        val_ids: Tensor,
        vocab_size: int,
        device: str = "cpu",  # or `cuda`, `mps`; see `core.training.hardware`
        precision: str = "float32",  # or `bfloat16`, for matrix products (mixed precision, Micikevicius 2017)
        answers: AnswerTokens | None = None,  # for a task (`core.text.tasks.answers_of`): only these count in the loss
    ):
        self.config, self.vocab_size = config, vocab_size  # the config with all setting changes so far
        self.device, self.precision = torch.device(device), precision
        self.step = 0  # updates done so far
        self.step_detail: dict[str, Any] = {}  # `_detail_of` the last detailed step, with the loss after it
        self._updates: dict[str, float] = {}  # `update_ratios` of the last step, if measured
        block_size, train = config.model.block_size, config.train
        check_length(train_ids, block_size, "The training")
        check_length(val_ids, block_size, "The validation")
        self.train_ids, self.answers = train_ids, answers
        self._starts, val_starts = (
            problem_starts(ids, block_size, answers) if answers else None for ids in (train_ids, val_ids)
        )
        self.train_windows = fixed_windows(train_ids, block_size, train.eval_windows, self._starts).to(self.device)
        self.val_windows = fixed_windows(val_ids, block_size, train.eval_windows, val_starts).to(self.device)

        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(train.seed)
            model = build_model(config.model, vocab_size)  # on the CPU: the same weights for every device
            if isinstance(model, GPT) and config.model.bigram_start:
                model.start_from_counts(train_ids[:COUNTED])
        self.model = model.to(self.device)
        self.optimizer = build_optimizer(self.model, train)
        self._parameters = dict(self.model.named_parameters())
        compiled = train.compile == "on" or (train.compile == "auto" and self.device.type == "cuda")
        self._forward = torch.compile(self.model) if compiled else self.model
        self._mixtures = [module for module in self.model.modules() if isinstance(module, MixtureOfExperts)]
        self.group: ProcessGroup = SINGLE
        self._batch_rng = torch.Generator().manual_seed(train.seed)
        self._dropout_state = torch.Generator(self.device).manual_seed(train.seed).get_state()

    def change_setting(self, setting: str, value: Any) -> None:
        """Change a setting, by its dotted path, from the next step on; raises ConfigError like `with_change`."""
        self.config = with_change(self.config, setting, value)
        self.group.announce("change_setting", setting, value)
        for module in self.model.modules():
            if isinstance(module, nn.Dropout):
                module.p = self.config.model.dropout

    def train_step(self, detailed: bool = False, measure_update: bool = False) -> StepEvent:
        """Update the weights; if the loss or gradient is not finite, leave them unchanged and raise NotFiniteError.

        `detailed` fills `step_detail`; `measure_update` records the update ratios for the next `health`.
        """
        start, computed = perf_counter(), thread_time()
        self.group.announce("train_step", detailed, measure_update)
        config, model = self.config.train, self.model
        block_size = model.block_size
        x, y = random_batch(self.train_ids, config.batch_size, block_size, self._batch_rng, self.device, self._starts)
        targets = answer_targets(x, y, self.answers) if self.answers else y
        for parameter in self._parameters.values():
            parameter.grad = None
        if not model.training:
            model.train()
        loss, losses = self._backward(x, y, targets, detailed)
        if detailed:
            self.step_detail = self._detail_of(x, y, targets, losses)

        gradients = [p.grad for p in self._parameters.values() if p.grad is not None]
        norm = get_total_norm(gradients)
        # The only wait for a GPU in a step: a loss that is not finite must not lead to an update.
        loss_value, norm_value = torch.stack((loss, norm)).tolist()
        if not (math.isfinite(loss_value) and math.isfinite(norm_value)):
            what = "its gradient is" if math.isfinite(loss_value) else f"the loss ({loss_value}) is"
            raise NotFiniteError(
                f"Training stopped at step {self.step + 1}: {what} no longer a finite number, so the step was not "
                f"taken and the weights are those of the step before. {_ADVICE}"
            )
        if config.grad_clip and norm_value > config.grad_clip:
            clip_grads_with_norm_(self._parameters.values(), config.grad_clip, norm)
        learning_rate = learning_rate_at(self.step, config)
        set_learning_rates(self.optimizer, config, fraction_at(self.step, config))
        before = {name: matrix.clone() for name, matrix in matrices(self._parameters).items()} if measure_update else {}
        self.optimizer.step()
        self._updates = update_ratios(before, matrices(self._parameters)) if measure_update else {}
        self.step += 1
        if detailed:
            self.step_detail["after"] = self._loss_on(x, targets)
        seconds, tokens = perf_counter() - start, config.batch_size * block_size
        # Only a single process on a CPU has nothing else to wait for than other programs.
        alone = self.device.type == "cpu" and self.group.size == 1
        waiting = max(0.0, seconds - (thread_time() - computed)) if alone else 0.0
        return StepEvent(self.step, loss_value, learning_rate, norm_value, tokens, seconds, waiting)

    def evaluate(self) -> EvaluationEvent:
        """Compute loss and accuracy over the fixed windows of both splits, without side effects on training."""
        start, size = perf_counter(), windows_at_once(self.config, self.vocab_size)
        self.group.announce("evaluate")
        with self._mixed_precision():
            train, val = (
                score(self.model, windows, size, self.answers, self.group)
                for windows in (self.train_windows, self.val_windows)
            )
        seconds = perf_counter() - start
        return EvaluationEvent(self.step, train.loss, val.loss, seconds, train.accuracy, val.accuracy)

    def health(self) -> Health | None:
        """Measure the model on a few validation windows; None for a bigram, or if a number is not finite."""
        if not isinstance(self.model, GPT):
            return None
        rate = fraction_at(max(0, self.step - 1), self.config.train)
        return measure_health(self.model, self.val_windows, self.step, rate, self._updates, self.answers)

    def check_finite(self, measured: EvaluationEvent | None = None) -> None:
        """Raise NotFiniteError if a weight, the optimizer's state or an evaluated loss is not a finite number."""
        what = ""
        if not all_finite(self.state_dict().values()):
            what = "the weights are no longer finite numbers"
        elif measured and not math.isfinite(measured.train_loss + measured.val_loss):
            what = "the loss is no longer a finite number"
        if what:
            raise NotFiniteError(
                f"Training stopped after step {self.step}: {what}, so the weights were not saved. {_ADVICE}"
            )

    def events(self) -> Iterator[StepEvent | EvaluationEvent]:
        """Train from the current step to the end; evaluate first, every `eval_interval` steps, and last."""
        if self.step < self.config.train.steps:
            yield self.evaluate()
        while self.step < self.config.train.steps:
            yield self.train_step()
            if self.step % self.config.train.eval_interval == 0 or self.step >= self.config.train.steps:
                yield self.evaluate()

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that the next step depends on except the config: weights, optimizer, random states, step."""
        state = {f"model.{name}": parameter.detach() for name, parameter in self._parameters.items()}
        for name, parameter in self._parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                state[f"optimizer.{name}.{key}"] = value
        state["generator.batch"] = self._batch_rng.get_state()
        state["generator.dropout"] = self._dropout_state
        state["step"] = torch.tensor(self.step)
        return state

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore a `state_dict` to continue bit for bit; raises TrainingError if it is from another model."""
        # Older checkpoints have the states of random generators under other names.
        state = {name.replace("dice.", "generator."): tensor for name, tensor in state.items()}
        shapes = {f"model.{name}": tuple(parameter.shape) for name, parameter in self._parameters.items()}
        saved = {name: tuple(tensor.shape) for name, tensor in state.items() if name.startswith("model.")}
        if saved != shapes:
            name = next(name for name in sorted(saved | shapes) if saved.get(name) != shapes.get(name))
            raise TrainingError(
                f"This state belongs to another model. Its {name} has the shape {saved.get(name, '(it has none)')}, "
                f"this model's {shapes.get(name, '(it has none)')}. Resume a run with the settings it was started "
                "with."
            )
        self.optimizer.state.clear()
        for name, parameter in self._parameters.items():
            parameter.copy_(state[f"model.{name}"])
        for key, tensor in state.items():
            kind, _, name = key.partition(".")
            if kind == "optimizer":  # by parameter name: torch's own format numbers parameters by group
                name, _, what = name.rpartition(".")
                parameter = self._parameters[name]
                self.optimizer.state[parameter][what] = tensor.to(parameter.device, copy=True)
        self._batch_rng.set_state(state["generator.batch"].cpu())
        dropout = state["generator.dropout"].cpu().clone()
        if dropout.shape != self._dropout_state.shape:  # another kind of device has another generator
            dropout = torch.Generator(self.device).manual_seed(self.config.train.seed + int(state["step"])).get_state()
        self._dropout_state = dropout
        self.step = int(state["step"])

    def _backward(self, x: Tensor, y: Tensor, targets: Tensor, detailed: bool) -> tuple[Tensor, list[Tensor]]:
        """Compute the gradients of a batch (B, T) and return its loss; if `detailed`, also token losses, each (b, T).

        The token losses are in nats, and cover only this process's share of the batch.
        """
        group, config = self.group, self.config.train
        model = self.model if detailed else self._forward
        own = slice(group.rank * len(x) // group.size, (group.rank + 1) * len(x) // group.size)
        size = sequences_at_once(config)
        parts = zip(_in_parts(x[own], size), _in_parts(y[own], size), self._parts(targets[own], targets), strict=True)
        shares, losses = list[Tensor](), list[Tensor]()
        with self._own_dropout():
            for part_x, part_y, (part, share) in parts:
                with self._mixed_precision():
                    logits, loss = model(part_x, part)
                if share:
                    minimized = objective(loss, logits, part, config)
                    if share != 1:
                        minimized, loss = minimized * share, loss * share
                    for layer in self._mixtures:
                        minimized = minimized + self.config.model.expert_balance * share * layer.take_balance()
                else:  # the mean over no tokens is NaN
                    minimized = loss = 0 * logits.sum()
                minimized.backward()
                shares.append(loss.detach())
                if detailed:
                    flat = logits.detach().flatten(0, 1).float()
                    losses.append(F.cross_entropy(flat, part_y.flatten(), reduction="none").view_as(part_y))
        return group.sum_gradients(reduce(torch.add, shares), self._parameters.values()), losses

    def _parts(self, targets: Tensor, batch: Tensor) -> list[tuple[Tensor, float]]:
        """Split targets into parts that are computed at once, each with its share of the batch's mean loss."""
        parts = _in_parts(targets, sequences_at_once(self.config.train))
        if self.answers is None:
            return [(part, len(part) / len(batch)) for part in parts]
        whole, *counts = torch.stack([(each != IGNORED).sum() for each in (batch, *parts)]).tolist()
        return [(part, count / whole if whole else math.nan) for part, count in zip(parts, counts, strict=True)]

    def _detail_of(self, x: Tensor, y: Tensor, targets: Tensor, parts: list[Tensor]) -> dict[str, Any]:
        """Return a batch with losses (B, T) in nats, norms by part before clipping, and the loss without dropout.

        If several processes share the batch, the sequences are only this process's.
        """
        losses = torch.cat(parts)
        gradients: dict[str, float] = {}
        weights: dict[str, float] = {}
        for name, parameter in self._parameters.items():
            part, gradient = _part(name), parameter.grad if parameter.grad is not None else torch.zeros(())
            gradients[part] = math.hypot(gradients.get(part, 0.0), gradient.norm().item())
            weights[part] = math.hypot(weights.get(part, 0.0), parameter.detach().norm().item())
        tensors = {"inputs": x, "targets": y, "losses": losses, "counted": targets != IGNORED}
        batch = {name: tensor[: len(losses)].cpu() for name, tensor in tensors.items()}
        norms = {"batch_size": len(x), "gradient_norms": gradients, "weight_norms": weights}
        return {"step": self.step + 1, **batch, **norms, "before": self._loss_on(x, targets)}

    @torch.no_grad()
    def _loss_on(self, x: Tensor, targets: Tensor) -> float:
        inputs = _in_parts(x, sequences_at_once(self.config.train))
        with evaluating(self.model), self._mixed_precision():
            parts = zip(inputs, self._parts(targets, targets), strict=True)
            return sum(share * self.model(part_x, part)[1].item() for part_x, (part, share) in parts if share)

    def _mixed_precision(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16")

    @contextmanager
    def _own_dropout(self) -> Iterator[None]:
        if not self.config.model.dropout:
            yield
            return
        generator = {"cpu": torch, "cuda": torch.cuda, "mps": torch.mps}[self.device.type]
        others = generator.get_rng_state()
        if self.group.rank:  # checkpoints do not save these processes' states, so each step reseeds them
            number = ((self.config.train.seed * 1_000_003 + self.step) * 64 + self.group.rank) % 2**63
            self._dropout_state = torch.Generator(self.device).manual_seed(number).get_state()
        generator.set_rng_state(self._dropout_state)
        try:
            yield
        finally:
            self._dropout_state = generator.get_rng_state()
            generator.set_rng_state(others)


def _part(parameter: str) -> str:
    """Return the part of the model that a parameter belongs to: `transformer.h.0.attn.c_attn.weight` to `h.0.attn`."""
    names = parameter.removeprefix("transformer.").split(".")
    return ".".join(names[:3] if names[0] == "h" else names[:1])
