"""The status of a worker that gets ready: it has no journal yet, and may have to wait for room on the disk even so."""

import logging
from collections.abc import Callable
from contextlib import suppress

from core.errors import DiskFullError
from core.runs.disk_space import DiskSpace, WaitAborted, paused_for_disk_space
from core.runs.folder import RunFolder
from core.runs.records import Status

log = logging.getLogger(__name__)


class Beginning:
    """What is written before the first step, when there is room for it.

    Args:
        status: of a worker that begins.
        on_status: called with every status written.
        stop_asked: whether to give up waiting, which raises GivenUp.
    """

    def __init__(
        self,
        folder: RunFolder,
        status: Status,
        on_status: Callable[[Status], None] | None,
        stop_asked: Callable[[], bool],
    ):
        self._folder, self._status, self._on_status, self._stop_asked = folder, status, on_status, stop_asked
        self._told = False
        self.disk_space = DiskSpace(folder.path, self._wait, self._go_on)

    def begin(self) -> None:
        """Say that there is a worker."""
        self.disk_space.write(lambda: self._folder.write_status(self._status, durable=False))

    def _wait(self, why: str) -> None:
        waits = paused_for_disk_space(self._status, why)
        if not self._told:
            log.warning("%s", waits.notice)
            with suppress(DiskFullError):
                self._folder.write_status(waits)
                self._told = True
            if self._on_status:
                self._on_status(waits)
        if self._stop_asked():
            raise WaitAborted

    def _go_on(self) -> None:
        log.warning("there is room again")
        self._told = False
        with suppress(DiskFullError):  # the next write waits, and says so
            self._folder.write_status(self._status, durable=False)
