"""Trials that time a few steps with given settings: one at a time, in a separate process, never while a run trains."""

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
from core.training.hardware import find_hardware, memory_for_queued
from explorer.i18n.language import _
from explorer.services import shared


class TrialState(NamedTuple):
    """The progress of a trial."""

    measured: bool  # a few real steps were timed
    under_way: bool


_lock = threading.Lock()
_trial: subprocess.Popen | None = None
_attempted: set[tuple[str, int]] = set()  # settings with a trial: each has one, even if it failed


def trial_of(config: RunConfig, vocab_size: int) -> TrialState:
    """Return the progress of the trial of these settings; start one if there was none and nothing trains."""
    global _trial
    shared.run_speed(config)  # measured now if it never was, while nothing else measures
    count = threads_for_run(config, threads_per_run())
    if cached_correction(config, vocab_size, find_hardware(config.train.device), count, shared.data_dir()):
        return TrialState(measured=True, under_way=False)
    settings = (config.to_json(), vocab_size)
    with _lock:
        if _trial and _trial.poll() is None:
            return TrialState(measured=False, under_way=True)
        wanted = os.environ.get("GPT_EXPLORER_TRIALS") != "0"  # page tests show many settings
        if settings in _attempted or not wanted or shared.supervisor().busy or not _fits(config, vocab_size):
            return TrialState(measured=False, under_way=False)
        _attempted.add(settings)
        _trial = _begin(*settings)
        return TrialState(measured=False, under_way=True)


def submit_run(folder: RunFolder) -> str:
    """Stop any trial, which would slow the run; queue the run and return its id. Raises RunError if it cannot."""
    end_trial()
    shared.supervisor_for_visitor().submit(folder)
    return folder.id


def place_in_queue(folder: RunFolder) -> str:
    """Return a sentence with a run's place in the queue and about how long it waits; "" if it does not wait."""
    supervisor = shared.supervisor()
    waiting = supervisor.queue.waiting()
    if folder.id not in waiting:
        return ""
    place = waiting.index(folder.id)
    ahead = [claim.id for claim in supervisor.queue.active()] + waiting[:place]
    seconds = sum(_seconds_left(supervisor.data_dir, id) for id in ahead) / max(1, supervisor.slots)
    about = {"place": place + 1, "count": len(waiting), "time": duration_in_words(seconds)}
    return _("Waits at place {place} of {count}: about {time} until it starts.", **about)


def _seconds_left(root: Path, id: str) -> float:
    """Return the seconds that a run still needs, from its status or else estimated from its settings."""
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
    """Stop the current trial; it starts again when it is next asked for."""
    with _lock:
        if _trial and _trial.poll() is None:
            _trial.kill()
            _trial.wait()
            _attempted.clear()  # the trial was interrupted, so it may be tried again


def _fits(config: RunConfig, vocab_size: int) -> bool:
    hardware = find_hardware(config.train.device)
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
