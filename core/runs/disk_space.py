"""Disk space: a run waits while the disk is full, and resumes when there is space again."""

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
