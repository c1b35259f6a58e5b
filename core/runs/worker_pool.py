"""The worker processes that one supervisor starts, one of them prewarmed."""

import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

import core
from core.errors import RunError
from core.runs.folder import RunFolder
from core.runs.processes import identify
from core.runs.records import Status

PREWARM_REST = 3.0  # seconds after an assignment before the next is prewarmed: its imports would slow a first step
PREWARM_RETRY = 30.0  # seconds before another try where one ended by itself, or could not be started

log = logging.getLogger(__name__)


def worker_environment(data_dir: Path) -> dict[str, str]:
    """Return the environment of a process that runs `python -m core` from anywhere."""
    root = str(Path(core.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "GPT_EXPLORER_HOME": str(data_dir)}


class WorkerPool:
    """Workers, started in sessions of their own, so that nothing that ends the server ends them."""

    def __init__(self, data_dir: Path):
        self._data_dir = data_dir
        self._prewarmed: subprocess.Popen[bytes] | None = None
        self._prewarm_due = 0.0  # monotonic
        self._lock = threading.Lock()
        self._closed = False

    def keep_prewarmed(self) -> None:
        """Prewarm a worker where there is none, unless one has just been assigned or has failed."""
        with self._lock:
            if self._prewarmed is not None and self._prewarmed.poll() is not None:
                self._prewarmed.communicate()  # closes its standard input
                self._prewarmed, self._prewarm_due = None, time.monotonic() + PREWARM_RETRY
            wanted = os.environ.get("GPT_EXPLORER_PREWARM") != "0" and not self._closed
            if self._prewarmed is None and wanted and time.monotonic() >= self._prewarm_due:
                try:
                    self._prewarmed = self._start_prewarmed(subprocess.DEVNULL)
                except OSError as error:
                    self._prewarm_due = time.monotonic() + PREWARM_RETRY
                    log.warning("no worker can be prewarmed: %s", error)

    def assign(self, folder: RunFolder, status: Status) -> None:
        """Assign a run to the prewarmed worker, or to a new one; raises RunError where the system starts none."""
        with self._lock:
            worker, self._prewarmed = self._prewarmed, None
            self._prewarm_due = time.monotonic() + PREWARM_REST
        try:
            if worker is None or not _assign(worker, folder, status):
                with folder.log_path.open("ab") as output:  # if it fails to start, the log says why
                    worker = self._start_prewarmed(output)
                _assign(worker, folder, status)
        except OSError as error:
            raise RunError(
                f"No worker could be started for this run ({error.strerror or error}). End other programs or make room "
                "on the disk, then resume it."
            ) from error
        finally:
            if worker is not None:
                # A process that nobody waits for stays in the system's table as a zombie.
                threading.Thread(target=worker.wait, name=f"worker {folder.id}", daemon=True).start()

    def close(self) -> None:
        """End the prewarmed worker; the others go on."""
        with self._lock:
            self._closed = True
            prewarmed, self._prewarmed = self._prewarmed, None
        if prewarmed is not None:
            prewarmed.kill()  # it has nothing to lose, and may still be importing
            prewarmed.communicate()  # waits, and closes its standard input

    def _start_prewarmed(self, output: int | IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "core", "worker", "--standby"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=worker_environment(self._data_dir),
            start_new_session=True,
        )


def _assign(worker: subprocess.Popen[bytes], folder: RunFolder, status: Status) -> bool:
    """Write to a prewarmed worker the id of its run; returns False where it has died."""
    try:
        # pyrefly: ignore[bad-context-manager]
        with worker.stdin as line:  # closed in any case: a worker without a run ends
            process = identify(worker.pid) if worker.poll() is None else None
            if process is None:
                return False
            started = {"state": "starting", "pid": process.pid, "pid_started": process.started, "reason": ""}
            # Before the worker knows of the run, so that only one of the two ever writes its status.
            folder.write_status(status.model_copy(update=started))
            line.write(f"{folder.id}\n".encode())
    except BrokenPipeError:
        return False
    return True
