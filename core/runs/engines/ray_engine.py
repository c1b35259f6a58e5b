"""The engine for a Ray cluster: workers on its hosts, which share the data folder or an object store.

The queue decides which run is next; the run's needs decide where it trains. A worker is alive while its run is locked.
The system releases the lock when the process or its host dies, so nothing is lost if the cluster does not answer.
"""

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from core.errors import ExplorerError, RunError
from core.formatting import memory_in_words
from core.runs.commands import config_now
from core.runs.engines.engine import Engine, Host, LocalEngine, NoCapacityError
from core.runs.engines.fork_server import worker_environment
from core.runs.folder import RunFolder
from core.runs.machine import threads_for_run
from core.runs.processes import is_locked
from core.runs.records import Status
from core.runs.weights import vocab_size_of
from core.training.cost import memory_needed

log = logging.getLogger(__name__)
_CONNECT_SECONDS = 90.0  # for the broker to connect, and to check every host
_ANSWER_SECONDS = 10.0  # for every other answer, because the supervisor waits for it
_CONNECTING = "It waits for the Ray cluster to answer."
_RETRY_SECONDS = 5.0  # before the next try if a cluster did not answer
_HOSTS_SECONDS = 1.0  # for which the list of hosts is cached
_SILENT = {"error": "it does not answer", "is_lost": True}
_LOG = "ray.log"  # output of the broker and Ray, in the data folder
_LOG_BYTES = 2**20  # beyond this size, the log is overwritten
_PROCESS_BYTES = 370 * 2**20  # Python with torch, not shared with other processes


def _log_file(data_dir: Path) -> IO[bytes]:
    path = data_dir / _LOG
    with suppress(OSError):  # such as a full disk
        is_long = path.exists() and path.stat().st_size > _LOG_BYTES
        return path.open("wb" if is_long else "ab")
    return Path(os.devnull).open("wb")


