"""The interface of engines, which start and end workers; the engine for this machine; and the choice of the engine."""

import os
import signal
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

from core.errors import RunError
from core.runs.engines.fork_server import FORK_SERVER
from core.runs.folder import RunFolder
from core.runs.machine import slots as machine_slots
from core.runs.processes import end_orphans, kill, send_signal
from core.runs.records import Status


class NoCapacityError(RunError):
    """No host has room for a run now; the message says what the run waits for."""

    def __init__(self, sentence: str, *, is_too_large: bool = False):
        super().__init__(sentence)
        self.is_too_large = is_too_large  # for every host, so other runs need not wait for it


class Host(NamedTuple):
    """A machine on which runs can train."""

    name: str
    cpus: float
    free_cpus: float
    gpus: float
    free_gpus: float
    memory: float  # bytes
    free_memory: float
    problem: str  # a sentence on why no run is started there; else empty


class Engine(ABC):
    """A place where workers run. The queue decides which run is next, an engine only where it trains."""

    problem = ""  # a sentence, while no worker can be started
    silence = ""  # a sentence, while the object store for the files of runs does not answer
    says_when_full = False  # whether `submit`, not the number of runs, determines when there is no room

    @abstractmethod
    def start(self, data_dir: Path) -> None:
        """Prepare to start workers; called again at every check of the runs."""

    @abstractmethod
    def capacity(self) -> int:
        """Return the maximum number of runs that train at once."""

    @abstractmethod
    def submit(self, home: Path, folder: RunFolder, status: Status) -> None:
        """Start a worker for a run and write its status; the caller holds the supervisor lock.

        Raises NoCapacityError if the run has to wait, RunError if it cannot be started.
        """

    @abstractmethod
    def poll(self, folder: RunFolder, status: Status) -> bool:
        """Return whether the worker named in `status` is alive or about to start."""

    @abstractmethod
    def cancel(self, folder: RunFolder, status: Status, number: signal.Signals = signal.SIGKILL) -> None:
        """End the worker named in `status`: SIGTERM lets it save, SIGKILL ends it and all its processes.

        Raises RunError if it cannot be reached.
        """

    @abstractmethod
    def hosts(self) -> list[Host]:
        """Return the hosts to show; empty if this machine is the only one."""

    @abstractmethod
    def close(self) -> None:
        """End helper processes; workers keep training."""


class LocalEngine(Engine):
    """Engine whose workers are processes on this machine."""

    def start(self, data_dir: Path) -> None:
        FORK_SERVER.ensure_running(data_dir)

    def capacity(self) -> int:
        return machine_slots()

    def submit(self, home: Path, folder: RunFolder, status: Status) -> None:
        FORK_SERVER.start_worker(home, folder, status)

    def poll(self, folder: RunFolder, status: Status) -> bool:
        return status.has_worker(folder.lock_path)

    def cancel(self, folder: RunFolder, status: Status, number: signal.Signals = signal.SIGKILL) -> None:
        if status.host:
            raise RunError(
                f"The run {folder.name!r} trains on {status.host}, a host of a Ray cluster. Only an app with --engine "
                "ray can end its process."
            )
        if number == signal.SIGKILL:
            kill(status.process)
            end_orphans(status.process)
        else:
            send_signal(status.process, number)

    def hosts(self) -> list[Host]:
        return []

    def close(self) -> None:
        pass  # the fork server is shared by all engines of this process


def engine_wanted() -> Engine:
    """Return the Ray engine if GPT_EXPLORER_RAY has the address of a cluster, else this machine's engine."""
    if address := os.environ.get("GPT_EXPLORER_RAY"):
        from core.runs.engines.ray_engine import RayEngine

        return RayEngine(address, os.environ.get("GPT_EXPLORER_RAY_STORAGE", ""))
    return LocalEngine()
