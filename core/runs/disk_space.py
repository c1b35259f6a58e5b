"""Room on the disk: where there is none, a run waits, and goes on by itself when there is."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from core.atomic_io import FULL
from core.errors import DiskFullError
from core.formatting import memory_in_words
from core.runs.records import Status

RESERVE_BYTES = 64 * 2**20  # to be left free on a disk, or a twentieth of a small one: for commands, logs and others
RESERVE_FILE_BYTES = 64 * 2**10  # of the run's own, given back so that even on a full disk it can say what it waits for
LOOK_SECONDS = 0.25  # between two looks whether there is room

log = logging.getLogger(__name__)


class WaitAborted(Exception):
    """Stopped by hand while there was no room to write what has to be written."""


def paused_for_disk_space(status: Status, why: str) -> Status:
    """How a run fares that waits for room."""
    notice = f"Paused: {why}; it goes on by itself when there is room."
    waits = {"state": "paused", "reason": "", "problem": "disk", "notice": notice, "seconds_left": None}
    return status.model_copy(update=waits)


def shortage(folder: Path, needed: int = 0) -> str:
    """Why so many bytes should not be written into a folder now; empty where there is room."""
    disk = shutil.disk_usage(folder)
    if disk.free >= needed + min(RESERVE_BYTES, disk.total // 20):
        return ""
    return f"the disk is nearly full ({memory_in_words(disk.free)} free)"


class DiskSpace:
    """Sees to it that what one worker writes is written, however long that takes.

    Args:
        folder: of the run.
        wait: called once a look while there is no room, with the reason; raises to give up.
        go_on: called when what had to wait is written.
    """

    def __init__(self, folder: Path, wait: Callable[[str], None], go_on: Callable[[], None]):
        self._folder, self._wait, self._go_on = folder, wait, go_on
        self._reserve = folder / ".spare"
        self.keep_reserve()

    def write(self, write: Callable[[], object], needed: int = 0) -> None:
        """Do it when there is room for it.

        Args:
            write: what leaves everything as it was where it fails, so that it can be tried again.
            needed: bytes, where it is more than a little.
        """
        waited = False
        while why := shortage(self._folder, needed) or self._try(write):
            waited = True
            if shutil.disk_usage(self._folder).free < RESERVE_FILE_BYTES:
                self._reserve.unlink(missing_ok=True)
            self._wait(why)
            time.sleep(LOOK_SECONDS)
        if waited:
            self.keep_reserve()
            self._go_on()

    def keep_reserve(self) -> None:
        with suppress(OSError):
            self._reserve.write_bytes(os.urandom(RESERVE_FILE_BYTES))  # no file system saves room on noise

    def drop_reserve(self) -> None:
        self._reserve.unlink(missing_ok=True)

    def _try(self, write: Callable[[], object]) -> str:
        """Empty where it is done."""
        try:
            write()
        except (DiskFullError, OSError) as error:
            if not isinstance(error, DiskFullError) and error.errno not in FULL:
                raise
            log.warning("%s", error)
            return "the disk is full"
        return ""
