"""The copy of a run's folder on a host without a shared data folder: a worker trains in it, and its files are sent."""

import math
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from core.atomic_io import write_atomically
from core.paths import made_data_dir
from core.runs.commands import command_files
from core.runs.engines.store_folder import NotThereError, StoreError, StoreFolder
from core.runs.folder import RunFolder

SYNC_SECONDS = 1.0  # between two syncs
_LAST_SECONDS = 900.0  # for retries to send the files after the worker has ended
_GONE_SECONDS = 300.0  # for which a store may be temporarily without the run; after that, the run counts as deleted


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
        self._store.push(run_files(self._folder), attempt=self._attempt, done=sorted(self._taken - waiting))
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


def run_files(folder: RunFolder) -> dict[str, Path]:
    """Return the files of a run that are transferred, by their names in the store."""
    return {f"runs/{folder.id}/{path.relative_to(folder.path).as_posix()}": path for path in folder.files()}
