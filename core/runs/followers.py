"""The processes that train one run together (data parallel): the leader, which is the run's worker, and followers.

Followers are started by the worker, or all processes by torchrun. Followers only read from the run's folder.
"""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple, Self

import torch
import torch.distributed as dist

from core.errors import NotFiniteError
from core.fast.threads import keep_freed_memory
from core.runs.engines.fork_server import worker_environment
from core.runs.folder import RunFolder
from core.runs.loaded_run import follower_trainer
from core.runs.processes import not_ignored
from core.training.data_parallel import JoinedProcesses, ProcessLost
from core.training.trainer import Trainer

_RUN = "run"  # key in the store: what the followers need to load; empty if the leader trains nothing
_STORE_FILE = ".processes"  # a FileStore in the run's folder, for followers that the worker starts
_LOOK_AGAIN = timedelta(seconds=1)  # between two checks whether the leader has died
_END_SECONDS = 10.0  # time for a follower to exit before it is killed


class RankPlace(NamedTuple):
    """A process's place in the group of a run's processes."""

    rank: int  # 0 leads
    size: int
    store: dist.Store


def torchrun_place() -> RankPlace:
    """Return the place that torchrun assigned to this process."""
    store, rank, size = next(dist.rendezvous("env://"))
    return RankPlace(rank, size, store)


class Followers:
    """The leader's side: starts a run's followers, joins them once its trainer is ready, and ends them."""

    def __init__(self, folder: RunFolder, data_dir: Path, size: int):
        self._folder, self._data_dir, self._size = folder, data_dir, size
        self._processes: list[subprocess.Popen[bytes]] = []
        self._group: JoinedProcesses | None = None

    def __enter__(self) -> Self:
        if self._size > 1:
            self._store = torchrun_place().store if "TORCHELASTIC_RUN_ID" in os.environ else self._start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._group:
            self._group.end()
        elif self._size > 1:
            release(self._store)
        until = time.monotonic() + _END_SECONDS
        for process in self._processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, until - time.monotonic()))
            process.kill()
            process.wait()
        (self._folder.path / _STORE_FILE).unlink(missing_ok=True)

    def join(self, trainer: Trainer, checkpoint: Path | None) -> None:
        """Make the followers load what the trainer has loaded, and train with them. Raises ProcessLost."""
        if self._size == 1:
            return
        loaded = {
            "folder": str(self._folder.path.absolute()),
            "data_dir": str(self._data_dir.absolute()),
            "device": trainer.device.type,
            "precision": trainer.precision,
            "threads": torch.get_num_threads(),
            "checkpoint": str(checkpoint.absolute()) if checkpoint else "",
        }
        self._store.set(_RUN, json.dumps(loaded))
        for rank in range(1, self._size):
            while not _is_set(self._store, _ready(rank)):
                if any(process.poll() is not None for process in self._processes):
                    raise ProcessLost("One of the processes that train this run together has ended.")
        self._group = JoinedProcesses(self._store, 0, self._size, trainer.device.type)
        trainer.group = self._group

    def _start(self) -> dist.Store:
        file = self._folder.path / _STORE_FILE
        file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "core", "worker", "--follow", str(file), "--size", str(self._size), "--rank"]
        environment = worker_environment(self._data_dir)
        if sys.platform == "linux":  # no other machine needs to reach them
            environment.setdefault("GLOO_SOCKET_IFNAME", "lo")
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        with self._folder.log_path.open("ab") as log:
            self._processes = [
                subprocess.Popen(
                    [*command, str(rank)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment
                )
                for rank in range(1, self._size)
            ]
        return dist.FileStore(str(file), self._size)


def follow_file(file: Path, rank: int, size: int) -> int:
    """Follow a worker that has started this process."""
    return follow_leader(RankPlace(rank, size, dist.FileStore(str(file), size)))


def follow_leader(place: RankPlace) -> int:
    """Train together with the leader until the run ends. Return the exit code."""
    for number in not_ignored(signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # the leader decides when to stop
        signal.signal(number, signal.SIG_IGN)
    parent = os.getppid()
    while not _is_set(place.store, _RUN):
        if os.getppid() != parent:
            return 1
    said = place.store.get(_RUN)
    if not said:
        return 0
    keep_freed_memory()
    trainer = follower_trainer(**json.loads(said), index=int(os.environ.get("LOCAL_RANK", place.rank)))
    place.store.set(_ready(place.rank), "")
    try:
        trainer.group = group = JoinedProcesses(place.store, place.rank, place.size, trainer.device.type)
        while said := group.announcement():
            method, *args = said
            with suppress(NotFiniteError):  # the leader raises it too, and ends the run
                {"train_step": trainer.train_step, "evaluate": trainer.evaluate}.get(method, trainer.change_setting)(
                    *args
                )
    except ProcessLost:
        return 1
    return 0


def release(store: dist.Store) -> None:
    """Let waiting followers exit without a run."""
    store.set(_RUN, "")


def _is_set(store: dist.Store, key: str) -> bool:
    """Return whether a key is in the store, after waiting for it for up to a second."""
    try:
        store.wait([key], _LOOK_AGAIN)
    except RuntimeError:  # DistStoreError; FileStore raises a plain RuntimeError
        return False
    return True


def _ready(rank: int) -> str:
    return f"ready-{rank}"
