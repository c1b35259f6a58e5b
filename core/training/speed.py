"""How fast this machine trains, fitted to a few seconds of real training steps and of writing."""

from time import perf_counter
from typing import Literal

import numpy as np
import torch

from core.config import ModelConfig, RunConfig, TrainConfig
from core.model import build_model
from core.model.gpt import Dropout
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.settings import Config
from core.training.hardware import knows_bfloat16
from core.training.trainer import Trainer
from core.training.work import work_per_token

Precision = Literal["float32", "bfloat16"]

_VOCAB_SIZE = 80
_SECONDS_EACH = 0.08
# Small models that differ in what takes their time: calls, layers, numbers moved, products of matrices.
_PROBES = tuple(
    RunConfig(model=model, train=TrainConfig(batch_size=batch_size, eval_windows=1))
    for model, batch_size in (
        (ModelConfig(kind="bigram", block_size=8), 32),
        (ModelConfig(n_layer=1, n_embd=64, block_size=32), 4),
        (ModelConfig(n_layer=6, n_embd=64, block_size=32), 4),
        (ModelConfig(n_layer=2, n_embd=64, block_size=64), 32),
        (ModelConfig(n_layer=2, n_embd=128, block_size=64), 12),
        (ModelConfig(n_layer=1, n_embd=384, n_head=6, block_size=64), 8),
        (ModelConfig(n_layer=1, n_embd=384, n_head=6, block_size=256), 8),
    )
)
_WRITERS = (ModelConfig(kind="bigram", block_size=64), *(ModelConfig(n_layer=n, n_embd=64) for n in (1, 4)))
_WRITTEN = 30  # tokens


class Prices(Config):
    """Seconds that the parts of a training step take in one precision."""

    step_seconds: float  # whatever the model
    layer_seconds: float  # per layer, however small
    flop_seconds: float  # per floating-point operation of matrix products
    number_seconds: float  # per float32 number moved outside of them


class MachineSpeed(Config):
    """What training and writing cost on this machine; JSON both ways by `to_json` and `parse`."""

    device: str
    threads: int
    float32: Prices
    bfloat16: Prices | None  # None where the machine has no instructions for it
    drop_seconds: float  # per number that dropout throws a die for
    token_seconds: float  # per token written, whatever the model
    token_layer_seconds: float  # per token written and layer it passes

    def prices(self, precision: str) -> Prices:
        """Those of a precision; float32's for what was not measured."""
        return self.bfloat16 if precision == "bfloat16" and self.bfloat16 else self.float32


def measure_speed(threads: int | None = None, device: str = "cpu") -> MachineSpeed:
    """Train a few small models for a moment each, in every precision, and fit what their steps have in common.

    Takes two to three seconds. Run it while nothing else trains: it measures what is left of the machine.

    Args:
        threads: as many as training will use; None leaves torch's choice. Put back afterwards.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    try:
        token, token_layer = _writing_seconds(device)
        return MachineSpeed(
            device=device,
            threads=torch.get_num_threads(),
            float32=_measure_prices(device, "float32"),
            bfloat16=_measure_prices(device, "bfloat16") if knows_bfloat16(device) else None,
            drop_seconds=_drop_seconds(device),
            token_seconds=token,
            token_layer_seconds=token_layer,
        )
    finally:
        torch.set_num_threads(threads_before)


def step_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed, precision: str) -> float:
    """Expected duration of one training step."""
    prices = speed.prices(precision)
    step, layers, flops, numbers = _amounts(config, vocab_size, precision)
    tokens = config.train.batch_size * config.model.block_size
    muon = work_per_token(config.model, vocab_size).muon_flops if config.train.optimizer == "muon" else 0
    return (
        step * prices.step_seconds
        + layers * prices.layer_seconds
        + flops * prices.flop_seconds
        + numbers * prices.number_seconds
        + muon * speed.prices("bfloat16").flop_seconds  # if there is bfloat16, Muon takes it
        + tokens * work_per_token(config.model, vocab_size, precision).dropped * speed.drop_seconds
    )


def _amounts(config: RunConfig, vocab_size: int, precision: str) -> tuple[float, float, float, float]:
    """Steps (one), layers, floating-point operations and numbers moved in one training step."""
    work = work_per_token(config.model, vocab_size, precision)
    tokens = config.train.batch_size * config.model.block_size
    update = 8 * work.parameters  # AdamW reads four numbers for each parameter and writes three; clipping reads one
    if config.train.optimizer == "muon":
        update += 20 * work.muon_numbers  # gathered by shape, then read and written once each iteration
    return 1, work.layers, tokens * work.flops, tokens * work.numbers_moved + update


def _measure_prices(device: str, precision: str) -> Prices:
    work = np.array([_amounts(probe, _VOCAB_SIZE, precision) for probe in _PROBES])
    seconds = np.array([_step_seconds(probe, device, precision) for probe in _PROBES])
    # Divided by the seconds, each probe's error counts by its share and not by its size.
    step, layer, flop, number = _fit_positive(work / seconds[:, None], np.ones(len(seconds)))
    return Prices(step_seconds=step, layer_seconds=layer, flop_seconds=flop, number_seconds=number)


def _step_seconds(config: RunConfig, device: str, precision: str) -> float:
    """The quickest of a moment's steps, after one that warms up: the others shared the machine with somebody else."""
    ids = torch.arange(4096) % _VOCAB_SIZE
    trainer = Trainer(config, ids, ids, _VOCAB_SIZE, device, precision)
    if trainer.train_step().seconds < _SECONDS_EACH:
        trainer.train_step()
    seconds, start = [], perf_counter()
    while len(seconds) < 2 or perf_counter() - start < _SECONDS_EACH:
        seconds.append(trainer.train_step().seconds)
    return min(seconds)


def _drop_seconds(device: str) -> float:
    numbers, dropout = torch.ones(100_000, device=device), Dropout(0.1)
    seconds = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(5):
            start = perf_counter()
            dropout(numbers).sum().item()
            seconds.append(perf_counter() - start)
    return float(np.median(seconds)) / len(numbers)


def _writing_seconds(device: str) -> tuple[float, float]:
    """Per token, whatever the model and for each layer, by the slope of a good try each."""
    how = GenerationConfig(max_new_tokens=_WRITTEN)
    seconds = []
    with torch.random.fork_rng(devices=[]):
        for config in _WRITERS:
            model = build_model(config, _VOCAB_SIZE).to(device).eval()
            tries = []
            for _ in range(4):
                start = perf_counter()
                for _ in generate(model, [0], how):
                    pass
                tries.append((perf_counter() - start) / _WRITTEN)
            seconds.append(min(tries))
    layers = np.array([[1.0, 0 if config.kind == "bigram" else config.n_layer] for config in _WRITERS])
    token, layer = _fit_positive(layers, np.array(seconds))
    return token, layer


def _fit_positive(amounts: np.ndarray, totals: np.ndarray) -> list[float]:
    """Least squares without negative prices: (probes, kinds) amounts and (probes,) totals to (kinds,) prices.

    The kind whose price comes out most negative is left out, priced at zero, until none is.
    """
    scale = amounts.max(axis=0)
    kinds = list(range(amounts.shape[1]))
    while True:
        prices = np.linalg.lstsq((amounts / scale)[:, kinds], totals, rcond=None)[0]
        if (prices >= 0).all():
            break
        kinds.pop(int(prices.argmin()))
    found = np.zeros(amounts.shape[1])
    found[kinds] = prices
    return [float(price) for price in found / scale]
