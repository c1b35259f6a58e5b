"""How a run fares, whether its worker lives, and what a dead one said last."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pydantic import ValidationError

from core.atomic_io import lock, write_atomically
from core.errors import RunError
from core.runs.crash_recovery import after_death
from core.runs.paths import RunPaths
from core.runs.processes import ProcessId, end_orphans, is_alive
from core.runs.records import Status

# How Python introduces the frames of a traceback or of a crash.
_SAYS_NOTHING = ("Traceback (most recent", "Current thread 0x", "Thread 0x", "Extension modules:")


class RunLife(RunPaths):
    """The part of a run's folder that tells its state and its process."""

    def status(self) -> Status:
        """How the run fares. Never raises; what becomes of one whose worker has died is said by `after_death`."""
        try:
            status = self.read_status()
        except RunError as error:
            return Status(state="failed", reason=str(error))
        return self._after_death(status) if self._has_died(status) else status

    def resolve_numerics(self) -> Status:
        """`status()`, and a death that it finds is settled: written down, and what the worker had started is ended.

        For whoever looks after the runs; much later, a pid tells less surely.
        """
        try:
            status = self.read_status()
        except RunError:
            return self.status()
        if not self._has_died(status):
            return status
        end_orphans(_process(status))
        return self.write_status(self._after_death(status))

    def read_status(self) -> Status:
        """The status as it was written, whatever has become of the worker since.

        Raises RunError where the file is missing or damaged.
        """
        try:
            return Status.model_validate(self._read_json(self.status_path))
        except ValidationError:
            raise RunError(f"The file status.json of run {self.id} is damaged.") from None

    @property
    def status_problem(self) -> str | None:
        """A sentence on what is wrong with the file of the status; None where it can be read."""
        try:
            self.read_status()
        except RunError as error:
            return str(error)
        return None

    def write_status(self, status: Status, *, durable: bool = True) -> Status:
        """Replace the status, and return it as written: with the time."""
        stamped = status.model_copy(update={"updated": time.time()})
        with self._writing("changed"):
            write_atomically(self.status_path, stamped.model_dump_json().encode(), durable=durable)
        return stamped

    def last_words(self, lines: int = 3) -> str:
        """The last lines of the worker's log that say something; empty if it said nothing.

        Where the log ends in a traceback, its frames are passed over: they are indented, the error itself is not.
        """
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - 20_000))
                said = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        meaningful = [line.rstrip() for line in said if re.match(r"\S", line) and re.search(r"\w", line)]
        words = [line for line in meaningful if not line.startswith(_SAYS_NOTHING)]
        return "\n".join(line[:300] for line in words[-lines:])

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one process that trains in this folder; the lock falls when the process ends, however it ends.

        Raises RunError if another one does.
        """
        with self._writing("trained"):
            file = self.lock_path.open("ab")
        with file:
            try:
                lock(file, wait=False)
            except BlockingIOError:
                raise RunError(f"Another process is training the run {self.name!r} already.") from None
            yield

    def _has_died(self, status: Status) -> bool:
        if status.ended or status.pid is None or is_alive(_process(status)):
            return False
        try:
            # The worker may have written its end and left between the two looks.
            again = self.read_status()
        except RunError:
            return True
        return again.pid == status.pid and not again.ended

    def _after_death(self, status: Status) -> Status:
        from core.training.checkpoints import newest_save  # torch, for which a list of runs should not wait

        return after_death(status, self.last_words(), newest_save(self.checkpoints))


def _process(status: Status) -> ProcessId:
    return ProcessId(status.pid, status.pid_started or 0.0)
