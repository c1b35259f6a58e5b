"""Measure the time of a step as context, width, depth and batch grow, and its share of the machine's peak.

Each measurement uses as many threads as a run with those settings. The peak is that of one large matrix product.
"""

import statistics
from time import perf_counter
from typing import Any

import torch

from core.config import RunConfig
from core.fast.threads import keep_freed_memory
from core.presets import preset
from core.runs.machine import threads_for_run, threads_per_run
from core.training.hardware import knows_bfloat16
from core.training.trainer import Trainer
from core.training.work import work_per_token
from tests.benchmarks.report import report

VOCAB = 65
SIZE = 2048  # of the square matrices whose product is the machine's best
GROWTH = {
    "model.block_size": (32, 64, 128, 256, 512, 1024),
    "model.n_embd": (64, 128, 256, 512),
    "model.n_layer": (1, 4, 12),
    "train.batch_size": (1, 12, 64),
}
SECONDS = 1.0  # for each row and precision, and at least three steps


def measure() -> None:
    keep_freed_memory()
    precisions = ("float32", "bfloat16") if knows_bfloat16("cpu") else ("float32",)
    best = {}
    for count in {1, threads_per_run()}:
        torch.set_num_threads(count)
        best[count] = {precision: _best(getattr(torch, precision)) for precision in precisions}
    rows = [_row(path, value, best) for path, values in GROWTH.items() for value in values]
    rows.append(_row("train.batch_size", 12, best, "gpt-lecture"))
    report("Growth", rows)


def _row(path: str, value: int, best: dict[int, dict[str, float]], name: str = "gpt-tiny") -> dict[str, Any]:
    config = preset(name).replace({path: value, "train.eval_windows": 1})
    count = threads_for_run(config, threads_per_run())
    torch.set_num_threads(count)
    tokens = config.train.batch_size * config.model.block_size
    flops = tokens * work_per_token(config.model, VOCAB).flops
    row: dict[str, Any] = {"preset": name, "with": f"{path.split('.')[1]} = {value}", "threads": count}
    for precision, peak in best[count].items():
        seconds = _step_seconds(config, precision)
        row[f"{precision}: ms a step"] = f"{1000 * seconds:.1f}"
        row["microseconds a token" if precision == "float32" else "the same"] = f"{1e6 * seconds / tokens:.1f}"
        row[f"of the best in {precision}"] = f"{100 * flops / seconds / peak:.0f}%"
    return row


def _best(dtype: torch.dtype) -> float:
    """Return the floating-point operations per second of one large matrix product."""
    left, right = (torch.randn(SIZE, SIZE).to(dtype) for _ in range(2))
    left @ right
    return 2 * SIZE**3 / _fastest(lambda: left @ right)


def _step_seconds(config: RunConfig, precision: str) -> float:
    ids = torch.randint(VOCAB, (100_000,), generator=torch.Generator().manual_seed(0))
    trainer = Trainer(config, ids, ids, VOCAB, "cpu", precision)
    trainer.train_step()
    return _fastest(trainer.train_step)


def _fastest(work: Any) -> float:
    """Return the median of the faster half of some times: other programs slowed the others."""
    seconds, start = [], perf_counter()
    while len(seconds) < 3 or perf_counter() - start < SECONDS:
        before = perf_counter()
        work()
        seconds.append(perf_counter() - before)
    return statistics.median(sorted(seconds)[: (len(seconds) + 1) // 2])
