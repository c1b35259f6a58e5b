"""A moment of the very training that is asked for, so that the duration told was tried and not only reckoned.

What a step costs in general is fitted once for a machine (`core.training.speed`). How far that is off for one model is
found by letting it take a few real steps, measure a few windows and write a few tokens. Where a step is long, fewer
layers and a smaller batch stand for the rest.
"""

from collections.abc import Callable
from time import perf_counter

import torch

from core.config import RunConfig
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.training.cost import Correction, measuring_seconds, writing_seconds
from core.training.speed import MachineSpeed, step_seconds
from core.training.trainer import Trainer

_LONGEST_STEP = 1.0  # seconds; more than that is cut down
_SECONDS_EACH = 0.5  # of steps, of windows, of writing
_SPREAD = 5  # a figure so many times off was disturbed, and says nothing about the model


def try_out(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> Correction:
    """Train a thin slice of these settings for a moment, and compare with what was reckoned for the same slice.

    Takes one to three seconds, a few more for a model far too large for the machine. Uses as many threads as torch is
    set to, which should be `speed.threads`. Run it while nothing else trains.
    """
    config = thin_slice(config, vocab_size, speed, precision)
    ids = torch.randint(vocab_size, (20_000,), generator=torch.Generator().manual_seed(0))
    trainer = Trainer(config, ids, ids, vocab_size, speed.device, precision)
    step = _each(trainer.train_step, warm=2)
    measuring = _each(trainer.evaluate, warm=1)
    how = GenerationConfig(max_new_tokens=config.train.sample_length)
    writing = _each(lambda: list(generate(trainer.model, [0], how, alternatives=0, spread=True)), warm=1)
    return Correction(
        step=_times(step, step_seconds(config, vocab_size, speed, precision)),
        measuring=_times(measuring, measuring_seconds(config, vocab_size, speed, precision)),
        writing=_times(writing, writing_seconds(config, vocab_size, speed)),
    )


def thin_slice(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> RunConfig:
    """The same settings with fewer layers, then a smaller batch, until a step is expected to be short enough."""

    def long(seconds: float) -> bool:
        return seconds > _LONGEST_STEP

    while long(step_seconds(config, vocab_size, speed, precision)):
        if config.model.kind == "gpt" and config.model.n_layer > 1:
            config = config.replace({"model.n_layer": config.model.n_layer // 2})
        elif config.train.batch_size > 1:
            config = config.replace({"train.batch_size": config.train.batch_size // 2})
        else:
            break
    while config.train.eval_windows > 1 and long(measuring_seconds(config, vocab_size, speed, precision)):
        config = config.replace({"train.eval_windows": config.train.eval_windows // 2})
    while config.train.sample_length > 10 and long(writing_seconds(config, vocab_size, speed)):
        config = config.replace({"train.sample_length": config.train.sample_length // 2})
    return config


def _each(work: Callable[[], object], *, warm: int) -> float:
    """Seconds that one call takes, the middle of as many as fit into a moment, after some that warm up."""
    seconds, begun = [], perf_counter()
    while len(seconds) < warm + 1 or perf_counter() - begun < _SECONDS_EACH:
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
        if sum(seconds) > 2 * _LONGEST_STEP:
            break
    kept = sorted(seconds[warm:] or seconds[-1:])
    return kept[len(kept) // 2]


def _times(taken: float, told: float) -> float:
    return min(_SPREAD, max(1 / _SPREAD, taken / told)) if told else 1.0
