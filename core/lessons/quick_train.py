"""Small GPTs trained for a short moment, several on the same batches, so that they can be compared."""

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
_AT_ONCE = 10  # steps between two reports


@dataclass
class Course:
    """One model on its way: every measurement, in nats a token, on text learned from and on text kept aside."""

    model: GPT | Bigram
    steps: list[int] = field(default_factory=list)
    train: list[float] = field(default_factory=list)
    val: list[float] = field(default_factory=list)


def small_gpt(seed: int = 1337, **changes: Any) -> RunConfig:
    """A GPT that learns to write something like words within seconds; `changes` are settings of its model.

    With the same seed and context, all of them see the same batches.
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
            eval_interval=STEPS // 20,
            eval_windows=96,
            seed=seed,
            device="cpu",
            precision="float32",
        ),
    )


def train_briefly(
    configs: Mapping[str, RunConfig], train_ids: Tensor, val_ids: Tensor, vocab_size: int
) -> Iterator[Progress[dict[str, Course]]]:
    """Train one model after the other; tells about every few steps.

    Args:
        configs: of the models, by name.
        train_ids, val_ids: the two parts of a text, each (N,).
    """
    courses: dict[str, Course] = {}
    done, total = 0, sum(config.train.steps for config in configs.values())
    for name, config in configs.items():
        with one_thread():
            trainer = Trainer(config, train_ids, val_ids, vocab_size)
            course = courses[name] = Course(trainer.model)
            _measure(trainer, course)
        while trainer.step < config.train.steps:
            with one_thread():
                for _ in range(min(_AT_ONCE, config.train.steps - trainer.step)):
                    trainer.train_step()
                if trainer.step % config.train.eval_interval == 0 or trainer.step == config.train.steps:
                    _measure(trainer, course)
            yield Progress(done + trainer.step, total, courses)
        trainer.model.eval()
        done += trainer.step


def _measure(trainer: Trainer, course: Course) -> None:
    found = trainer.evaluate()
    course.steps.append(found.step)
    course.train.append(found.train_loss)
    course.val.append(found.val_loss)
