"""A run that trains on a host without the data folder: its files are transferred through an object store.

A run has a folder in the store (`StoreFolder`). The app writes the files that a worker starts with. After that, the
host (`HostCopy`) writes all files except `commands.json`, which contains the pending commands.
"""

import json
import logging
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path

from core.atomic_io import write_atomically
from core.errors import RunError, TextError
from core.paths import class_root, made_data_dir
from core.runs.commands import command_files
from core.runs.engines.store_folder import NotThereError, StoreError, StoreFolder
from core.runs.folder import RunFolder
from core.runs.records import FILLED_IN, Status, after_crash, last_log_lines, parse_status
from core.text.own_text import own_text_file

SYNC_SECONDS = 1.0  # between two syncs
_LAST_SECONDS = 900.0  # for retries to send the files after the worker has ended
_GONE_SECONDS = 300.0  # for which a store may be temporarily without the run; after that, the run counts as deleted

log = logging.getLogger(__name__)


class Sync(Enum):
    """The result of the last sync with the store."""

    CURRENT = auto()  # the folder here matches the store's
    UNSENT = auto()  # the store does not answer, and lacks the files that the worker starts with
    SILENT = auto()  # the store does not answer, or lacks the run although its worker is alive
    UNWRITABLE = auto()  # the store answers, but its files cannot be written here
    LOST = auto()  # the store lacks the run, and the worker has ended
    DELETED = auto()  # the folder here is gone


_FINAL = {Sync.CURRENT, Sync.LOST, Sync.DELETED}  # after these, nothing more comes from a worker that has ended
_SILENT = "The object store has not answered since {since} UTC"
_SENTENCES = {
    Sync.UNSENT: f"{_SILENT} ({{error}}). The run starts when it answers.",
    Sync.SILENT: f"{_SILENT}. The run continues, and its results are shown here when the store answers.",
    Sync.UNWRITABLE: "The files of {run.name!r} cannot be written here ({error}). Another attempt follows.",
}


