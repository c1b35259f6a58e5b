"""Disk space: a run waits while the disk is full, resumes when there is space again, and says so in its status."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from core.atomic_io import FULL
from core.errors import DiskFullError
from core.formatting import memory_in_words
from core.runs.folder import RunFolder
from core.runs.records import Status
from core.training.hardware import memory_kills

RESERVE_BYTES = 64 * 2**20  # kept free for commands, logs and other programs; on a small disk a twentieth of it
RESERVE_FILE_BYTES = 64 * 2**10  # per run; its file is removed when the disk is full, so that the status can be written
CHECK_SECONDS = 0.25  # between two checks for space

log = logging.getLogger(__name__)


class WaitAborted(Exception):
    """Raised to stop waiting for disk space, because the run was stopped."""


def shortage(folder: Path, needed: int = 0) -> str:
    """Return why `needed` bytes should not be written into a folder now; "" if they can be."""
    disk = shutil.disk_usage(folder)
    if disk.free >= needed + min(RESERVE_BYTES, disk.total // 20):
        return ""
    return f"the disk is nearly full ({memory_in_words(disk.free)} free)"


class DiskSpace:
    """Writes of one worker, each retried until there is enough disk space."""

    def __init__(self, folder: Path, wait: Callable[[str], None], resume: Callable[[], None]):
        self._wait = wait  # called between two checks, with the reason; raises WaitAborted to stop waiting
        self._folder, self._resume = folder, resume  # `resume` is called when a write that waited is done
        self._reserve = folder / ".spare"
        self.keep_reserve()

    def write(self, write: Callable[[], object], needed: int = 0) -> None:
        """Call `write` when there is space for `needed` bytes; a `write` that fails must change nothing."""
        waited = False
        while why := shortage(self._folder, needed) or self._try(write):
            waited = True
            if shutil.disk_usage(self._folder).free < RESERVE_FILE_BYTES:
                self._reserve.unlink(missing_ok=True)
            self._wait(why)
            time.sleep(CHECK_SECONDS)
        if waited:
            self.keep_reserve()
            self._resume()

    def keep_reserve(self) -> None:
        with suppress(OSError):
            self._reserve.write_bytes(os.urandom(RESERVE_FILE_BYTES))  # random, so that no file system compresses it

    def drop_reserve(self) -> None:
        self._reserve.unlink(missing_ok=True)

    def _try(self, write: Callable[[], object]) -> str:
        """Return why the write failed; "" if it succeeded."""
        try:
            write()
        except (DiskFullError, OSError) as error:
            if not isinstance(error, DiskFullError) and error.errno not in FULL:
                raise
            log.warning("%s", error)
            return "the disk is full"
        return ""


class StatusWriter:
    """Writer of one run's status and events, which waits while the disk is full; created before the text is read."""

    def __init__(
        self,
        folder: RunFolder,
        status: Status,  # when the worker starts
        on_status: Callable[[Status], None] | None,  # called with every status written
        while_waiting: Callable[[], None],  # called while there is no disk space; raises WaitAborted to stop waiting
    ):
        self.folder, self.status, self._on_status, self.while_waiting = folder, status, on_status, while_waiting
        self.clock = Stopwatch(0.0)  # training time; later replaced by one that includes earlier workers' time
        self._process = {"pid": status.pid, "pid_started": status.pid_started}
        self._before_waiting: Status | None = None
        self._waiting_events: list[dict[str, Any]] = []
        self._is_pause_written = False
        self.disk_space = DiskSpace(folder.path, self._wait_for_disk_space, self._after_wait)
        self._checked_commands = time.monotonic()

    def change(self, changes: dict[str, Any]) -> None:
        """Change the status in memory; the next `write` writes it."""
        self.status = self.status.model_copy(update=changes)

    def write(self, changes: dict[str, Any], *, durable: bool) -> None:
        """Write the status with changes and current measurements; if `durable`, it is on disk when this returns."""
        measured = {"slowest": self._slowest(), "seconds": round(self.clock.seconds, 3), "oom_kills": memory_kills()}
        status = self.status.model_copy(update=changes | measured)

        def write() -> None:
            self.status = self.folder.write_status(status, durable=durable)
            if self._before_waiting:
                self._before_waiting = self.status

        self.disk_space.write(write)
        if self._on_status:
            self._on_status(self.status)

    def event(self, row: dict[str, Any]) -> None:
        """Append an event; while the disk is full, keep it until there is space."""
        if self._before_waiting:
            self._waiting_events.append(row)
        else:
            self.disk_space.write(lambda: self.folder.append("events", row))

    def abort(self, reason: str) -> Status:
        """Stop, and drop writes for which there is no disk space."""
        self.status = self.status.end("stopped", reason, "disk")
        self._try_write(self.status)
        with suppress(DiskFullError, OSError):
            for row in self._waiting_events:
                self.folder.append("events", row)
        return self.status

    def leave_paused(self) -> bool:
        """Write that the run stays paused without a process; returns False if the disk is too full for that."""
        return self._try_write(self.status.without_process())

    def commands_checked(self) -> None:
        """Record that the commands were read; the longest time between two reads decides how long a stop may take."""
        self.change({"slowest": self._slowest()})
        self._checked_commands = time.monotonic()

    def _wait_for_disk_space(self, why: str) -> None:
        if self._before_waiting is None:
            self._before_waiting = self.status
            self.clock.halt()
            notice = f"Paused: {why}; it goes on by itself when there is room."
            changes = {"state": "paused", "reason": "", "problem": "disk", "notice": notice, "seconds_left": None}
            self.status = self.status.model_copy(update=changes | self._process)
            log.warning("%s", self.status.notice)
            self._is_pause_written = False
        self._is_pause_written = self._is_pause_written or self._try_write(self.status)
        self.while_waiting()

    def _after_wait(self) -> None:
        before, self._before_waiting = self._before_waiting, None
        if before is None:  # a nested write has already resumed the run
            return
        log.warning("there is disk space again")
        self.status = before.model_copy(update={"problem": "", "slowest": self.status.slowest})
        self._checked_commands = time.monotonic()
        if before.state == "running":
            self.clock.go()
        self._try_write(self.status)
        rows = self._waiting_events
        self._waiting_events = []
        for row in rows:
            self.disk_space.write(lambda row=row: self.folder.append("events", row))

    def _try_write(self, status: Status) -> bool:
        try:
            self.status = self.folder.write_status(status)
        except DiskFullError as error:
            log.warning("%s", error)
            return False
        finally:
            if self._on_status:
                self._on_status(status)
        return True

    def _slowest(self) -> float:
        return max(self.status.slowest, round(time.monotonic() - self._checked_commands, 3))


class Stopwatch:
    """Stopwatch for the seconds that a run trains, without pauses."""

    def __init__(self, before: float):
        self._before = before  # seconds until the last `halt`
        self._since: float | None = None

    def go(self) -> None:
        self._since = self._since or time.monotonic()

    def halt(self) -> None:
        self._before, self._since = self.seconds, None

    @property
    def seconds(self) -> float:
        return self._before + (time.monotonic() - self._since if self._since else 0.0)
