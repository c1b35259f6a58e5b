"""Runs on hosts without the data folder: their files travel through an object store that fsspec can open.

A run has a folder in the store. `manifest.json` names its files with their hashes and is written after them: a file
that has another hash is being replaced, and is read again at the next look. The app writes the files that a worker
begins with; from then on the host writes all of them but `commands.json`, which has the commands that wait.
"""

import hashlib
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.atomic_io import write_atomically
from core.errors import RunError, TextError
from core.paths import class_root, made_data_dir
from core.runs.folder import RunFolder
from core.text.own_text import own_text_file

SYNC_SECONDS = 1.0  # between two looks
_LAST_SECONDS = 60.0  # for which the files of a worker that has ended are tried
_GROWING = (".jsonl", ".log")  # rows are added to these, and their readers hold them open


def check_store(url: str) -> None:
    """Raise RunError, with what to do, where nothing can be written to a store."""
    try:
        check = StoreFolder(url, f"check-{os.urandom(8).hex()}")
        check.write_json("check.json", {})
        check.remove()
    except Exception as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RunError(
            f"Nothing can be written to {url} ({why}). Check the address and your access, and install the client of "
            "that store, such as s3fs."
        ) from None


class StoreFolder:
    """The folder of one run in a store, and what of it is the same here."""

    def __init__(self, url: str, run_id: str):
        from fsspec.core import url_to_fs

        folder = f"{url.rstrip('/')}/{run_id}"
        options = {"auto_mkdir": True} if folder.startswith("file:") else {"use_listings_cache": False}
        self._fs, self._path = url_to_fs(folder, **options)
        self._hashes: dict[str, str] = {}  # of the files that are the same here and there
        self._objects: dict[str, bytes] = {}  # JSON as it was last written
        self._stamps: dict[str, tuple[int, int]] = {}  # when such a file was last changed here, in ns, and its bytes

    def push(self, files: Mapping[str, Path], **more: Any) -> None:
        """Write the files that have changed, by their names in the store, and a manifest with `more` in it."""
        hashes = {}
        for name, path in files.items():
            try:
                stat = path.stat()
                if (stamp := (stat.st_mtime_ns, stat.st_size)) != self._stamps.get(name):
                    data = path.read_bytes()
                    if (digest := _hash(data)) != self._hashes.get(name):
                        self._write(name, data)
                    self._hashes[name], self._stamps[name] = digest, stamp
                hashes[name] = self._hashes[name]
            except FileNotFoundError:  # replaced or removed meanwhile
                continue
        self.write_json("manifest.json", {"files": hashes, **more})
        for name in self._hashes.keys() - hashes.keys():
            del self._hashes[name]
            self._stamps.pop(name, None)
            with suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._path}/{name}")

    def pull(self, folder: Path, under: str = "") -> dict[str, Any]:
        """Write the files of the manifest that have changed into a folder; return the manifest, empty without one."""
        manifest = self.read_json("manifest.json") or {}
        hashes = {name: digest for name, digest in manifest.get("files", {}).items() if _is_below(name, under)}
        for name, digest in sorted(hashes.items(), key=lambda item: item[0].endswith("status.json")):
            if self._hashes.get(name) != digest:
                with suppress(FileNotFoundError):
                    data = self._fs.cat_file(f"{self._path}/{name}")
                    if _hash(data) == digest:
                        _replace(folder / name, data)
                        self._hashes[name] = digest
        for name in [name for name in self._hashes if manifest and _is_below(name, under) and name not in hashes]:
            del self._hashes[name]
            (folder / name).unlink(missing_ok=True)
        return manifest

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return an object; empty where it is being written, None where there is none."""
        try:
            return json.loads(self._fs.cat_file(f"{self._path}/{name}"))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write an object, unless it is the same already."""
        written = json.dumps(data).encode()
        if self._objects.get(name) != written:
            self._write(name, written)
            self._objects[name] = written

    def remove(self) -> None:
        """Remove all that the store has of the run."""
        with suppress(FileNotFoundError):
            self._fs.rm(self._path, recursive=True)

    def _write(self, name: str, data: bytes) -> None:
        self._fs.pipe_file(f"{self._path}/{name}", data)