class RemoteRun(threading.Thread):
    """The app's side: holds the run's lock while its worker is alive, and keeps the run's folder here up to date.

    `start` starts the worker, given a random name for this attempt; without it, an already running worker is followed.
    """

    def __init__(
        self, folder: RunFolder, url: str, start: Callable[[str], object] | None, is_alive: Callable[[], bool]
    ):
        super().__init__(name=f"remote-{folder.id}", daemon=True)
        self.folder, self.is_killed = folder, False
        self._status_lock = threading.Lock()  # so that this thread does not overwrite a status written after `kill`
        self._sync, self.silence = Sync.CURRENT, ""  # and its sentence
        self._answered = time.time()  # of the last answer
        self._url, self._start, self._is_alive = url, start, is_alive
        self._store = StoreFolder(url, folder.id)
        self._attempt = os.urandom(8).hex() if start else ""

    def run(self) -> None:
        with suppress(RunError), self.folder.training_lock():  # if it is locked, another app follows the run
            try:
                is_alive = self._begin(self._start) if self._start else True
            except Exception as error:
                why = f"Its files cannot be read, or its worker cannot be started ({type(error).__name__}: {error})."
                self._write(self.folder.read_status().end("failed", why))
                return
            while is_alive or not (self._sync in _FINAL or self.is_killed):  # the store may have its last files
                is_alive = self._is_alive()
                self._become(*self._look(is_alive))
                if is_alive or self._sync not in _FINAL:
                    time.sleep(SYNC_SECONDS)
            if self.is_killed or not self.folder.path.exists() or self.folder.read_status().ended:
                with suppress(Exception):  # remaining files do no harm; a crashed run's next attempt uses them
                    self._store.remove()

    def _begin(self, start: Callable[[str], object]) -> bool:
        """Send the files and start the worker once the store answers; return False if the run ends before that."""
        while not self.is_killed:
            try:
                self._store = StoreFolder(self._url, self.folder.id)
                self._send_commands()  # first, to end the worker of an earlier attempt, which may still send files
                is_needed = self._goes_on_from_store()
                self._become(Sync.CURRENT)
                if not is_needed:
                    return False
                self._store.adopt()
                files = self._files()
                snapshots = {name for name in files if self.folder.snapshots_folder.name in Path(name).parts}
                self._store.push(files, unsent=snapshots, attempt=self._attempt)
            except StoreError as error:
                self._become(Sync.UNSENT, error)
                time.sleep(SYNC_SECONDS)
            else:
                start(self._attempt)
                return True
        return False

    def _goes_on_from_store(self) -> bool:
        """Fetch the files that a worker sent while no app followed it; return False if the run has ended or paused.

        The store may also be behind this folder, if the run was trained elsewhere since.
        """
        from core.training.checkpoints import newest_save  # imports torch, which is rarely needed here

        store, folder = self._store, self.folder
        sent = store.read_json(f"runs/{folder.id}/{folder.status_path.name}")
        if not sent or not store.read_json("manifest.json"):
            return True
        status, own = parse_status(sent, f"of run {folder.id}"), folder.read_status()
        if (status.attempt, status.step) < (own.attempt, own.step):
            return True
        before = _stamps_of(folder)
        try:
            self._pull(lambda data: None)
        except OSError as error:  # a full disk
            raise StoreError(f"{type(error).__name__}: {error}") from error
        if (status.attempt, status.step) == (own.attempt, own.step) and _stamps_of(folder) == before:
            return True  # everything was already here, even the end, and the run was resumed after it
        if not status.ended:
            status = after_crash(status, last_log_lines(folder.log_path), newest_save(folder.checkpoints))
        if status.state == "queued":
            self._send_commands()  # without those already done
            placed = {name: getattr(own, name) for name in ("state", "pid", "pid_started", "host")}
            status = status.model_copy(update=placed)
        self._write(status)
        return status.state == own.state and not self.is_killed

    def _pull(self, write_status: Callable[[bytes], object]) -> None:
        folder, under = self.folder, f"runs/{self.folder.id}/"
        instead = {
            f"{under}{folder.status_path.name}": write_status,
            f"{under}{folder.record_path.name}": self._fill_in,
        }
        manifest = self._store.pull(folder.data_dir, under, instead)
        for command in manifest.get("done", ()):
            (self.folder.commands / Path(command).name).unlink(missing_ok=True)

    def _fill_in(self, data: bytes) -> None:
        """Take only the fields that workers fill in from the worker's record: others may have been changed here."""
        try:
            self.folder.record()
        except RunError:  # damaged
            write_atomically(self.folder.record_path, data, durable=False)
        with suppress(ValueError):
            sent = json.loads(data)
            self.folder.update_record(**{name: sent[name] for name in FILLED_IN if name in sent})

    def _write(self, status: Status) -> None:
        with self._status_lock:
            if not self.is_killed:
                self.folder.write_status(status)

    def _write_sent(self, status: bytes) -> None:
        with self._status_lock:
            if not self.is_killed:
                write_atomically(self.folder.status_path, status, durable=False)

    def kill(self) -> None:
        """Make the thread end with the worker, and write no status any more."""
        with self._status_lock:
            self.is_killed = True

    def _look(self, is_alive: bool) -> tuple[Sync, object]:
        """Send commands and fetch files; return the result and its error."""
        now, why = Sync.CURRENT, None
        try:
            self._send_commands()
            if not self.is_killed:
                self._pull(self._write_sent)
        except StoreError as error:
            is_lost = isinstance(error, NotThereError) and not is_alive
            now, why = Sync.LOST if is_lost else Sync.SILENT, error
        except Exception as error:  # such as a full disk, which may have room at the next sync
            now, why = Sync.UNWRITABLE, error
        return now if self.folder.path.exists() else Sync.DELETED, why

    def _become(self, sync: Sync, error: object = None) -> None:
        """Record the result of a sync, and write its sentence into the status until the worker's status replaces it."""
        self._answered = time.time() if sync is Sync.CURRENT else self._answered
        since = time.strftime("%H:%M", time.gmtime(self._answered))
        before, now = self.silence, _SENTENCES.get(sync, "").format(since=since, run=self.folder, error=error)
        self._sync, self.silence = sync, now
        if now == before or sync is Sync.DELETED:
            return
        if sync is Sync.UNWRITABLE:
            return log.warning("%s", now)
        with suppress(RunError):  # deleted, or the disk is full
            status = self.folder.read_status()
            if not status.ended and (now or status.waits_for == before):
                self._write(status.model_copy(update={"waits_for": now}))
                self._store.forget(f"runs/{self.folder.id}/{self.folder.status_path.name}")

    def _send_commands(self) -> None:
        if not self._attempt:  # another app has started the worker
            self._attempt = (self._store.read_json("commands.json") or {}).get("attempt", "")
            if not self._attempt:
                raise NotThereError("There is no commands.json.")
        commands = {path.name: path.read_text() for path in command_files(self.folder)}
        self._store.write_json("commands.json", {"attempt": self._attempt, "commands": commands})

    def _files(self) -> dict[str, Path]:
        folder, corpus = self.folder, self.folder.record().config.data.corpus
        downloaded = class_root(folder.data_dir) / "downloads" / f"{corpus}.txt"
        files = _run_files(folder) | {f"downloads/{downloaded.name}": downloaded}
        with suppress(TextError):  # other texts come with the program or are downloaded
            text = own_text_file(corpus, folder.data_dir)
            files |= {f"texts/{path.name}": path for path in (text, text.with_suffix(".json"))}
        return files


