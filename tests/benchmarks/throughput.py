"""Compare steps per second with nanoGPT: same models, batches and text, each side in its own process, alternating.

nanoGPT computes in float32 on a CPU. Our side is measured in float32 and with its automatic precision. Only model.py
of the checkout is imported, unchanged.
"""

import contextlib
import io
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from core.config import ModelConfig, RunConfig, TrainConfig
from core.fast.threads import keep_freed_memory
from core.training.speed import choose_precision, measure_speed
from core.training.trainer import Trainer
from tests.benchmarks.generation import import_model
from tests.benchmarks.report import report

VOCAB = 65
SHAPES = {  # with the batch
    "tiny": (ModelConfig(n_layer=4, n_head=4, n_embd=128, block_size=64), 12),
    "lecture": (ModelConfig(n_layer=6, n_head=6, n_embd=384, block_size=256), 12),
    "lecture, dropout": (ModelConfig(n_layer=6, n_head=6, n_embd=384, block_size=256, dropout=0.2), 12),
}
AIMS = {("tiny", "float32"): 1.0, ("lecture", "bfloat16"): 1.6, ("lecture, dropout", "bfloat16"): 1.6}
ROUNDS = 5
TURN = {"tiny": 1.0, "lecture": 4.0, "lecture, dropout": 4.0}  # seconds


def measure(checkout: Path, rounds: int = ROUNDS) -> None:
    rows = []
    speed = measure_speed()
    for name, (model, batch) in SHAPES.items():
        chosen = choose_precision(RunConfig(model=model, train=TrainConfig(batch_size=batch)), speed).precision
        sides = {"nanoGPT": _start("nanogpt", name, str(checkout))}
        sides |= {precision: _start("ours", name, precision) for precision in {"float32", chosen}}
        turns = {side: [] for side in sides}
        for _ in range(rounds):
            for side, process in sides.items():
                turns[side].append(_seconds_of_a_step(process, TURN[name]))
        for process in sides.values():
            process.stdin.close()
            process.wait()
        for precision in sorted(turns.keys() - {"nanoGPT"}, reverse=True):
            row = _row(model, batch, precision, turns["nanoGPT"], turns[precision])
            rows.append(row | {"chosen": "yes" * (precision == chosen), "aim": AIMS.get((name, precision), "")})
    report("Training throughput", rows)


def _row(model: ModelConfig, batch: int, precision: str, theirs: list[float], ours: list[float]) -> dict[str, Any]:
    ratios = [nano / own for nano, own in zip(theirs, ours, strict=True)]
    return {
        "model": f"{model.n_layer}/{model.n_head}/{model.n_embd}, context {model.block_size}, batch {batch}",
        "dropout": model.dropout,
        "nanoGPT, float32": f"{1000 * statistics.median(theirs):.1f} ms",
        "ours": f"{1000 * statistics.median(ours):.1f} ms",
        "in": precision,
        "ratio (median)": f"{statistics.median(ratios):.2f}",
        "ratio (least)": f"{min(ratios):.2f}",
    }


def _start(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.throughput", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def _seconds_of_a_step(process: subprocess.Popen, seconds: float) -> float:
    """Return the seconds per step of one side, which trains for a while."""
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _side(kind: str, name: str, how: str) -> None:
    """Train in one side's process for the seconds in each line of its input; print the seconds per step."""
    model, batch = SHAPES[name]
    ids = torch.randint(VOCAB, (1_000_000,), generator=torch.Generator().manual_seed(0))
    step = _nanogpt(Path(how), model, batch, ids) if kind == "nanogpt" else _ours(how, model, batch, ids)
    for _ in range(3):
        step()
    for line in sys.stdin:
        start, steps = perf_counter(), 0
        while (took := perf_counter() - start) < float(line) or not steps:
            step()
            steps += 1
        print(took / steps, flush=True)


def _ours(precision: str, model: ModelConfig, batch: int, ids: torch.Tensor) -> Callable[[], object]:
    keep_freed_memory()
    config = RunConfig(model=model, train=TrainConfig(batch_size=batch))
    return Trainer(config, ids, ids, VOCAB, "cpu", precision).train_step


def _nanogpt(checkout: Path, model: ModelConfig, batch: int, ids: torch.Tensor) -> Callable[[], object]:
    """Return a step of nanoGPT's script: schedule, forward, next batch, backward, clip, optimizer, no gradient."""
    theirs, length = import_model(checkout), model.block_size
    data = ids.numpy().astype(np.uint16)
    with contextlib.redirect_stdout(io.StringIO()):  # it tells its number of parameters
        shape = {
            name: getattr(model, name) for name in ("n_layer", "n_head", "n_embd", "block_size", "bias", "dropout")
        }
        network = theirs.GPT(theirs.GPTConfig(**shape, vocab_size=VOCAB)).train()
        optimizer = network.configure_optimizers(0.1, 1e-3, (0.9, 0.99), "cpu")

    def draw() -> tuple[torch.Tensor, torch.Tensor]:
        starts = torch.randint(len(data) - length, (batch,)).tolist()
        pieces = [torch.from_numpy(data[start : start + length + 1].astype(np.int64)) for start in starts]
        return torch.stack([piece[:-1] for piece in pieces]), torch.stack([piece[1:] for piece in pieces])

    batches = [draw()]

    def step() -> None:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3
        _, loss = network(*batches.pop())
        batches.append(draw())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    _side(*sys.argv[1:])
