"""Trials, which time a few steps of settings: one at a time, in a process of its own, and never beside training."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

from core.config import RunConfig
from core.errors import ExplorerError, OutOfMemoryEstimate
from core.formatting import duration_in_words
from core.runs.engines.fork_server import worker_environment
from core.runs.folder import RunFolder, open_run
from core.runs.machine import cached_correction, threads_for_run, threads_per_run
from core.runs.weights import vocab_size_of
from core.training.cost import check_fits, memory_needed
from core.training.hardware import memory_for_queued
from explorer.i18n.language import _
from explorer.services import shared


class TrialState(NamedTuple):
    """How far the trial of some settings is."""

    measured: bool  # a few real steps were timed
    under_way: bool


_lock = threading.Lock()
_trial: subprocess.Popen | None = None
_attempted: set[tuple[str, int]] = set()  # settings that were tried out once; one that failed is not tried again


def trial_of(config: RunConfig, vocab_size: int) -> TrialState:
    """Return how far the trial of these settings is; begin one where there was none and nothing trains."""
    global _trial
    shared.run_speed(config)  # measured now, if it never was, while nobody else measures
    count = threads_for_run(config, threads_per_run())
    if cached_correction(config, vocab_size, shared.hardware(config.train.device), count, shared.data_dir()):
        return TrialState(measured=True, under_way=False)
    settings = (config.to_json(), vocab_size)
    with _lock:
        if _trial and _trial.poll() is None:
            return TrialState(measured=False, under_way=True)
        wanted = os.environ.get("GPT_EXPLORER_TRIALS") != "0"  # tests of pages draw many settings
        if settings in _attempted or not wanted or shared.supervisor().busy or not _fits(config, vocab_size):
            return TrialState(measured=False, under_way=False)
        _attempted.add(settings)
        _trial = _begin(*settings)
        return TrialState(measured=False, under_way=True)


def submit_run(folder: RunFolder) -> str:
    """End the trial that would slow a run, submit it, and return its id; raises RunError where it cannot be queued."""
    end_trial()
    shared.supervisor_for_visitor().submit(folder)
    return folder.id


def place_in_queue(folder: RunFolder) -> str:
    """Return in words at which place a run waits, and about how long; "" for one that does not."""
    supervisor = shared.supervisor()
    waiting = supervisor.queue.waiting()
    if folder.id not in waiting:
        return ""
    place = waiting.index(folder.id)
    ahead = [claim.id for claim in supervisor.queue.active()] + waiting[:place]
    seconds = sum(_seconds_left(supervisor.data_dir, id) for id in ahead) / max(1, supervisor.slots)
    about = {"place": place + 1, "count": len(waiting), "time": duration_in_words(seconds)}
    return _("Waits at place {place} of {count}: about {time} until it begins.", **about)


def _seconds_left(root: Path, id: str) -> float:
    """Return how long a run still takes: as it says itself, or as its settings cost on this machine."""
    try:
        folder = open_run(root, id)
        status = folder.status()
        if status.seconds_left is not None:
            return status.seconds_left
        whole = shared.estimate_of(folder.record().config, vocab_size_of(folder)).seconds
    except ExplorerError:  # deleted, or damaged
        return 0.0
    return whole * (1 - min(status.step, status.steps) / max(1, status.steps))


def end_trial() -> None:
    """End what is being tried out; it is tried again when somebody asks."""
    with _lock:
        if _trial and _trial.poll() is None:
            _trial.kill()
            _trial.wait()
            _attempted.clear()  # the trial was interrupted, so it may be tried again


def _fits(config: RunConfig, vocab_size: int) -> bool:
    hardware = shared.hardware(config.train.device)
    needed = memory_needed(config, vocab_size, shared.chosen_precision(config).precision)
    try:
        check_fits(needed, hardware, memory_for_queued(hardware), config.train.processes)
    except OutOfMemoryEstimate:
        return False
    return True


def _begin(settings: str, vocab_size: int) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-m", "core", "estimate", "--settings", "--tokens", str(vocab_size)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=worker_environment(shared.data_dir()),
    )
    with process.stdin as said:
        said.write(settings.encode())
    return process
