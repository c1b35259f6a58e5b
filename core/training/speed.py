"""Measures the speed of this machine: coefficients fitted to small models, and a trial of the actual settings.

`core.training.cost` computes a run's duration from the coefficients. A trial shows how far that is off for one model.
"""

from collections.abc import Callable
from functools import partial
from time import perf_counter, thread_time
from typing import NamedTuple

import numpy as np
import torch

from core.config import ModelConfig, RunConfig, TrainConfig
from core.model import build_model
from core.presets import bigram, gpt_fast, gpt_quick
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.settings import value_at
from core.training.cost import (
    TYPICAL_VOCABULARY,
    Correction,
    CostCoefficients,
    MachineSpeed,
    Precision,
    amounts,
    evaluation_seconds,
    sampling_seconds,
    step_seconds,
)
from core.training.hardware import knows_bfloat16
from core.training.trainer import Trainer

_SECONDS_EACH = 0.1
# Small models, each dominated by a different cost: calls, layers, numbers moved, matrix products, updates. Those of
# presets have the smallest batch, the largest, and `gpt_fast`'s many cheap functions. Without these three, steps of
# `core.training.timed_recipe` were estimated 21 to 34% too long, and the gain of a larger batch down to half of it.
_PROBES = (
    *(
        RunConfig(model=model, train=TrainConfig(batch_size=batch_size, optimizer=optimizer))
        for model, batch_size, optimizer in (
            (ModelConfig(kind="bigram", block_size=8), 32, "adamw"),
            (ModelConfig(n_layer=1, n_embd=64, block_size=32), 4, "adamw"),
            (ModelConfig(n_layer=6, n_embd=64, block_size=32), 4, "adamw"),
            (ModelConfig(n_layer=2, n_embd=128, block_size=64), 12, "adamw"),
            (ModelConfig(n_layer=1, n_embd=384, n_head=6, block_size=64), 8, "adamw"),
            (ModelConfig(n_layer=2, n_embd=384, n_head=6, block_size=16), 2, "adamw"),
            (ModelConfig(n_layer=2, n_embd=128, block_size=32), 4, "muon"),
        )
    ),
    bigram().replace({"train.batch_size": 512}),
    gpt_quick().replace({"train.batch_size": 1}),
    gpt_fast().replace({"train.batch_size": 4}),
)
PROBES_VERSION = 2  # raise it when `_PROBES` change: what was measured with others is then measured again
_WRITERS = (ModelConfig(kind="bigram", block_size=64), *(ModelConfig(n_layer=n, n_embd=64) for n in (1, 4)))
_WRITTEN = 30  # tokens
_LONGEST_STEP = 1.0  # seconds; a trial with longer steps is reduced
_TRIAL_SECONDS = 0.5  # each for steps, evaluations and samples
_MAX_OFF = 5  # factor; a measurement further off was disturbed and says nothing about the model
_WORTH_IT = 1.15  # times as fast; for less, the three times as many digits of float32 are worth more
_BELIEVABLE = 30  # times as fast; more only shows that other programs ran during the measurement


