"""Small GPTs trained for a few seconds, several on the same batches, so that they can be compared."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from core.config import ModelConfig, RunConfig, TrainConfig
from core.fast.threads import one_thread
from core.interpretability import Progress
from core.model import GPT, Bigram
from core.training.trainer import Trainer

STEPS = 400
_REPORT_EVERY = 10  # steps


@dataclass
class QuickRun:
    """A model and its losses at every evaluation, in nats a token, on training and validation text."""

    model: GPT | Bigram
    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)


def small_gpt(seed: int = 1337, **changes: Any) -> RunConfig:
    """Return a GPT that writes something like words after seconds of training; `changes` are settings of its model.

    With the same seed and context, all of them get the same batches.
    """
    shape = {"n_layer": 2, "n_head": 4, "n_embd": 48, "block_size": 32, "activation": "relu", "init_std": 0.1}
    return RunConfig(
        model=ModelConfig(**shape | changes),
        train=TrainConfig(
            steps=STEPS,
            batch_size=16,
            learning_rate=1e-2,
            min_learning_rate=1e-3,
            warmup_steps=20,
            schedule="linear",
            weight_decay=0.0,
            eval_interval=max(1, STEPS // 20),
            eval_windows=96,
            seed=seed,
            device="cpu",
            precision="float32",
        ),
    )


def train_briefly(
    configs: Mapping[str, RunConfig], train_ids: Tensor, val_ids: Tensor, vocab_size: int
) -> Iterator[Progress[dict[str, QuickRun]]]:
    """Train one model after the other; reports every few steps.

    Args:
        configs: of the models, by name.
        train_ids, val_ids: the two parts of a text, each (N,).
    """
    runs: dict[str, QuickRun] = {}
    done, total = 0, sum(config.train.steps for config in configs.values())
    for name, config in configs.items():
        with one_thread():
            trainer = Trainer(config, train_ids, val_ids, vocab_size)
            run = runs[name] = QuickRun(trainer.model)
            _evaluate(trainer, run)
        while trainer.step < config.train.steps:
            with one_thread():
                for _ in range(min(_REPORT_EVERY, config.train.steps - trainer.step)):
                    trainer.train_step()
                if trainer.step % config.train.eval_interval == 0 or trainer.step == config.train.steps:
                    _evaluate(trainer, run)
            yield Progress(done + trainer.step, total, runs)
        trainer.model.eval()
        done += trainer.step


def _evaluate(trainer: Trainer, run: QuickRun) -> None:
    evaluation = trainer.evaluate()
    run.steps.append(evaluation.step)
    run.train.append(evaluation.train_loss)
    run.val.append(evaluation.val_loss)
