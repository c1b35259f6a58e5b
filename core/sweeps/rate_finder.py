"""The learning rate finder: a range test that raises the rate step by step and suggests one.

Smith, "Cyclical Learning Rates for Training Neural Networks" (2017), section 3.3. As the rate rises, the loss falls,
stays low and rises; the suggested rate is a fixed fraction of the one with the lowest loss.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from core.config import RATES, RunConfig
from core.errors import NotFiniteError
from core.fast.threads import threads_for
from core.interpretability import Progress
from core.live_settings import RATE, with_change
from core.runs.ancestry import check_cost
from core.runs.machine import run_precision, threads_for_run, threads_per_run
from core.settings import value_at
from core.text.batches import split_ids
from core.text.bpe import new_tokenizer
from core.text.corpora import load_corpus, load_ids
from core.text.own_text import check_trainable
from core.text.tasks import answers_of
from core.training.cost import check_fits, memory_needed
from core.training.hardware import find_hardware
from core.training.trainer import Trainer
from core.training.work import work_per_token

STEPS = 100
LOWEST, HIGHEST = 1e-5, 1.0
SHARE = 0.25  # suggested fraction of the rate with the lowest loss
_SMOOTHING = 0.85  # weight of the previous losses in the moving average
_DIVERGED = 1.5  # times the first loss
# Settings without a schedule, so that the test sets the rate at each step.
FLAT = {
    "train.schedule": "constant", "train.warmup_steps": 0, "train.decay_steps": 0, "train.schedule_start": 0,
    "train.min_learning_rate": 0.0,
}  # fmt: skip


class RateTest(NamedTuple):
    """The losses of a range test so far, in nats/token on each step's batch."""

    setting: str  # the path of the rate: Muon has its own setting
    rates: list[float]
    losses: list[float]
    diverged: bool  # whether it ended early because the loss rose or was no longer finite

    @property
    def smoothed(self) -> list[float]:
        """The exponential moving averages of the losses, with bias correction."""
        averages: list[float] = []
        average = 0.0
        for count, loss in enumerate(self.losses, 1):
            average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
            averages.append(average / (1 - _SMOOTHING**count))
        return averages

    @property
    def lowest(self) -> float | None:
        """The rate at which the average loss is lowest; None if the loss never fell."""
        if len(self.losses) < STEPS // 5:
            return None
        smoothed = np.array(self.smoothed)
        place = int(smoothed.argmin())
        return self.rates[place] if smoothed[place] < smoothed[: STEPS // 10].mean() - 0.05 else None

    @property
    def suggestion(self) -> float | None:
        """The rate to train with, to two digits; None if the loss never fell."""
        return None if self.lowest is None else float(f"{SHARE * self.lowest:.1e}")

    def settings(self, config: RunConfig) -> RunConfig:
        """Return the settings with the suggested rate, and all other rates changed in proportion."""
        if self.suggestion is None:
            return config
        factor = self.suggestion / value_at(config, self.setting)
        changed = with_change(config, RATE, config.train.learning_rate * factor)
        return changed.replace({path: float(f"{value_at(changed, path):.3g}") for path in RATES})


def main_rate(config: RunConfig) -> str:
    """Return the path of the learning rate that most parameters are trained with."""
    own = f"train.{config.train.optimizer}_learning_rate"
    return own if own in RATES else RATE


def range_test(config: RunConfig, data_dir: Path) -> Iterator[Progress[RateTest]]:
    """Train a new model with these settings while the rate rises by equal factors; yield after each step.

    Nothing is saved. Raises ExplorerError if the settings cannot be trained here.
    """
    config = config.replace(FLAT)
    trainer, setting = _new_trainer(config, data_dir), main_rate(config)
    tokens = config.train.batch_size * config.model.block_size
    multiplications = tokens * work_per_token(config.model, trainer.vocab_size).flops / 2
    ratio = config.train.learning_rate / value_at(config, setting)  # which stays constant
    lowest, highest = max(LOWEST, 1e-6, 1e-6 / ratio), min(HIGHEST, 1.0 / ratio)
    rates = [float(rate) for rate in np.geomspace(lowest, highest, STEPS)]
    losses: list[float] = []
    for done, rate in enumerate(rates, 1):
        trainer.change_setting(RATE, min(1.0, max(1e-6, rate * ratio)))
        try:
            with threads_for(multiplications):
                losses.append(trainer.train_step().loss)
        except NotFiniteError:
            losses.append(math.inf)
        test = RateTest(setting, rates[: len(losses)], losses, diverged=False)
        if not math.isfinite(losses[-1]) or test.smoothed[-1] > _DIVERGED * losses[0]:
            finite = [loss for loss in losses if math.isfinite(loss)]
            yield Progress(STEPS, STEPS, RateTest(setting, rates[: len(finite)], finite, diverged=True))
            return
        yield Progress(done, STEPS, test)


def _new_trainer(config: RunConfig, data_dir: Path) -> Trainer:
    """Return a trainer for a new model on the text in the settings."""
    text = load_corpus(config.data.corpus, data_dir)
    tokenizer = new_tokenizer(config.data, text, data_dir)
    check_trainable(text, config.model.block_size, config.data.val_fraction, tokenizer)
    del text
    hardware, threads = find_hardware(config.train.device), threads_for_run(config, threads_per_run())
    precision = run_precision(config, hardware, threads, data_dir).precision
    check_fits(memory_needed(config, tokenizer.vocab_size, precision), hardware)
    check_cost(data_dir, config.replace({"train.steps": STEPS}), tokenizer.vocab_size)
    ids = torch.from_numpy(load_ids(config.data.corpus, tokenizer, data_dir))
    train_ids, val_ids = split_ids(ids, config.data.val_fraction)
    answers = answers_of(config.data.corpus, tokenizer)
    return Trainer(config, train_ids, val_ids, tokenizer.vocab_size, hardware.device, precision, answers)
