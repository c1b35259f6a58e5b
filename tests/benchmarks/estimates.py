"""Time and memory told before six presets start, after a trial of each, against what then happens in a real worker.

The long ones are shortened: fewer steps, and measurements, texts and saves in about the same proportion to them.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from core.config import RunConfig
from core.presets import preset
from core.runs.engines.fork_server import FORK_SERVER
from core.runs.folder import RunFolder
from core.runs.machine import cached_correction, machine_speed, run_precision, threads_for_run, threads_per_run
from core.runs.queue import supervisor_lock
from core.text.corpora import load_corpus
from core.training.cost import WORKER_BYTES, estimate
from core.training.hardware import find_hardware
from tests.benchmarks.report import report

STEPS = {"gpt-quick": 2000, "gpt-fast": 560, "bigram": 10_000, "gpt-tiny": 400, "gpt-lecture": 10, "gpt2": 4}
NEAR = 0.25
_LOOK_SECONDS = 0.02  # between two looks at a worker's memory


def measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        for name in ("runs", "texts", "downloads"):
            (data_dir / name).mkdir()
        report("Estimates", [_row(data_dir, name, steps) for name, steps in STEPS.items()])


def shortened(config: RunConfig, steps: int) -> RunConfig:
    """The same run in fewer steps; what happens every so many steps happens at least once, and takes less."""
    train = config.train
    share = steps / train.steps
    changes: dict[str, Any] = {"train.steps": steps, "train.warmup_steps": min(train.warmup_steps, steps // 2)}
    for interval, amount in (("eval_interval", "eval_windows"), ("sample_interval", "sample_length")):
        times = train.steps / getattr(train, interval) * share
        often = max(1, round(times))
        changes[f"train.{interval}"] = -(-steps // often)
        changes[f"train.{amount}"] = max(1, round(getattr(train, amount) * (1 + times) / (1 + often)))
    changes["train.checkpoint_interval"] = max(1, round(train.checkpoint_interval * share))
    changes["train.snapshots"] = min(train.snapshots, max(1, round(train.snapshots * share)))
    return config.replace(changes)


def _row(data_dir: Path, name: str, steps: int) -> dict[str, Any]:
    config = preset(name)
    config = config if steps == config.train.steps else shortened(config, steps)
    hardware = find_hardware("cpu")
    config = config.replace({"train.device": "cpu"})
    count = threads_for_run(config, threads_per_run())
    _process(data_dir, ["estimate", "--settings"], config.to_json())
    speed = machine_speed(data_dir, hardware, count)
    precision = run_precision(config, hardware, count, data_dir).precision
    vocabulary = len(set(load_corpus(config.data.corpus, data_dir)))
    correction = cached_correction(config, vocabulary, hardware, count, data_dir)
    reckoned = estimate(config, vocabulary, speed, precision)
    expected = estimate(config, vocabulary, speed, precision, correction)
    folder = RunFolder.create(data_dir, config)
    peak, status = worker_peak(data_dir, folder), folder.status()
    needed = expected.memory_bytes + WORKER_BYTES
    return {
        "preset": name,
        "steps": f"{steps} of {preset(name).train.steps}" if steps < preset(name).train.steps else str(steps),
        "precision": precision,
        "seconds reckoned": f"{reckoned.seconds:.1f}",
        "told after a trial": f"{expected.seconds:.1f}",
        "taken": f"{status.seconds:.1f}",
        "time": _off(expected.seconds, status.seconds),
        "MB told": round(needed / 2**20),
        "MB taken": round(peak / 2**20),
        "memory": _off(needed, peak),
    }


def worker_peak(data_dir: Path, folder: RunFolder) -> int:
    """Train a run in a worker as the app starts one, and return the most memory of its own that it held, in bytes.

    Neither pages that it shares with the process that it was forked from count, nor those of libraries.
    """
    with supervisor_lock(data_dir / "runs"):
        FORK_SERVER.start_worker(data_dir, folder, folder.status())
    peak, pid = 0, folder.status().pid
    while kilobytes := private_kilobytes(pid):
        peak = max(peak, 1024 * kilobytes)
        time.sleep(_LOOK_SECONDS)
    status = folder.status()
    if status.state != "finished":
        raise RuntimeError(f"{folder.name} ended as {status.state}: {status.reason}")
    return peak


def private_kilobytes(pid: int) -> int:
    """Return what a process has written to memory that no other shares, on Linux; 0 where it has ended."""
    try:
        return int(re.search(r"Private_Dirty: +(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text())[1])
    except (OSError, TypeError):  # TypeError: it has ended and is still to be waited for
        return 0


def _off(told: float, taken: float) -> str:
    off = told / taken - 1
    return f"{100 * off:+.0f}%" + (" (!)" if abs(off) > NEAR else "")


def _process(data_dir: Path, command: list[str], said: str = "") -> None:
    """Run one of our commands as the app does, in a process of its own."""
    environment = os.environ | {"GPT_EXPLORER_HOME": str(data_dir)}
    command = [sys.executable, "-m", "core", *command]
    subprocess.run(command, input=said.encode(), stdout=subprocess.DEVNULL, env=environment, check=True)
