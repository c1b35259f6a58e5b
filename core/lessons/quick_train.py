"""Small GPTs trained for a few seconds on the same batches, and the lecture's ladder: a GPT built part by part."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor

from core.config import ModelConfig, RunConfig, TrainConfig
from core.fast.threads import one_thread
from core.interpretability import Progress
from core.model import GPT, Bigram
from core.training.evaluation import run_baselines
from core.training.trainer import Trainer

STEPS = 400
RUNG_STEPS = 500  # of each rung
_REPORT_EVERY = 10  # steps
_EVAL_WINDOWS = 96  # of each split, at every evaluation


@dataclass
class Losses:
    """The losses at every evaluation, in nats a token, on training and validation text."""

    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)

    def evaluate(self, trainer: Trainer) -> None:
        evaluation = trainer.evaluate()
        self.steps.append(evaluation.step)
        self.train.append(evaluation.train_loss)
        self.val.append(evaluation.val_loss)


@dataclass(kw_only=True)
class QuickRun(Losses):
    """A model and its losses."""

    model: GPT | Bigram


def small_gpt(seed: int = 1337, **changes: Any) -> RunConfig:
    """Return a GPT that writes something like words after seconds of training; `changes` are settings of its model.

    All of them get the same batches if they have the same seed and context.
    """
    shape = {"n_layer": 2, "n_head": 4, "n_embd": 48, "block_size": 32, "activation": "relu", "init_std": 0.1}
    return RunConfig(
        model=ModelConfig.parse(shape | changes),
        train=TrainConfig(
            steps=STEPS,
            batch_size=16,
            learning_rate=1e-2,
            min_learning_rate=1e-3,
            warmup_steps=20,
            schedule="linear",
            weight_decay=0.0,
            eval_interval=max(1, STEPS // 20),
            eval_windows=_EVAL_WINDOWS,
            seed=seed,
            device="cpu",
            precision="float32",
        ),
    )


def train_briefly(
    configs: Mapping[str, RunConfig], train_ids: Tensor, val_ids: Tensor, vocab_size: int
) -> Iterator[Progress[dict[str, QuickRun]]]:
    """Train the models of `configs` one after another on the ids (N,) of a split; report every few steps."""
    runs: dict[str, QuickRun] = {}
    done, total = 0, sum(config.train.steps for config in configs.values())
    for name, config in configs.items():
        with one_thread():
            trainer = Trainer(config, train_ids, val_ids, vocab_size)
            run = runs[name] = QuickRun(model=trainer.model)
            run.evaluate(trainer)
        while trainer.step < config.train.steps:
            with one_thread():
                for _ in range(min(_REPORT_EVERY, config.train.steps - trainer.step)):
                    trainer.train_step()
                if trainer.step % config.train.eval_interval == 0 or trainer.step == config.train.steps:
                    run.evaluate(trainer)
            yield Progress(done + trainer.step, total, runs)
        trainer.model.eval()
        done += trainer.step


class Rung(NamedTuple):
    """One model: its name, and the settings in which it differs from the one below it."""

    name: str
    changes: dict[str, Any]
    optional: bool = False  # if so, the next rung builds on the one before this


class RungLoss(NamedTuple):
    """The loss of one rung, in nats a token."""

    name: str
    loss: float  # on validation text
    train_loss: float  # for a counted rung, the same as `loss`
    trained: bool  # if not, counted
    optional: bool = False


_ONE_HEAD = {
    "n_layer": 1, "n_head": 1, "n_embd": 32, "block_size": 16, "feed_forward": False, "residual": False,
    "norm": "none", "tie_weights": False, "init_std": 0.15,
}  # fmt: skip

RUNGS = (
    Rung("one head", {}),
    Rung("multi-head", {"n_head": 4}),
    Rung("feed-forward", {"feed_forward": True}),
    Rung("residual", {"residual": True}),
    Rung("norm", {"norm": "layer"}),
    Rung("deeper", {"n_layer": 2}),
    Rung("dropout", {"dropout": 0.1}, optional=True),
    Rung("full", {"n_layer": 3, "n_embd": 64, "activation": "gelu", "tie_weights": True, "init_std": 0.05}),
)


# Parts newer than the lecture's, each with the setting that turns it on.
MODERN_PARTS: dict[str, dict[str, Any]] = {
    "grouped queries": {"model.n_kv_head": 1},
    "sliding window": {"model.attention_window": 8},
    "ALiBi": {"model.position": "alibi"},
    "attention sink": {"model.attention_sink": True},
    "token shift": {"model.token_shift": True},
    "gated attention": {"model.gated_attention": True},
    "post-norm": {"model.post_norm": True},
    "experts": {"model.mixture_of_experts": True},
    "label smoothing": {"train.label_smoothing": 0.1},
    "z-loss": {"train.z_loss": 1e-4},
    "WSD": {"train.schedule": "wsd"},
}


def rung_configs(seed: int = 1337) -> dict[str, RunConfig]:
    """Return the settings of every trained rung, by name, in order."""
    shape = dict(_ONE_HEAD)
    configs: dict[str, RunConfig] = {}
    for rung in RUNGS:
        own = shape | rung.changes
        train = {"train.batch_size": 32, "train.steps": RUNG_STEPS, "train.eval_interval": RUNG_STEPS}
        configs[rung.name] = small_gpt(seed, **own).replace(train)
        if not rung.optional:
            shape = own
    return configs


def train_ladder(
    train_ids: Tensor, val_ids: Tensor, vocab_size: int, seed: int = 1337
) -> Iterator[Progress[list[RungLoss]]]:
    """Count the first three rungs, then train the others one by one. The result holds the finished rungs."""
    configs = rung_configs(seed)
    counted = run_baselines(configs["full"], train_ids, val_ids, vocab_size)  # the same windows for every rung
    losses = [
        RungLoss(name, loss, loss, trained=False)
        for name, loss in (("uniform", counted.uniform), ("unigram", counted.unigram), ("bigram", counted.bigram))
    ]
    optional = {rung.name for rung in RUNGS if rung.optional}
    steps = sum(config.train.steps for config in configs.values())
    done = 0
    for name, config in configs.items():
        for progress in train_briefly({name: config}, train_ids, val_ids, vocab_size):
            yield Progress(done + progress.done, steps + 1, list(losses))
        run = progress.result[name]
        losses.append(RungLoss(name, run.val[-1], run.train[-1], trained=True, optional=name in optional))
        done += config.train.steps
    yield Progress(steps + 1, steps + 1, losses)
