"""The lecture's ladder: a GPT put together part by part, each model trained briefly on the same batches."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from torch import Tensor

from core.config import RunConfig
from core.interpretability import Progress
from core.lessons.quick_train import small_gpt, train_briefly
from core.training.evaluation import run_baselines

STEPS = 500  # of each model
TOLERANCE = 0.03  # nats: how far a rung may lie above the one below it, by chance in so short a training


class Rung(NamedTuple):
    """One model: its name, and the settings in which it differs from the one below it."""

    name: str
    changes: dict[str, Any]
    optional: bool = False  # the next rung builds on the one before it


class RungLoss(NamedTuple):
    """The loss of one rung, in nats a token."""

    name: str
    loss: float  # on validation text
    train_loss: float  # of a counted rung, the same as `loss`
    trained: bool  # or counted
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


def rung_configs(seed: int = 1337) -> dict[str, RunConfig]:
    """Return the settings of every trained rung, by name, in order."""
    shape, configs = dict(_ONE_HEAD), {}
    for rung in RUNGS:
        own = shape | rung.changes
        config = small_gpt(seed, **own)
        configs[rung.name] = config.replace(
            {"train.batch_size": 32, "train.steps": STEPS, "train.eval_interval": STEPS}
        )
        if not rung.optional:
            shape = own
    return configs


def train_ladder(
    train_ids: Tensor, val_ids: Tensor, vocab_size: int, seed: int = 1337
) -> Iterator[Progress[list[RungLoss]]]:
    """Count the first three rungs, then train the others one by one. The result has the rungs done so far.

    Args:
        train_ids, val_ids: the two parts of a text, each (N,).
    """
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