def measure_speed(threads: int | None = None, device: str = "cpu") -> MachineSpeed:
    """Train a few small models briefly (two to three seconds), and fit coefficients to their step times.

    Call it while nothing else trains: it measures the idle part of the machine. Torch's thread count is restored.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    try:
        token, token_layer = _sampling_seconds(device)
        precisions = ("float32", "bfloat16") if knows_bfloat16(device) else ("float32",)
        return MachineSpeed(
            device=device,
            threads=torch.get_num_threads(),
            float32=_measure_coefficients(device, "float32"),
            bfloat16=_measure_coefficients(device, "bfloat16") if "bfloat16" in precisions else None,
            random_seconds=_random_seconds(device),
            token_seconds=token,
            token_layer_seconds=token_layer,
            peak={precision: _peak(device, precision) for precision in precisions},
        )
    finally:
        torch.set_num_threads(threads_before)


def _measure_coefficients(device: str, precision: str) -> CostCoefficients:
    work = np.array([amounts(probe, TYPICAL_VOCABULARY, precision) for probe in _PROBES])
    ids = torch.arange(4096) % TYPICAL_VOCABULARY
    trainers = (Trainer(probe, ids, ids, TYPICAL_VOCABULARY, device, precision) for probe in _PROBES)
    # The shortest of a few steps after a warm-up: longer ones shared the machine with other programs.
    steps = (_computing_seconds(trainer.train_step, device) for trainer in trainers)
    seconds = np.array([min(each) for each in steps])
    # Dividing by the seconds makes the fit minimize relative errors instead of absolute ones.
    fitted = _fit_positive(work / seconds[:, None], np.ones(len(seconds)))
    return CostCoefficients(**dict(zip(CostCoefficients.model_fields, fitted, strict=True)))


def _peak(device: str, precision: str) -> float:
    size = 1024 if device == "cpu" else 4096
    matrix = torch.ones(size, size, device=device, dtype=getattr(torch, precision))
    product = torch.empty_like(matrix)  # allocated beforehand, because its first use takes longer than the product
    seconds = _computing_seconds(lambda: torch.mm(matrix, matrix, out=product)[0, 0].item(), device)
    return 2 * size**3 / min(seconds)


def _random_seconds(device: str) -> float:
    numbers = torch.empty(25_000, dtype=torch.int64, device=device)
    with torch.random.fork_rng(devices=[]):
        seconds = _seconds_of(lambda: numbers.random_(-(2**63), None), 0.002)
    return float(np.median(seconds)) / len(numbers)


def _sampling_seconds(device: str) -> list[float]:
    how = GenerationConfig(max_new_tokens=_WRITTEN)
    seconds = []
    with torch.random.fork_rng(devices=[]):
        for config in _WRITERS:
            model = build_model(config, TYPICAL_VOCABULARY).to(device).eval()
            tries = _seconds_of(lambda model=model: list(generate(model, [0], how, compiled=False)), 0.02)
            seconds.append(min(tries) / _WRITTEN)
    layers = np.array([[1.0, 0 if config.kind == "bigram" else config.n_layer] for config in _WRITERS])
    return _fit_positive(layers, np.array(seconds))


def _fit_positive(amounts: np.ndarray, totals: np.ndarray) -> list[float]:
    """Fit (kinds,) coefficients, none negative, to (probes, kinds) amounts and (probes,) totals by least squares."""
    scale = amounts.max(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    kinds = list(range(amounts.shape[1]))
    while True:
        coefficients = np.linalg.lstsq((amounts / scale)[:, kinds], totals, rcond=None)[0]
        if (coefficients >= 0).all():
            break
        kinds.pop(int(coefficients.argmin()))
    fitted = np.zeros(amounts.shape[1])
    fitted[kinds] = coefficients
    return [float(coefficient) for coefficient in fitted / scale]


def measure_correction(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> Correction:
    """Train with these settings, reduced, for one to three seconds, and compare with the estimate for them.

    It uses torch's current thread count, which should be `speed.threads`. Call it while nothing else trains.
    """
    train = config.train  # each of several processes trains on a share of the batch
    config = config.replace({"train.batch_size": train.batch_size // train.processes, "train.processes": 1})
    config = reduced_config(config, vocab_size, speed, precision)
    ids = torch.randint(vocab_size, (20_000,), generator=torch.Generator().manual_seed(0))
    trainer = Trainer(config, ids, ids, vocab_size, speed.device, precision)
    how = GenerationConfig(max_new_tokens=config.train.sample_length)
    step = _seconds_of(trainer.train_step, _TRIAL_SECONDS, warm_up=2)
    evaluation = _seconds_of(trainer.evaluate, _TRIAL_SECONDS)
    written = partial(generate, trainer.model, [0], how, alternatives=0, compiled=False, use_all_threads=True)
    sampling = _seconds_of(lambda: list(written()), _TRIAL_SECONDS)
    return Correction(
        step=_ratio(step, step_seconds(config, vocab_size, speed, precision)),
        evaluation=_ratio(evaluation, evaluation_seconds(config, vocab_size, speed, precision)),
        sampling=_ratio(sampling, sampling_seconds(config, vocab_size, speed)),
    )


def reduced_config(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> RunConfig:
    """Return the settings with fewer layers, then a smaller batch, until a step is expected to be short enough."""
    for path, least, seconds, more in (
        ("model.n_layer", 1, step_seconds, (precision,)),
        ("train.batch_size", 1, step_seconds, (precision,)),
        ("train.eval_windows", 1, evaluation_seconds, (precision,)),
        ("train.sample_length", 10, sampling_seconds, ()),
    ):
        while value_at(config, path) > least and seconds(config, vocab_size, speed, *more) > _LONGEST_STEP:
            config = config.replace({path: value_at(config, path) // 2})
    return config


def _computing_seconds(work: Callable[[], object], device: str) -> list[float]:
    """Return the seconds of each call; on a CPU, without the time that it spends on other programs."""
    return _seconds_of(work, _SECONDS_EACH, warm_up=2, clock=thread_time if device == "cpu" else perf_counter)


def _seconds_of(
    work: Callable[[], object], at_least: float, *, warm_up: int = 1, clock: Callable[[], float] = perf_counter
) -> list[float]:
    """Return the seconds of each call after the warm-up; calls repeat until they take `at_least` seconds in total."""
    seconds: list[float] = []
    while (len(seconds) < warm_up + 2 or sum(seconds) < at_least) and sum(seconds) <= 2 * _LONGEST_STEP:
        start = clock()
        work()
        seconds.append(clock() - start)
    return seconds[warm_up:] or seconds[-1:]


def _ratio(seconds: list[float], estimated: float) -> float:
    measured = sorted(seconds)[len(seconds) // 2]
    return min(_MAX_OFF, max(1 / _MAX_OFF, measured / estimated)) if estimated else 1.0


WHY = {  # what follows "It computes in"
    "asked": "{precision}, as the settings ask.",
    "graphics card": "bfloat16: this graphics card multiplies it far faster than float32.",
    "no instructions": "float32: this machine has no instructions for bfloat16.",
    "hardly faster": "float32: bfloat16 would hardly be faster here for a model of this shape.",
    "too busy": "float32: this machine was too busy to find out whether bfloat16 is faster.",
    "measured": "bfloat16: measured to be {times} times as fast here for a model of this shape.",
}


class Choice(NamedTuple):
    """The precision chosen, and why."""

    precision: Precision
    why: str  # one of WHY
    times: str = ""  # how many times as fast as float32

    @property
    def sentence(self) -> str:
        return self.why.format(precision=self.precision, times=self.times)


def choose_precision(config: RunConfig, speed: MachineSpeed) -> Choice:
    """Return bfloat16 if a step of this model is expected to be clearly faster; else float32, which has more digits."""
    if speed.bfloat16 is None:
        return Choice("float32", WHY["no instructions"])
    exact, rounded = (
        step_seconds(config, TYPICAL_VOCABULARY, speed, precision) for precision in ("float32", "bfloat16")
    )
    if exact < _WORTH_IT * rounded:
        return Choice("float32", WHY["hardly faster"])
    if exact > _BELIEVABLE * rounded:
        return Choice("float32", WHY["too busy"])
    return Choice("bfloat16", WHY["measured"], f"{exact / rounded:.1f}")
