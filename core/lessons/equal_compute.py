"""Models of several sizes at equal compute, as in a scaling study: which size is best, and how good the next one gets.

Hoffmann and others, "Training Compute-Optimal Large Language Models" (2022), section 3.2, in miniature.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from core.config import RunConfig
from core.interpretability import Progress
from core.lessons.quick_train import small_gpt, train_briefly
from core.training.scaling_law import BUDGETS, Interval, ScalingRun, law_of
from core.training.work import exact_parameters, flops_of_step

SIZES = ((1, 8), (1, 16), (1, 32), (2, 32))  # layers and width
NEXT_SIZE = (2, 48)
STEPS = 160  # for the largest of SIZES at the whole budget
_FINAL_WINDOWS = 256  # of each split, to evaluate a finished run


class NextSize(NamedTuple):
    """The law's prediction for the next size at the whole budget, and the trained run."""

    predicted: Interval
    trained: ScalingRun


def config_within_budget(layers: int, width: int, budget: float, vocab_size: int, seed: int = 1337) -> RunConfig:
    """Return the settings of a size that trains until a budget of floating-point operations is used up."""
    config = small_gpt(seed, n_layer=layers, n_embd=width, init_std=0.05, activation="gelu")
    steps = max(1, round(budget / flops_of_step(config, vocab_size)))
    train = {"train.steps": steps, "train.eval_interval": steps, "train.warmup_steps": min(20, steps // 10)}
    return config.replace(train | {"train.eval_windows": _FINAL_WINDOWS})


def whole_budget(vocab_size: int) -> float:
    """Return the floating-point operations that the largest of SIZES takes for STEPS steps."""
    return STEPS * flops_of_step(config_within_budget(*SIZES[-1], 0.0, vocab_size), vocab_size)


def train_at_equal_compute(
    train_ids: Tensor, val_ids: Tensor, vocab_size: int, seed: int = 1337
) -> Iterator[Progress[list[ScalingRun]]]:
    """Train every size at every budget on the ids (N,) of a split; yield the runs that are done."""
    budget = whole_budget(vocab_size)
    configs = [config_within_budget(*size, share * budget, vocab_size, seed) for share in BUDGETS for size in SIZES]
    total, done = sum(config.train.steps for config in configs), 0
    runs: list[ScalingRun] = []
    for config in configs:
        for progress in train_briefly({"": config}, train_ids, val_ids, vocab_size):
            yield Progress(done + progress.done, total + 1, runs)
        runs = [*runs, _as_run(config, progress.result[""].val[-1], vocab_size)]
        done += config.train.steps
    yield Progress(total + 1, total + 1, runs)


def train_next_size(
    runs: Sequence[ScalingRun], train_ids: Tensor, val_ids: Tensor, vocab_size: int, seed: int = 1337
) -> Iterator[Progress[NextSize | None]]:
    """Predict the loss of NEXT_SIZE from the law of `runs`, then train it; raises ExplorerError without a law."""
    config = config_within_budget(*NEXT_SIZE, whole_budget(vocab_size), vocab_size, seed)
    tokens = config.train.steps * config.train.batch_size * config.model.block_size
    predicted = law_of(runs).predict(exact_parameters(config.model, vocab_size), tokens)
    for progress in train_briefly({"": config}, train_ids, val_ids, vocab_size):
        yield Progress(progress.done, progress.total + 1, None)
    trained = _as_run(config, progress.result[""].val[-1], vocab_size)._replace(expected=predicted)
    yield Progress(progress.total + 1, progress.total + 1, NextSize(predicted, trained))


def _as_run(config: RunConfig, loss: float, vocab_size: int) -> ScalingRun:
    tokens = config.train.steps * config.train.batch_size * config.model.block_size
    compute = config.train.steps * flops_of_step(config, vocab_size)
    size = f"{config.model.n_layer}x{config.model.n_embd}"
    return ScalingRun("", size, exact_parameters(config.model, vocab_size), tokens, compute, loss)


def best_size(runs: Sequence[ScalingRun], budget: int) -> ScalingRun:
    """Return the run with the lowest loss at one budget, an index from 0."""
    return min(runs[budget * len(SIZES) : (budget + 1) * len(SIZES)], key=lambda run: run.loss)


def factor_of_term(exponent: float, times: float) -> float:
    """Return the factor by which A N^-alpha changes for a model with `times` as many parameters."""
    return times**-exponent