class RayEngine(Engine):
    """Engine whose workers run on a Ray cluster, through a separate process (`core.runs.engines.ray_broker`)."""

    says_when_full = True

    def __init__(self, address: str, storage: str = ""):
        self.address, self._storage = address, storage  # URL of an object store, if hosts share no folder
        self._data_dir: Path | None = None
        self._broker: subprocess.Popen[str] | None = None
        self._is_ready = False  # the broker has connected
        self._logged = ""  # the last error
        self._connect_until = 0.0  # monotonic
        self._lock = threading.Lock()
        self._retry_due = self._hosts_due = 0.0
        self._hosts: list[Host] = []

    def start(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def capacity(self) -> int:
        return max(1, int(sum(host.cpus for host in self.hosts() if not host.problem)))

    def connect(self, data_dir: Path) -> list[Host]:
        """Return the hosts; raises ExplorerError if no cluster answers, or none of its hosts can train."""
        self.start(data_dir)
        until = time.monotonic() + _CONNECT_SECONDS
        while not (hosts := self.hosts()) and self.problem == _CONNECTING and time.monotonic() < until:
            self._hosts_due = 0.0
            time.sleep(0.1)
        if self.problem:
            raise ExplorerError(self.problem)
        if not [host for host in hosts if not host.problem]:
            raise ExplorerError(
                f"No host of the Ray cluster can train. {'; '.join(f'{host.name}: {host.problem}' for host in hosts)}"
            )
        return hosts

    def submit(self, home: Path, folder: RunFolder, status: Status) -> None:
        needs = self._needs(folder)
        cores, memory = int(needs["cpus"]), memory_in_words(int(needs["memory"]))
        words = f"{cores} free core{'s' * (cores != 1)} and {memory} of memory"
        words += f" and {needs['gpus']:.0f} GPU{'s' * (needs['gpus'] != 1)}" if needs["gpus"] else ""
        why = f"It waits for {words} on one host of the Ray cluster."
        hosts = self.hosts()
        able = [host for host in hosts if all(getattr(host, what) >= needs[what] for what in needs)]
        if hosts and not able:
            raise NoCapacityError(f"{why} None is that large.", is_too_large=True)
        free = [host for host in able if all(getattr(host, f"free_{what}") >= needs[what] for what in needs)]
        if not any(not host.problem for host in free):
            raise NoCapacityError(self.problem or why)
        wanted = {"GPT_EXPLORER_HOME": str(home), "GPT_EXPLORER_THREADS": str(int(needs["cpus"]))}
        placed = {"state": "starting", "pid": 0, "pid_started": None, "reason": "", "host": "the Ray cluster"}
        before = folder.read_status()
        folder.write_status(status.model_copy(update=placed))  # before its worker can write another
        answer = self._ask("submit", run=folder.id, environment=wanted, needs=needs)
        if answer:
            folder.write_status(before)
            if answer.get("is_sentence") and not self.problem:  # an error of this run only
                raise RunError(answer["error"])
            raise NoCapacityError(answer.get("wait") or self.problem or answer.get("error") or why)

    def poll(self, folder: RunFolder, status: Status) -> bool:
        if not status.host or status.pid:
            return status.has_worker(folder.lock_path)
        # A lock means that an app still transfers its files. If the cluster does not answer, the actor may exist.
        return is_locked(folder.lock_path) or bool(self._ask("exists", run=folder.id).get("exists", True))

    def cancel(self, folder: RunFolder, status: Status, number: signal.Signals = signal.SIGKILL) -> None:
        if not status.host:
            return LocalEngine().cancel(folder, status, number)
        answer = self._ask("cancel", run=folder.id, number=int(number))
        if answer:
            why = self.problem or answer.get("error", "")
            raise RunError(f"The process of {folder.name!r} on {status.host} cannot be ended. {why}")

    def hosts(self) -> list[Host]:
        if time.monotonic() >= self._hosts_due:
            answer = self._ask("hosts")
            self._hosts = [Host(**{name: host[name] for name in Host._fields}) for host in answer.get("hosts", ())]
            self.silence = answer.get("silence", "")
            self._hosts_due = time.monotonic() + _HOSTS_SECONDS
        return self._hosts

    def close(self) -> None:
        with self._lock:
            self._end()

    def _needs(self, folder: RunFolder) -> dict[str, float]:
        config = config_now(folder)
        sound = [host for host in self.hosts() if not host.problem]
        most = int(max((host.cpus for host in sound), default=1))
        on_gpu = config.train.device in ("auto", "cuda") and any(host.gpus for host in sound)
        processes = config.train.processes
        cpus = processes * threads_for_run(config, max(processes, most))
        memory = processes * (memory_needed(config, vocab_size_of(folder)) + _PROCESS_BYTES)
        return {"cpus": cpus, "gpus": processes if on_gpu else 0, "memory": memory}

    def _ask(self, request: str, **more: Any) -> dict[str, Any]:
        """Return the broker's answer; its `error` is a sentence, copied to `problem` if it is not about one run.

        A broker that does not answer or has lost its cluster is ended, along with its threads that follow runs.
        """
        with self._lock:
            if self._broker is None and time.monotonic() < self._retry_due:
                return {"error": self.problem}
            answer = self._exchange(json.dumps({"do": request} | more))
            if "error" in answer:
                answer = answer | {"error": self._sentence(answer)}
            error = answer.get("error", "")
            is_lost = bool(error) and (not self._is_ready or answer.get("is_lost", False))
            if error not in (self._logged, "") and not is_lost:
                log.warning("%s: %s", request, error)
            self._logged = error
            self.problem = error if is_lost or "run" not in more else ""
            if not self._is_ready and not error:
                self.problem = _CONNECTING
            elif is_lost:
                self._end()
                self._retry_due = time.monotonic() + _RETRY_SECONDS
            return answer

    def _exchange(self, line: str) -> dict[str, Any]:
        if self._broker is None:
            self._broker, self._is_ready = self._start_broker(), False
            self._connect_until = time.monotonic() + _CONNECT_SECONDS
        if not self._is_ready:
            first = self._answer(0.0 if time.monotonic() < self._connect_until else _ANSWER_SECONDS)
            if first is None and time.monotonic() < self._connect_until:
                return {"wait": _CONNECTING}
            if first is None or "error" in first:
                return first or _SILENT
            self._is_ready = True
        assert self._broker.stdin is not None  # a pipe
        with suppress(BrokenPipeError):
            self._broker.stdin.write(line + "\n")
            self._broker.stdin.flush()
            answer = self._answer(_ANSWER_SECONDS)
            return _SILENT if answer is None else answer
        return _SILENT

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """Return the broker's next line; None if none comes in time, an error if the broker has ended."""
        assert self._broker is not None and self._broker.stdout is not None
        if not select.select([self._broker.stdout], [], [], seconds)[0]:
            return None
        answer = self._broker.stdout.readline()
        return json.loads(answer) if answer else _SILENT

    def _start_broker(self) -> subprocess.Popen[str]:
        assert self._data_dir is not None, "`start` comes first"
        command = [sys.executable, "-m", "core", "worker", "--ray", self.address, "--storage", self._storage]
        once = {"AWS_MAX_ATTEMPTS": "1"}  # requests repeat every second; boto's 5 attempts took 128 s to fail
        environment = once | worker_environment(self._data_dir) | {"RAY_ADDRESS": ""}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with _log_file(self._data_dir) as errors:
            return subprocess.Popen(command, env=environment, start_new_session=True, stderr=errors, **pipes)

    def _end(self) -> None:
        if self._broker is not None:
            self._broker.kill()
            with suppress(BrokenPipeError):
                self._broker.communicate()
            self._broker = None

    def _sentence(self, answer: dict[str, Any]) -> str:
        error = answer["error"]
        if answer.get("is_sentence"):
            return error
        if error == "missing":
            return "Ray is not installed. Install it: python -m pip install -r requirements-ray.txt"
        where = "on this machine" if self.address == "auto" else f"at {self.address}"
        if "ersion mismatch" in error:
            return f"The Ray cluster {where} has another version of Ray or Python: {' '.join(error.split())[:300]}"
        if self._is_ready and not answer.get("is_lost"):
            return f"The Ray cluster {where} answers with an error ({error}). {_LOG} in the data folder has more."
        why = "" if answer.get("is_lost") else f" ({error})"
        return (
            f"No Ray cluster answers {where}{why}. Start one with: ray start --head, and give its address: "
            "--ray-address HOST:PORT"
        )
