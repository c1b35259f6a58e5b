"""The supervisor: starts workers, sends them the users' commands, and recovers runs whose workers have died."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from core.atomic_io import remove_stale_temporary_files
from core.classroom import most_running
from core.errors import DiskFullError, RunError
from core.live_settings import with_change
from core.paths import all_homes
from core.runs.ancestry import check_cost, check_hidden
from core.runs.commands import (
    Schedule,
    change_settings,
    check_unchanged,
    config_now,
    drop_commands,
    extend,
    extended_config,
    has_steps_left,
    send_command,
    waiting_commands,
)
from core.runs.disk_space import shortage
from core.runs.engines.engine import Engine, LocalEngine, NoCapacityError
from core.runs.folder import RunFolder, list_runs, open_run
from core.runs.processes import ProcessId, end_orphans, this_process
from core.runs.queue import Claim, Queue, is_held_by_a_shell, supervisor_lock
from core.runs.records import Status, stopped_in_words
from core.runs.weights import vocab_size_of
from core.trash import empty_trash, put_into_trash

TICK_SECONDS = 0.25
STOP_SECONDS = 10.0  # minimum time for a worker to save and stop after the command
TERMINATE_SECONDS = 5.0  # minimum further time after SIGTERM
PATIENCE = 3  # a worker has at least this multiple of its longest time between two checks for commands
SETTLED_SECONDS = 1.0  # a pause this long frees its slot; a worker takes a pending resume sooner
STALE_SECONDS = 3600.0  # unfinished files older than this were left by a crash
WAITS_FOR_DISK_SPACE = "It waits because the disk is nearly full, and starts automatically when there is space."
FULL_SECONDS = 1.0  # before the next try if the engine had no room
TOO_LARGE_SECONDS = 10.0  # before the next try if a run is too large for every host
_STOPPED_LATE = "Its process ended before it had saved and stopped. Its last save is kept."
LOST_SECONDS = 60.0  # after this time, a queued run that is missing from the queue is put there

log = logging.getLogger(__name__)


class PendingStop(NamedTuple):
    """A worker that was told to stop and has not ended yet."""

    process: ProcessId
    since: float  # monotonic seconds
    signal: signal.Signals  # sent if it takes too long
    reason: str = ""  # the run's reason if its worker never starts

    def overdue(self, status: Status) -> bool:
        """Return whether it takes too long. A worker checks for commands between steps, which may take minutes."""
        least = STOP_SECONDS if self.signal == signal.SIGTERM else TERMINATE_SECONDS
        return time.monotonic() >= self.since + max(least, PATIENCE * status.slowest)


class Supervisor:
    """The operations of the pages on runs, and a thread that starts queued runs and recovers crashed ones.

    `shown` is the status that a button was drawn for: if the run has changed since, the method raises RunError and does
    nothing (`check_unchanged`). At most `slots` runs train at once, by default as many as the engine supports.

    All state except pending stops is on disk. So a new supervisor continues where a killed one stopped, workers outlive
    it, and two supervisors on one data folder take turns.
    """

    def __init__(self, data_dir: Path, slots: int | None = None, engine: Engine | None = None):
        self.data_dir = data_dir
        self.engine = engine or LocalEngine()
        self._slots = slots
        self._full_until = 0.0  # monotonic; until then the engine has no room
        self._too_large: dict[str, float] = {}  # run ids that no host can hold, and the monotonic time of the next try
        (data_dir / "runs").mkdir(parents=True, exist_ok=True)
        self.queue = Queue(data_dir)
        self._owner = "{}:{}".format(*this_process())  # of claims
        self._thread_lock = threading.Lock()
        self._pending_stops: dict[str, PendingStop] = {}  # by run id
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)

    @property
    def slots(self) -> int:
        """Return how many runs may train at once."""
        return self.engine.capacity() if self._slots is None else self._slots

    def start(self) -> None:
        """Start the thread and the process that forks workers."""
        for folder in (self.data_dir / "runs", self.data_dir / "texts"):
            remove_stale_temporary_files(folder, STALE_SECONDS)
        for home in all_homes(self.data_dir):
            empty_trash(home)
        self.engine.start(self.data_dir)
        self._queue_lost_runs()
        self._thread.start()

    def close(self) -> None:
        """Stop the thread. Workers keep training."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, folder: RunFolder) -> None:
        """Queue a new run, and start it if a slot is free. A second call does nothing."""
        with self._unchanged(folder, None) as status:
            if status.state == "queued":
                self.queue.put(folder.id, folder.member)
                self._fill_slots()

    def pause(self, folder: RunFolder, *, shown: Status | None = None) -> None:
        """Pause after the current step; a queued run leaves the queue."""
        with self._unchanged(folder, shown) as status:
            if status.ended:
                raise RunError(f"The run {folder.name!r} has ended, so it cannot be paused.")
            if status.state == "queued" or (status.state == "paused" and status.problem != "disk"):
                self.queue.remove(folder.id)  # otherwise it would continue when a slot is free
            if status.state == "queued":
                drop_commands(folder)
                folder.write_status(status.model_copy(update={"state": "paused"}))
            elif status.pid is not None:
                send_command(folder, "pause")

    def resume(self, folder: RunFolder, *, shown: Status | None = None) -> None:
        """Continue a paused, stopped or failed run as soon as a slot is free."""
        with self._unchanged(folder, shown) as status:
            if status.state == "finished" and not has_steps_left(folder):
                raise RunError(f"The run {folder.name!r} has finished all its steps, so there is nothing to resume.")
            if status.state == "paused" and status.problem == "disk" and status.pid is not None:
                send_command(folder, "resume")  # it still has its slot
            elif status.state == "paused" and status.pid is not None:
                self.queue.remove(folder.id)  # it may still hold its slot from before the pause
                self.queue.put(folder.id, folder.member)
            elif status.state == "paused" or status.ended:
                self._enqueue(folder, status)
            self._fill_slots()

    def change_setting(self, folder: RunFolder, setting: str, value: Any) -> None:
        """Change a setting before the next step, or when a run that is not training resumes; see `change_settings`."""
        with self._unchanged(folder, None):
            before = config_now(folder)
            after = with_change(before, setting, value)
            check_hidden(folder.data_dir, after, before)
            check_cost(folder.data_dir, after, vocab_size_of(folder))
            change_settings(folder, (setting, value))

    def continue_for(
        self, folder: RunFolder, more_steps: int, schedule: Schedule = "stay", *, shown: Status | None = None
    ) -> None:
        """Train an ended run for `more_steps`, as soon as a slot is free; see `extend`."""
        with self._unchanged(folder, shown):
            step = folder.status().step
            before = config_now(folder)
            after = extended_config(before, step, more_steps, schedule)
            check_hidden(folder.data_dir, after, before)
            check_cost(folder.data_dir, after, vocab_size_of(folder))
            extend(folder, more_steps, schedule)
            self._enqueue(folder, folder.status())
            self._fill_slots()

    def step(self, folder: RunFolder, *, shown: Status | None = None) -> None:
        """Train one step and pause."""
        with self._unchanged(folder, shown) as status:
            if status.state == "queued" or status.ended:
                raise RunError(
                    f"The run {folder.name!r} is {status.state}. Single steps need a run that trains or is paused."
                )
            if status.pid is None:
                self._enqueue(folder, status)
            send_command(folder, "step")
            self._fill_slots()

    def stop(self, folder: RunFolder, *, shown: Status | None = None, by: str = "") -> None:
        """Save and end a run. A queued run only leaves the queue, and an ended one does not change.

        `by` is named in its status as the one who stopped it, if that is not its owner.
        """
        with self._unchanged(folder, shown) as status:
            if status.ended:
                return
            reason = stopped_in_words(by, status.step or None)
            if status.host and not status.pid:  # it has not started, and may wait for room on the cluster
                with suppress(RunError):
                    self.engine.cancel(folder, status, signal.SIGTERM)
            if status.pid is None or not (status.pid or self.engine.poll(folder, status)):
                self.queue.remove(folder.id)
                folder.write_status(status.end("stopped", reason))
                return
            try:
                send_command(folder, "stop", **({"by": by} if by else {}))
            except DiskFullError:
                self.engine.cancel(folder, status, signal.SIGTERM)
            pending = self._pending_stops.get(folder.id)
            if pending is None or pending.process != status.process:
                self._pending_stops[folder.id] = PendingStop(status.process, time.monotonic(), signal.SIGTERM, reason)

    def delete(self, folder: RunFolder, *, shown: Status | None = None, by: str = "") -> None:
        """End a run's worker, if any, and move the run into the trash; if the disk is full, delete it permanently.

        `by` is named in its record as the one who deleted it, if that is not its owner.
        """
        with self._unchanged(folder, shown) as status:
            self.queue.remove(folder.id)
            if not status.ended and status.pid is not None:
                self.engine.cancel(folder, status)
            if shortage(folder.data_dir) or folder.path.is_symlink():  # a link's target is in a user's folder
                folder.delete()
            else:
                with suppress(RunError):  # its record is damaged
                    folder.update_record(changed_by=by)
                with folder.writing("deleted"):
                    put_into_trash(folder.data_dir, [folder.path])
            self._pending_stops.pop(folder.id, None)

    @property
    def busy(self) -> bool:
        """Return whether any run is training or waiting, including runs started from a shell."""
        return bool(self.queue.active() or self.queue.waiting())

    def check(self) -> None:
        """Check all runs once: enforce overdue stops, free slots, recover crashed runs, start queued ones."""
        with self._lock():
            self._enforce_stops()
            for claim in self.queue.active():
                self._check_claim(claim)
            self._fill_slots()
        self.engine.start(self.data_dir)

    def _watch(self) -> None:
        while not self._closing.wait(TICK_SECONDS):
            try:
                self.check()
            except Exception:  # the thread continues
                log.exception("a check of the runs failed")

    def _check_claim(self, claim: Claim) -> None:
        if claim.id in self._pending_stops:  # otherwise a run whose worker has just died would be resumed
            return
        try:
            folder = open_run(self.data_dir, claim.id)
        except RunError:  # deleted
            self.queue.remove(claim.id)
            return
        status = folder.recover()
        if status.host and status.state == "starting" and not self.engine.poll(folder, status):
            status = folder.recover(has_died=True)  # its worker died before it started
        goes_on = status.state == "queued" or _has_resume_waiting(folder, status)
        if goes_on and is_held_by_a_shell(claim):  # the shell is about to train it
            return
        if status.state == "queued" and _has_waiting(folder, "stop"):  # another app stopped it before its worker died
            self.queue.remove(claim.id)
            folder.write_status(status.end("stopped", _STOPPED_LATE))
        elif goes_on:
            # We hold the lock, so a claim without a worker means: the worker died and the run should continue, the
            # process that claimed it died, or it was resumed so soon after its end that the old claim still existed.
            if status.state != "queued":
                folder.write_status(status.model_copy(update={"state": "queued"}))  # the next worker takes the command
            self.queue.release(claim.id)
        else:
            has_paused = status.state == "paused" and claim.since < status.updated < time.time() - SETTLED_SECONDS
            if status.ended or (has_paused and status.problem != "disk"):  # waiting for disk space, it keeps its slot
                self.queue.remove(claim.id)

    def _queue_lost_runs(self) -> None:
        """Queue crashed runs, and runs that are not in the queue because a supervisor or the queue was lost."""
        with self._lock():
            for folder in reversed(list_runs(self.data_dir)):
                age = time.time() - folder.status().updated
                try:
                    was_queued = folder.read_status().state == "queued"
                    status = folder.recover()
                except RunError as error:  # damaged, or on a full disk
                    log.error("%s", error)
                    continue
                # A recently queued run may be about to be submitted, or trained from a shell.
                if status.state == "queued" and (not was_queued or age > LOST_SECONDS):
                    self.queue.put(folder.id, folder.member)
                elif _has_resume_waiting(folder, status):
                    folder.write_status(status.model_copy(update={"state": "queued"}))
                    self.queue.put(folder.id, folder.member)

    def _enforce_stops(self) -> None:
        for id, pending in list(self._pending_stops.items()):
            try:
                folder = open_run(self.data_dir, id)
            except RunError:
                del self._pending_stops[id]
                continue
            status = folder.status() if folder.problem else folder.read_status()
            if status.host and status.pid and not pending.process.pid:  # it has started meanwhile
                pending = self._pending_stops[id] = pending._replace(process=status.process)
            process = pending.process
            if status.ended or status.pid is None or status.process != process:
                del self._pending_stops[id]  # it has ended, or another worker has resumed it
            elif not self.engine.poll(folder, status):  # after a stop, recovery must not resume it
                del self._pending_stops[id]
                end_orphans(process)
                folder.write_status(status.end("stopped", _STOPPED_LATE if status.pid else pending.reason))
            elif pending.overdue(status):
                try:
                    self.engine.cancel(folder, status, pending.signal)
                except RunError as error:  # try again later if a cluster does not answer, and go on with other runs
                    log.warning("%s", error)
                    continue
                if pending.signal == signal.SIGTERM:
                    self._pending_stops[id] = pending._replace(since=time.monotonic(), signal=signal.SIGKILL)
                    continue
                del self._pending_stops[id]
                reason = "It did not react to the request to stop, so its process was ended. Its last save is kept."
                folder.write_status(status.end("stopped", reason))

    def _enqueue(self, folder: RunFolder, status: Status) -> None:
        drop_commands(folder)
        folder.write_status(status.without_process(state="queued", reason="", notice="", problem="", crashes=0))
        self.queue.put(folder.id, folder.member)

    def _fill_slots(self) -> None:
        if shortage(self.data_dir):
            self._write_notices(WAITS_FOR_DISK_SPACE, self.queue.waiting())
            return
        if time.monotonic() < self._full_until:
            return
        limit = None if self._slots is None and self.engine.says_when_full else self.slots
        self._too_large = {id: until for id, until in self._too_large.items() if time.monotonic() < until}
        while id := self.queue.claim(self._owner, limit, most_running(self.data_dir), self._too_large):
            try:
                folder = open_run(self.data_dir, id)
            except RunError:  # deleted while it waited
                self.queue.remove(id)
                continue
            if (full := self._take_up(folder)) is None:
                continue
            self.queue.release(id)
            # If the engine does not answer, all runs wait.
            self._write_notices(str(full), self.queue.waiting() if self.engine.problem else [id])
            if not full.is_too_large:  # later, smaller runs must wait, or this one would never find room
                self._full_until = time.monotonic() + FULL_SECONDS
                return
            self._too_large[id] = time.monotonic() + TOO_LARGE_SECONDS

    def _take_up(self, folder: RunFolder) -> NoCapacityError | None:
        """Start or resume a claimed run; return the reason if it has to wait because the engine has no room."""
        status = folder.status()
        if status.state == "paused" and status.pid is not None:
            send_command(folder, "resume")
        elif status.state in ("queued", "paused"):
            if status.state == "paused":  # its worker exited while the resume waited for a slot
                drop_commands(folder)
            try:
                started = status.model_copy(update={"waits_for": ""})
                self.engine.submit(folder.data_dir if folder.member else self.data_dir, folder, started)
            except NoCapacityError as error:
                return error
            except RunError as error:
                with suppress(RunError):  # such as a full disk: the run stays queued, and the next start finds it
                    folder.write_status(status.end("failed", str(error), error.problem))
                self.queue.remove(folder.id)
        elif status.state not in ("starting", "running"):  # these have resumed since they were queued
            self.queue.remove(folder.id)
        return None

    def _write_notices(self, why: str, ids: list[str]) -> None:
        """Write the reason why they wait into the status of queued runs."""
        for id in ids:
            with suppress(RunError):  # deleted, or the disk is too full for a status
                folder = open_run(self.data_dir, id)
                status = folder.status()
                if status.state == "queued" and why != status.waits_for:
                    folder.write_status(status.model_copy(update={"waits_for": why}))

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with self._thread_lock, supervisor_lock(self.data_dir / "runs"):
            yield

    @contextmanager
    def _unchanged(self, folder: RunFolder, shown: Status | None) -> Iterator[Status]:
        with self._lock():
            folder.check_writable()
            check_unchanged(folder, shown)
            yield folder.status()


def _has_resume_waiting(folder: RunFolder, status: Status) -> bool:
    return status.state == "paused" and status.pid is None and _has_waiting(folder, "resume", "step")


def _has_waiting(folder: RunFolder, *names: str) -> bool:
    return any(command.name in names for command in waiting_commands(folder))
