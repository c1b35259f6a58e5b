"""The interface of an engine, which starts and ends workers; this machine's engine; and which one is asked for."""

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
    """No host has room for a run now; the sentence says what it waits for."""

    def __init__(self, sentence: str, *, is_too_large: bool = False):
        super().__init__(sentence)
        self.is_too_large = is_too_large  # for every host, so that no other run has to wait behind it


class Host(NamedTuple):
    """A machine on which runs can train."""

    name: str
    cpus: float
    free_cpus: float
    gpus: float
    free_gpus: float
    memory: float  # bytes
    free_memory: float
    problem: str  # a sentence on why nothing is started there; empty where nothing is wrong


class Engine(ABC):
    """Where workers run. The queue decides which run is next, an engine only where it trains."""

    problem = ""  # a sentence, while no worker can be started
    silence = ""  # a sentence, while the object store through which runs travel does not answer
    says_when_full = False  # whether `submit`, and not the number of runs, says when there is no room

    @abstractmethod
    def start(self, data_dir: Path) -> None:
        """Make ready to start workers, and again whenever the runs are checked."""

    @abstractmethod
    def capacity(self) -> int:
        """Return how many runs train at once, at most."""

    @abstractmethod
    def submit(self, home: Path, folder: RunFolder, status: Status) -> None:
        """Start a worker for a run and write its status; the caller holds the supervisor lock.

        Raises RunError where that cannot be, NoCapacityError where the run has to wait.
        """

    @abstractmethod
    def poll(self, folder: RunFolder, status: Status) -> bool:
        """Return whether the worker of a status lives, or is about to begin."""

    @abstractmethod
    def cancel(self, folder: RunFolder, status: Status, number: signal.Signals = signal.SIGKILL) -> None:
        """End the worker of a status: SIGTERM lets it save, SIGKILL ends it and all its processes.

        Raises RunError where it cannot be reached.
        """

    @abstractmethod
    def hosts(self) -> list[Host]:
        """Return the hosts to show; none where this machine is the only one."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what starts workers; those that train go on."""


class LocalEngine(Engine):
    """Workers as processes of this machine."""

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
        pass  # all use the one fork server


def engine_wanted() -> Engine:
    """Return the engine that GPT_EXPLORER_RAY asks for with the address of a cluster: Ray's, else this machine's."""
    if address := os.environ.get("GPT_EXPLORER_RAY"):
        from core.runs.engines.ray_engine import RayEngine

        return RayEngine(address, os.environ.get("GPT_EXPLORER_RAY_STORAGE", ""))
    return LocalEngine()
