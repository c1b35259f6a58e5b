"""How fast this machine trains, fitted to a second or two of real training steps."""

from time import perf_counter

import numpy as np
import torch
from torch.nn import functional as F

from core.config import ModelConfig, RunConfig, TrainConfig
from core.settings import Config
from core.training.trainer import Trainer
from core.training.work import work_per_token

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
        (ModelConfig(n_layer=1, n_embd=384, block_size=64), 8),
    )
)


class MachineSpeed(Config):
    """Seconds that the parts of a training step take; JSON both ways by `to_json` and `parse`."""

    device: str
    threads: int
    step_seconds: float  # whatever the model
    layer_seconds: float  # per layer, however small
    flop_seconds: float  # per floating-point operation of matrix products
    number_seconds: float  # per float32 number moved outside of them
    drop_seconds: float  # per number that dropout throws a die for


def measure_speed(threads: int | None = None, device: str = "cpu") -> MachineSpeed:
    """Train a few small models for a moment each, and fit what their steps have in common.

    Takes one to two seconds. Run it while nothing else trains: it measures what is left of the machine.

    Args:
        threads: as many as training will use; None leaves torch's choice. Put back afterwards.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(threads or threads_before)
    try:
        work = np.array([_amounts(probe) for probe in _PROBES])
        seconds = np.array([_step_seconds(probe, device) for probe in _PROBES])
        # Divided by the seconds, each probe's error counts by its share and not by its size.
        step, layer, flop, number = _fit_positive(work / seconds[:, None], np.ones(len(seconds)))
        return MachineSpeed(
            device=device,
            threads=torch.get_num_threads(),
            step_seconds=step,
            layer_seconds=layer,
            flop_seconds=flop,
            number_seconds=number,
            drop_seconds=_drop_seconds(device),
        )
    finally:
        torch.set_num_threads(threads_before)


def step_seconds(config: RunConfig, vocab_size: int, speed: MachineSpeed) -> float:
    """Expected duration of one training step."""
    step, layers, flops, numbers = _amounts(config, vocab_size)
    tokens = config.train.batch_size * config.model.block_size
    return (
        step * speed.step_seconds
        + layers * speed.layer_seconds
        + flops * speed.flop_seconds
        + numbers * speed.number_seconds
        + tokens * work_per_token(config.model, vocab_size).dropped * speed.drop_seconds
    )


def _amounts(config: RunConfig, vocab_size: int = _VOCAB_SIZE) -> tuple[float, float, float, float]:
    """Steps (one), layers, floating-point operations and numbers moved in one training step."""
    work = work_per_token(config.model, vocab_size)
    tokens = config.train.batch_size * config.model.block_size
    update = 8 * work.parameters  # AdamW reads four numbers for each parameter and writes three; clipping reads one
    flops = tokens * work.flops
    if config.train.optimizer == "muon":
        update += 20 * work.muon_numbers  # gathered by shape, then read and written once each iteration
        flops += work.muon_flops
    return 1, work.layers, flops, tokens * work.numbers_moved + update


def _step_seconds(config: RunConfig, device: str) -> float:
    """A good step among a moment's, after three that warm up: the slow ones shared the machine with somebody else."""
    ids = torch.arange(4096) % _VOCAB_SIZE
    trainer = Trainer(config, ids, ids, _VOCAB_SIZE, device)
    for _ in range(3):
        trainer.train_step()
    seconds, start = [], perf_counter()
    while len(seconds) < 3 or perf_counter() - start < _SECONDS_EACH:
        seconds.append(trainer.train_step().seconds)
    return float(np.quantile(seconds, 0.25))


def _drop_seconds(device: str) -> float:
    numbers = torch.ones(100_000, device=device)
    seconds = []
    with torch.random.fork_rng(devices=[]):
        for _ in range(5):
            start = perf_counter()
            F.dropout(numbers, 0.1).sum().item()
            seconds.append(perf_counter() - start)
    return float(np.median(seconds)) / len(numbers)


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