class StoredRun(threading.Thread):
    """The app's side: holds the lock of the run while its worker lives, and keeps the run's folder here up to date.

    `start` begins the worker, with a random name of this attempt; without it, one that trains already is followed.
    """

    def __init__(
        self, folder: RunFolder, url: str, start: Callable[[str], object] | None, is_alive: Callable[[], bool]
    ):
        super().__init__(name=f"stored-{folder.id}", daemon=True)
        self.folder, self.is_killed = folder, False
        self._start, self._is_alive = start, is_alive
        self._store = StoreFolder(url, folder.id)
        known = None if start else self._store.read_json("commands.json")
        self._attempt = (known or {}).get("attempt") or os.urandom(8).hex()

    def run(self) -> None:
        with suppress(RunError), self.folder.training_lock():  # another app follows it
            try:
                if self._start:
                    self._store.remove()
                    self._send_commands()
                    self._store.push(self._files(), attempt=self._attempt)
                    self._start(self._attempt)
            except Exception as error:
                why = f"Its files cannot be written to the object store ({type(error).__name__}: {error})."
                self.folder.write_status(self.folder.read_status().end("failed", why))
                return
            while self._is_alive():
                self._sync()
                time.sleep(SYNC_SECONDS)
            self._sync()
            with suppress(Exception):  # what is left harms nobody
                self._store.remove()

    def _sync(self) -> None:
        with suppress(Exception):  # the store or the network may be back at the next look
            self._send_commands()
            if not self.is_killed:
                manifest = self._store.pull(self.folder.data_dir, under=f"runs/{self.folder.id}/")
                for name in manifest.get("done", ()):
                    (self.folder.commands / Path(name).name).unlink(missing_ok=True)

    def _send_commands(self) -> None:
        commands = {path.name: path.read_text() for path in _commands_of(self.folder)}
        self._store.write_json("commands.json", {"attempt": self._attempt, "commands": commands})

    def _files(self) -> dict[str, Path]:
        folder, corpus = self.folder, self.folder.record().config.data.corpus
        downloaded = class_root(folder.data_dir) / "downloads" / f"{corpus}.txt"
        files = _files_of(folder) | {f"downloads/{downloaded.name}": downloaded}
        with suppress(TextError):  # it comes with the program, or is downloaded
            text = own_text_file(corpus, folder.data_dir)
            files |= {f"texts/{path.name}": path for path in (text, text.with_suffix(".json"))}
        return files


class HostedRun:
    """The host's side: a data folder with the one run, whose files are sent while its worker trains."""

    def __init__(self, url: str, run_id: str, attempt: str):
        self.home = made_data_dir(Path(tempfile.mkdtemp(prefix="gpt-explorer-")))
        self._folder = RunFolder(self.home / "runs" / run_id)
        run = self._folder
        for subfolder in (run.probes, run.snapshots_folder, run.checkpoints, run.commands):
            subfolder.mkdir(parents=True)
        self._attempt, self._taken = attempt, set[str]()
        self._store = StoreFolder(url, run_id)
        self._store.pull(self.home)
        self.sync()

    def sync(self) -> bool:
        """Send what the worker has written and take commands; return whether this still is the newest attempt."""
        sent = self._store.read_json("commands.json")
        if sent is None or sent.get("attempt", self._attempt) != self._attempt:
            return False
        commands = sent.get("commands", {})
        for name in commands.keys() - self._taken:
            write_atomically(self._folder.commands / Path(name).name, commands[name].encode())
            self._taken.add(name)
        waiting = {path.name for path in _commands_of(self._folder)}
        for name in waiting - commands.keys() if sent else ():  # taken back
            (self._folder.commands / name).unlink(missing_ok=True)
        self._store.push(_files_of(self._folder), attempt=self._attempt, done=sorted(self._taken - waiting))
        return True

    def train(self) -> int:
        """Let a worker train, and send what it writes, until it ends; return its exit code.

        Where a newer attempt has begun elsewhere, it ends this process and the worker, which has the same group.
        """
        environment = os.environ | {"GPT_EXPLORER_HOME": str(self.home)}
        worker = subprocess.Popen([sys.executable, "-m", "core", "worker", self._folder.id], env=environment)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the worker saves, and then ends
        last = math.inf  # monotonic
        while time.monotonic() < last:
            has_ended = worker.poll() is not None
            with suppress(Exception):  # the store or the network may be back at the next look
                if not self.sync():
                    shutil.rmtree(self.home, ignore_errors=True)
                    os.killpg(0, signal.SIGKILL)
                if has_ended:
                    break
            last = min(last, time.monotonic() + _LAST_SECONDS) if has_ended else last
            time.sleep(SYNC_SECONDS)
        shutil.rmtree(self.home, ignore_errors=True)
        return worker.returncode


def _files_of(folder: RunFolder) -> dict[str, Path]:
    files = [path for path in folder.files() if path != folder.lock_path]
    return {f"runs/{folder.id}/{path.relative_to(folder.path).as_posix()}": path for path in files}


def _commands_of(folder: RunFolder) -> list[Path]:
    return sorted(folder.commands.glob("[0-9]*.json"))


def _is_below(name: str, under: str) -> bool:
    return name.startswith(under) and not name.startswith("/") and ".." not in Path(name).parts


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)  # but not a run's folder that has been deleted
    if path.suffix in _GROWING and path.exists() and data.startswith(before := path.read_bytes()):
        with path.open("ab") as file:
            file.write(data[len(before) :])
    else:
        write_atomically(path, data, durable=False)