class HostCopy:
    """A data folder with only one run, whose files are sent while its worker trains."""

    def __init__(self, url: str, run_id: str, attempt: str):
        self.home = made_data_dir(Path(tempfile.mkdtemp(prefix="gpt-explorer-")))
        self._folder = RunFolder(self.home / "runs" / run_id)
        run = self._folder
        for subfolder in (run.probes, run.snapshots_folder, run.checkpoints, run.commands):
            subfolder.mkdir(parents=True)
        self._attempt, self._taken = attempt, set[str]()
        self._gone_at = time.monotonic() + _GONE_SECONDS
        self._store = StoreFolder(url, run_id)
        if not self._store.has_all(self._store.pull(self.home)):
            raise StoreError("The worker of an earlier attempt still writes these files.")
        self.sync()

    def sync(self) -> bool:
        """Send the worker's new files and fetch commands; return whether this is still the newest attempt."""
        sent = self._store.read_json("commands.json")
        if sent is None and time.monotonic() < self._gone_at:
            raise NotThereError("There is no commands.json.")
        if sent is None or sent.get("attempt", self._attempt) != self._attempt:
            return False
        self._gone_at = time.monotonic() + _GONE_SECONDS
        commands = sent.get("commands", {})
        for name in commands.keys() - self._taken:
            write_atomically(self._folder.commands / Path(name).name, commands[name].encode())
            self._taken.add(name)
        waiting = {path.name for path in command_files(self._folder)}
        for name in waiting - commands.keys() if sent else ():  # withdrawn
            (self._folder.commands / name).unlink(missing_ok=True)
        self._store.push(_run_files(self._folder), attempt=self._attempt, done=sorted(self._taken - waiting))
        return True

    def train(self) -> int:
        """Start a worker, and send its files until it ends; return its exit code.

        If a newer attempt has started elsewhere, kill this process and the worker, which is in the same process group.
        """
        environment = os.environ | {"GPT_EXPLORER_HOME": str(self.home)}
        worker = subprocess.Popen([sys.executable, "-m", "core", "worker", self._folder.id], env=environment)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only the worker reacts: it saves and exits
        last = math.inf  # monotonic
        while time.monotonic() < last:
            has_ended = worker.poll() is not None
            with suppress(Exception):  # the store or the network may be back at the next sync
                if not self.sync():
                    shutil.rmtree(self.home, ignore_errors=True)
                    os.killpg(0, signal.SIGKILL)
                if has_ended:
                    break
            last = min(last, time.monotonic() + _LAST_SECONDS) if has_ended else last
            time.sleep(SYNC_SECONDS)
        shutil.rmtree(self.home, ignore_errors=True)
        return worker.returncode


def _run_files(folder: RunFolder) -> dict[str, Path]:
    """Return the files of a run that are transferred, by their names in the store."""
    return {f"runs/{folder.id}/{path.relative_to(folder.path).as_posix()}": path for path in folder.files()}


def _stamps_of(folder: RunFolder) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.files() if path != folder.status_path}
