"""Compare the estimated time and memory of six presets, after a trial of each, with those of a real worker.

Long presets train for fewer steps. Their evaluations, samples and saves are reduced in about the same proportion.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.config import RunConfig
from core.presets import preset
from core.runs.engines.fork_server import FORK_SERVER
from core.runs.folder import RunFolder
from core.runs.machine import (
    cached_correction,
    machine_speed,
    run_gauge,
    run_precision,
    threads_for_run,
    threads_per_run,
)
from core.runs.queue import supervisor_lock
from core.runs.worker import train_run
from core.text.corpora import load_corpus
from core.training.cost import WORKER_BYTES, estimate, tokens_of_a_step
from core.training.hardware import find_hardware
from core.training.pace import Pace
from tests.benchmarks.report import report

STEPS = {"gpt-quick": 2000, "gpt-fast": 380, "bigram": 10_000, "gpt-tiny": 400, "gpt-lecture": 10, "gpt2": 4}
NEAR = 0.25
GAUGED: dict[str, tuple[str, int, dict[str, Any]]] = {  # preset, steps, changes
    "gpt-tiny": ("gpt-tiny", 120, {}),
    "gpt-tiny, batch 2": ("gpt-tiny", 400, {"train.batch_size": 2}),
    "gpt-fast, batch 4": ("gpt-fast", 240, {"train.batch_size": 4}),
    "gpt-quick, batch 1, evaluated often": ("gpt-quick", 600, {"train.batch_size": 1, "train.eval_interval": 20}),
    "gpt-tiny, in four parts": ("gpt-tiny", 100, {"train.gradient_accumulation": 4}),
    "bigram, batch 8, sampled often": ("bigram", 4000, {"train.batch_size": 8, "train.sample_interval": 200}),
}
_ADVICE_NEAR = 0.2
_ROUNDS = 2
_VOCABULARY = 65  # about
_LOOK_SECONDS = 0.02  # between two looks at a worker's memory


def measure() -> None:
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        for name in ("runs", "texts", "downloads"):
            (data_dir / name).mkdir()
        report("Estimates", [_row(data_dir, name, steps) for name, steps in STEPS.items()])


def shortened(config: RunConfig, steps: int) -> RunConfig:
    """Return the settings of the same run with fewer steps; each periodic operation still happens at least once."""
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
    text = load_corpus(config.data.corpus, data_dir)
    vocabulary = len(set(text))
    correction = cached_correction(config, vocabulary, hardware, count, data_dir)
    reckoned = estimate(config, vocabulary, speed, precision)
    expected = estimate(config, vocabulary, speed, precision, correction, len(text))
    folder = RunFolder.create(data_dir, config)
    peak, status = worker_peak(data_dir, folder), folder.status()
    needed = expected.memory_bytes + WORKER_BYTES
    return {
        "preset": name,
        "steps": f"{steps} of {preset(name).train.steps}" if steps < preset(name).train.steps else str(steps),
        "precision": precision,
        "seconds reckoned": f"{reckoned.seconds:.1f}",
        "estimated after a trial": f"{expected.seconds:.1f}",
        "measured": f"{status.seconds:.1f}",
        "time": _off(expected.seconds, status.seconds),
        "MB estimated": round(needed / 2**20),
        "MB measured": round(peak / 2**20),
        "memory": _off(needed, peak),
    }


def worker_peak(data_dir: Path, folder: RunFolder, on_look: Callable[[], None] = lambda: None) -> int:
    """Train a run in a worker as the app starts one, and return the most memory of its own that it held, in bytes.

    `on_look` is called while it trains, some 50 times a second. Neither pages that it shares with the process that it
    was forked from count, nor those of libraries.
    """
    with supervisor_lock(data_dir / "runs"):
        FORK_SERVER.start_worker(data_dir, folder, folder.status())
    peak, pid = 0, folder.status().pid
    while kilobytes := private_kilobytes(pid):
        peak = max(peak, 1024 * kilobytes)
        on_look()
        time.sleep(_LOOK_SECONDS)
    on_look()
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


def _off(estimated: float, measured: float) -> str:
    off = estimated / measured - 1
    return f"{100 * off:+.0f}%" + (" (!)" if abs(off) > NEAR else "")


def _process(data_dir: Path, command: list[str], said: str = "") -> None:
    """Run one of our commands as the app does, in a process of its own."""
    environment = os.environ | {"GPT_EXPLORER_HOME": str(data_dir)}
    command = [sys.executable, "-m", "core", *command]
    subprocess.run(command, input=said.encode(), stdout=subprocess.DEVNULL, env=environment, check=True)


def measure_gauge() -> None:
    """Compare the tokens per second that the gauge predicts for its advice with those of a run that follows it.

    Real runs of one thread; seconds in which other programs had the processor are left out on both sides.
    """
    os.environ["GPT_EXPLORER_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        for name in ("runs", "texts", "downloads"):
            (data_dir / name).mkdir()
        machine_speed(data_dir, find_hardware("cpu"), 1)
        rows = [row for name in GAUGED for row in _advice_rows(data_dir, name)]
    report("The gauge's advice, followed", rows)


def _advice_rows(data_dir: Path, name: str) -> list[dict[str, Any]]:
    start, steps, changes = GAUGED[name]
    config = preset(start).replace({"train.steps": steps, "train.device": "cpu", "train.warmup_steps": 2} | changes)
    folder, pace = _pace(data_dir, config)
    advised = run_gauge(folder.record(), config, pace, _VOCABULARY, data_dir).advice
    rows = []
    for advice in (each for each in advised if each.changes):
        followed = config.replace(advice.changes)
        measured = _speed(followed, _pace(data_dir, followed)[1]) / _speed(config, pace)
        off = advice.times / measured - 1
        rows.append(
            {
                "settings": name,
                "advice": f"{', '.join(advice.changes)} {advice.before} to {advice.after}",
                "predicted": f"{advice.times:.2f}",
                "measured": f"{measured:.2f}",
                "off": f"{100 * off:+.0f}%" + " (!)" * (abs(off) > _ADVICE_NEAR),
            }
        )
    return rows


def _speed(config: RunConfig, pace: Pace) -> float:
    return tokens_of_a_step(config) / (pace.whole - pace.waiting)


def _pace(data_dir: Path, config: RunConfig) -> tuple[RunFolder, Pace]:
    """Return a run of these settings that has ended, and the pace of the faster of two."""
    runs = []
    for _ in range(_ROUNDS):
        folder = RunFolder.create(data_dir, config)
        status = train_run(folder, data_dir, threads=1)
        assert status.pace, f"{folder.name} was too short to have a pace"
        runs.append((folder, status.pace))
    return min(runs, key=lambda run: run[1].whole - run[1].waiting)
