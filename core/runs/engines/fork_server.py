"""The process from which workers are forked, because importing torch takes seconds and a fork milliseconds."""

import atexit
import json
import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

import core
from core.errors import RunError
from core.runs.folder import RunFolder
from core.runs.processes import ProcessId, identify, is_alive
from core.runs.records import Status

CAN_FORK = sys.platform == "linux"  # elsewhere a process that has imported torch cannot be forked safely
RESTART_SECONDS = 3.0  # before the next start after one has become a worker, whose first step imports would slow down
_LOOK_SECONDS = 0.02  # between two checks whether a measurement, which takes seconds, has ended
RETRY_SECONDS = 30.0  # before another try if one ended unexpectedly or could not be started

log = logging.getLogger(__name__)


def worker_environment(data_dir: Path) -> dict[str, str]:
    """Return the environment for running `python -m core` from any folder."""
    root = str(Path(core.__file__).parents[1])
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
    return os.environ | {"PYTHONPATH": path, "GPT_EXPLORER_HOME": str(data_dir)}


class ForkServer:
    """A process that has imported torch and forks a worker for each run on request (`core.cli.worker.serve_forks`).

    The machine is also measured in a fork: a process that continues would keep the memory allocated for that.

    Each worker leads its own session, so that it survives the end of this process or of the app. On systems where
    forking is not safe, the process becomes the worker itself, and another one is started.
    """

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._start_due = 0.0  # monotonic
        self._lock = threading.Lock()

    def ensure_running(self, data_dir: Path) -> None:
        """Start the process, so that the first run need not wait, unless one is running or has just failed."""
        with self._lock:
            if self._process is not None and self._process.poll() is not None:
                self._end()
                self._start_due = time.monotonic() + RETRY_SECONDS
            wanted = os.environ.get("GPT_EXPLORER_PREWARM") != "0" and time.monotonic() >= self._start_due
            if self._process is None and wanted:
                try:
                    self._process = _start(data_dir, subprocess.DEVNULL)
                except OSError as error:
                    self._start_due = time.monotonic() + RETRY_SECONDS
                    log.warning("the process that forks workers cannot be started: %s", error)

    def start_worker(self, data_dir: Path, folder: RunFolder, status: Status) -> None:
        """Start a worker for a run and write its status; raises RunError if the system cannot start one.

        The caller must hold the supervisor lock. The worker takes the lock before it looks for its pid in the status.
        """
        process = self.fork(data_dir, folder)
        started = {"state": "starting", "pid": process.pid, "pid_started": process.started, "reason": ""}
        folder.write_status(status.model_copy(update=started))

    def fork(self, data_dir: Path, folder: RunFolder) -> ProcessId:
        """Start a worker, which trains the run once the run's status names it; raises RunError."""
        request = json.dumps({"run": folder.id, "environment": worker_environment(data_dir)}).encode() + b"\n"
        try:
            with self._lock:
                pid = self._ask(request)
                if pid is None:  # there is no process, or it has died
                    self._end()
                    with folder.log_path.open("ab") as output:  # if it fails to start, the log says why
                        self._process = _start(data_dir, output)
                    pid = self._ask(request)
                if self._process is not None and pid == self._process.pid:
                    # Without a wait, the process would remain as a zombie.
                    threading.Thread(target=self._process.wait, name=f"worker {folder.id}", daemon=True).start()
                    self._process, self._start_due = None, time.monotonic() + RESTART_SECONDS
            if pid is None or (process := identify(pid)) is None:
                raise OSError(0, "it ended at once; the run's log has the details")
        except OSError as error:
            raise RunError(
                f"No worker could be started for this run ({error.strerror or error}). Close other programs or free "
                "disk space, then resume it."
            ) from error
        return process

    def measure(self, data_dir: Path, threads: list[int]) -> bool:
        """Measure this machine's training speed with these numbers of threads in a fork, and wait for the end.

        Return False, without a measurement, if there is no process to fork.
        """
        request = json.dumps({"threads": threads, "environment": worker_environment(data_dir)}).encode() + b"\n"
        try:
            with self._lock:
                pid = self._ask(request) if CAN_FORK else None
        except OSError as error:
            log.warning("the machine cannot be measured in a process of its own: %s", error)
            return False
        process = identify(pid) if pid else None
        while process and is_alive(process):
            time.sleep(_LOOK_SECONDS)
        return pid is not None

    def close(self) -> None:
        """End the process; workers keep training."""
        with self._lock:
            self._end()

    def _ask(self, request: bytes) -> int | None:
        """Return the pid of a new worker; None if the process has died. Raises OSError if it cannot fork."""
        if self._process is None:
            return None
        assert self._process.stdin is not None and self._process.stdout is not None  # pipes
        try:
            self._process.stdin.write(request)
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            return None
        if answer and int(answer) < 0:
            raise OSError(-int(answer), os.strerror(-int(answer)))
        return int(answer) if answer else None

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()  # safe, as it has no state; it may still be importing
            with suppress(BrokenPipeError):
                self._process.communicate()  # waits, and closes its pipes
            self._process = None


def _start(data_dir: Path, errors: int | IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "core", "worker", "--forks"],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
        env=worker_environment(data_dir),
        start_new_session=True,
    )


FORK_SERVER = ForkServer()
"""Shared by all supervisors of this process."""
atexit.register(FORK_SERVER.close)
