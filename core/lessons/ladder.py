"""The lecture's ladder: a GPT put together part by part, each rung trained for a moment on the same batches."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from core.config import RunConfig
from core.interpretability import Progress
from core.lessons.quick_train import small_gpt, train_briefly
from core.training.evaluation import run_baselines

TOLERANCE = 0.03  # nats: so much may a rung lie above the one below it, by luck of a short training


class Rung(NamedTuple):
    """One rung: its name, and the settings in which it differs from the model below it."""

    name: str
    changes: dict[str, Any]
    beside: bool = False  # tried out beside the ladder; the next rung stands on the one before it


class Reached(NamedTuple):
    """How far a rung comes."""

    name: str
    loss: float  # nats a token on text kept aside
    train_loss: float  # on text learned from; of a counted rung, the same as `loss`
    trained: bool  # or counted
    beside: bool = False


ONE_HEAD = {
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
    Rung("dropout", {"dropout": 0.1}, beside=True),
    Rung("full", {"n_layer": 3, "n_embd": 64, "activation": "gelu", "tie_weights": True, "init_std": 0.05}),
)


def rung_configs(seed: int = 1337) -> dict[str, RunConfig]:
    """The settings of every trained rung, by name, in order: each takes over those of the rung that it stands on."""
    shape, configs = dict(ONE_HEAD), {}
    for rung in RUNGS:
        own = shape | rung.changes
        config = small_gpt(seed, **own)
        configs[rung.name] = config.replace({"train.batch_size": 32, "train.steps": 500, "train.eval_interval": 500})
        if not rung.beside:
            shape = own
    return configs


def climb(train_ids: Tensor, val_ids: Tensor, vocab_size: int, seed: int = 1337) -> Iterator[Progress[list[Reached]]]:
    """Count the first three rungs, then train the others one by one. The result has the rungs reached so far.

    Args:
        train_ids, val_ids: the two parts of a text, each (N,).
    """
    configs = rung_configs(seed)
    counted = run_baselines(configs["full"], train_ids, val_ids, vocab_size)  # the same windows for every rung
    reached = [
        Reached(name, loss, loss, trained=False)
        for name, loss in (("uniform", counted.uniform), ("unigram", counted.unigram), ("bigram", counted.bigram))
    ]
    beside = {rung.name for rung in RUNGS if rung.beside}
    steps = sum(config.train.steps for config in configs.values())
    done = 0
    for name, config in configs.items():
        for progress in train_briefly({name: config}, train_ids, val_ids, vocab_size):
            yield Progress(done + progress.done, steps + 1, list(reached))
        course = progress.result[name]
        reached.append(Reached(name, course.val[-1], course.train[-1], trained=True, beside=name in beside))
        done += config.train.steps
    yield Progress(steps + 1, steps + 1, reached)
