"""The worker processes that one supervisor has started, and the one that stands by."""

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

PREWARM_REST = 3.0  # seconds after a hand-over before the next standby is started: its imports would slow a first step
PREWARM_RETRY = 30.0  # seconds before another try where one ended by itself, or could not be started

log = logging.getLogger(__name__)


class WorkerPool:
    """Starts workers in sessions of their own, so that nothing that ends the server ends them."""

    def __init__(self, data_dir: Path):
        self._data_dir = data_dir
        self._prewarmed: subprocess.Popen | None = None
        self._prewarm_due = 0.0  # monotonic
        self._lock = threading.Lock()
        self._closed = False

    def keep_prewarmed(self) -> None:
        """See to it that a process with torch imported waits, unless one has just been handed over or has failed."""
        with self._lock:
            if self._prewarmed is not None and self._prewarmed.poll() is not None:
                self._prewarmed.stdin.close()
                self._prewarmed, self._prewarm_due = None, time.monotonic() + PREWARM_RETRY
            wanted = os.environ.get("GPT_EXPLORER_PREWARM") != "0" and not self._closed
            if self._prewarmed is None and wanted and time.monotonic() >= self._prewarm_due:
                try:
                    self._prewarmed = self._start_prewarmed(subprocess.DEVNULL)
                except OSError as error:  # runs do without one: each starts a worker of its own
                    self._prewarm_due = time.monotonic() + PREWARM_RETRY
                    log.warning("no worker can stand by: %s", error)

    def assign(self, folder: RunFolder, status: Status) -> None:
        """Give a run to the standby, or to a new worker where none stands by.

        Raises RunError, in a sentence, where the system starts no worker, or the run's folder cannot be written.
        """
        with self._lock:
            worker, self._prewarmed = self._prewarmed, None
            self._prewarm_due = time.monotonic() + PREWARM_REST
        try:
            if worker is None or not _tell(worker, folder, status):
                with folder.log_path.open("ab") as output:  # should it fail to start, that is where to read why
                    worker = self._start_prewarmed(output)
                _tell(worker, folder, status)
        except OSError as error:
            raise RunError(
                f"No worker could be started for this run ({error.strerror or error}). End other programs or make room "
                "on the disk, then resume it."
            ) from error
        finally:
            if worker is not None:
                # Nobody needs to know when it ends, but someone has to wait, or it stays in the system's table.
                threading.Thread(target=worker.wait, name=f"worker {folder.id}", daemon=True).start()

    def close(self) -> None:
        """End the standby; workers go on."""
        with self._lock:
            self._closed = True
            prewarmed, self._prewarmed = self._prewarmed, None
        if prewarmed is not None:
            prewarmed.kill()  # it has nothing to lose, and may still be importing
            prewarmed.wait()
            prewarmed.stdin.close()

    def _start_prewarmed(self, output: int | IO[bytes]) -> subprocess.Popen:
        root = str(Path(core.__file__).parents[1])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        return subprocess.Popen(
            [sys.executable, "-m", "core", "worker", "--standby"],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env=os.environ | {"PYTHONPATH": path, "GPT_EXPLORER_HOME": str(self._data_dir)},
            start_new_session=True,
        )


def _tell(worker: subprocess.Popen, folder: RunFolder, status: Status) -> bool:
    """Tell a process that stands by which run is its own; False where it has died."""
    try:
        with worker.stdin as line:  # closed whatever happens: a worker that is told of no run ends
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
