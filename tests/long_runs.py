"""Write runs with very many rows, as a worker would, for tests and benchmarks."""

import json
import math
import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil

from core.presets import preset
from core.runs.folder import RunFolder
from core.runs.records import Status
from core.text.tokenizers import CharTokenizer

EVALUATED = 250  # steps between two measurements of the validation loss


def metric_lines(first: int, count: int, spikes: dict[int, float] | None = None) -> Iterator[bytes]:
    """One line a step, noisy as real ones; `spikes` are losses by step."""
    rng = random.Random(first)
    for step in range(first, first + count):
        smooth = 1.5 + 2.7 * math.exp(-step / 2e5)
        row = {
            "step": step,
            "loss": (spikes or {}).get(step, smooth + rng.gauss(0, 0.05)),
            "lr": 1e-3 / (1 + step / 1e5),
            "grad_norm": 0.5 + rng.random() / 2,
            "tokens_per_second": 50_000 * (1 + rng.random()),
            "seconds": round(step * 0.01, 3),
        }
        if step % EVALUATED == 0:
            row |= {"train_loss": smooth, "val_loss": smooth + 0.1}
        yield json.dumps(row).encode() + b"\n"


def long_run(data_dir: Path, rows: int, spikes: dict[int, float] | None = None, name: str = "marathon") -> RunFolder:
    """A run of a million steps that counts as training, because this very process is its worker."""
    folder = RunFolder.create(data_dir, preset("gpt-tiny").replace({"train.steps": 1_000_000}), name=name)
    CharTokenizer.from_text("To be, or not to be").save(folder.tokenizer_path)
    add_rows(folder, 0, rows, spikes)
    return folder


def add_rows(folder: RunFolder, first: int, count: int, spikes: dict[int, float] | None = None) -> None:
    """Rows from a step on, and the status that goes with the last of them."""
    with folder.metrics_path.open("ab") as file:
        file.writelines(metric_lines(first, count, spikes))
    folder.write_status(
        Status(
            state="running",
            step=first + count - 1,
            steps=1_000_000,
            pid=os.getpid(),
            pid_started=psutil.Process().create_time(),
            val_loss=1.6,
            seconds_left=60.0,
        ),
        durable=False,
    )


def write_picture(folder: RunFolder, step: int) -> None:
    """A probe of two layers with four heads, another at every step."""
    rng = np.random.default_rng(step)
    attention = rng.integers(0, 256, (2, 4, 24, 24), np.uint8)
    folder.write_probe(
        step, attention, rng.normal(size=(12, 64)).astype(np.float16), list("To be, or not to be, that"[:24])
    )
