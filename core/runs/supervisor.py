"""Starts workers, watches them and tells them what users want."""

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from core.atomic_io import sweep
from core.errors import DiskFullError, Problem, RunError
from core.runs.capacity import slots as slots_of_this_machine
from core.runs.continuation import Schedule, check_unchanged, extend, has_steps_left, turn
from core.runs.disk_space import shortage
from core.runs.folder import RunFolder, list_runs, open_run
from core.runs.processes import ProcessId, end_orphans, is_alive, kill, send_signal, this_process
from core.runs.queue import Claim, Queue, is_held_by_a_shell
from core.runs.records import State, Status
from core.runs.setting_changes import TURN
from core.runs.supervisor_lock import one_at_a_time
from core.runs.worker_pool import WorkerPool

TICK_SECONDS = 0.25
STOP_SECONDS = 10.0  # at least, for a worker to save and stop by itself
TERMINATE_SECONDS = 5.0  # more, at least, after being asked by the system's own signal
PATIENCE = 3  # times the longest that a worker was ever busy between two looks for commands, where that is more
SETTLED_SECONDS = 1.0  # a pause that has lasted this long is one: a worker takes up a resume in less
SWEEP_SECONDS = 3600.0  # an unfinished file this old is a crash's leftover
WAITS_FOR_DISK_SPACE = "It waits because the disk is nearly full, and begins by itself when there is room."
LOST_SECONDS = 60.0  # after which a run that says it waits is taken at its word

log = logging.getLogger(__name__)


class Told(NamedTuple):
    """A worker that was told to stop and has not yet."""

    process: ProcessId
    since: float  # monotonic seconds
    signal: signal.Signals  # what it gets if it takes too long

    def overdue(self, status: Status) -> bool:
        """A worker looks for commands between two steps; one step of a large model may take minutes."""
        least = STOP_SECONDS if self.signal == signal.SIGTERM else TERMINATE_SECONDS
        return time.monotonic() >= self.since + max(least, PATIENCE * status.slowest)


class Supervisor:
    """The verbs of the pages, and a thread that sees to it that waiting runs train and dead ones are noticed.

    `seen` is the status that a verb's button was drawn for: where the run has changed since, the verb raises RunError
    and does nothing (`core.runs.continuation.check_unchanged`).

    What counts lies on disk: the queue says who waits and who holds a slot, a run's status names its process. So a
    new supervisor goes on where a killed one was, workers outlive it, and two of them on one home take turns. Only who
    was told to stop, and when, is kept in memory: after a restart a worker that does not react has to be told again.

    Args:
        home: the folder of everything; its runs folder must be writable.
        slots: runs to train at once; as many as the machine bears if left out. Paused runs take none.
    """

    def __init__(self, data_dir: Path, slots: int | None = None):
        self.data_dir = data_dir
        self.slots = slots if slots is not None else slots_of_this_machine()
        (data_dir / "runs").mkdir(parents=True, exist_ok=True)
        self.queue = Queue(data_dir)
        self._worker_pool = WorkerPool(data_dir)
        self._me = this_process()
        self._threads_turn = threading.Lock()
        self._told: dict[str, Told] = {}  # by run id
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch, and get the standby ready."""
        if self._thread is None:
            for folder in (self.data_dir / "runs", self.data_dir / "texts"):
                sweep(folder, SWEEP_SECONDS)
            self._worker_pool.keep_prewarmed()
            self._find_lost()
            self._thread = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop watching. Workers go on training; only the standby, which has nothing to do, ends."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._worker_pool.close()

    def submit(self, folder: RunFolder) -> None:
        """Let a new run wait for its turn, which may be at once. Again for the same run, nothing happens."""
        with self._turn():
            if folder.status().state == "queued":
                self.queue.put(folder.id)
                self._fill_slots()

    def pause(self, folder: RunFolder, *, seen: Status | None = None) -> None:
        """Pause after the step under way; a run that still waits leaves the queue."""
        with self._turn():
            check_unchanged(folder, seen)
            status = folder.status()
            if status.ended:
                raise RunError(f"The run {folder.name!r} has ended, so it cannot be paused.")
            if status.state == "queued" or (status.state == "paused" and status.problem != "disk"):
                self.queue.remove(folder.id)  # or it would go on when a slot is free
            if status.state == "queued":
                folder.take_commands(but=(TURN,))
                folder.write_status(status.model_copy(update={"state": "paused"}))
            elif status.pid is not None:
                folder.send("pause")

    def resume(self, folder: RunFolder, *, seen: Status | None = None) -> None:
        """Go on with a paused, stopped or failed run as soon as a slot is free."""
        with self._turn():
            check_unchanged(folder, seen)
            status = folder.status()
            if status.state == "finished" and not has_steps_left(folder):
                raise RunError(f"The run {folder.name!r} has finished all its steps, so there is nothing to resume.")
            if status.state == "paused" and status.problem == "disk" and status.pid is not None:
                folder.send("resume")  # it has its slot still
            elif status.state == "paused" and status.pid is not None:
                self.queue.remove(folder.id)  # it may hold the slot of before the pause, if nobody has looked since
                self.queue.put(folder.id)
            elif status.state == "paused" or status.ended:
                self._enqueue(folder, status)
            self._fill_slots()

    def turn(self, folder: RunFolder, knob: str, value: Any) -> None:
        """Turn a knob between two steps; kept for a run that does not train now until it goes on.

        Raises ConfigError, in a sentence, where there is no such knob, or no such value for it.
        """
        with self._turn():
            turn(folder, knob, value)

    def continue_for(
        self, folder: RunFolder, more_steps: int, schedule: Schedule = "stay", *, seen: Status | None = None
    ) -> None:
        """Let a run that has ended train for so many steps more, as soon as a slot is free; see `extend`."""
        with self._turn():
            check_unchanged(folder, seen)
            extend(folder, more_steps, schedule)
            self._enqueue(folder, folder.status())
            self._fill_slots()

    def step(self, folder: RunFolder, *, seen: Status | None = None) -> None:
        """Take one step and pause."""
        with self._turn():
            check_unchanged(folder, seen)
            status = folder.status()
            if status.state == "queued" or status.ended:
                raise RunError(
                    f"The run {folder.name!r} is {status.state}. Single steps need a run that trains or is paused."
                )
            if status.pid is None:
                self._enqueue(folder, status)
            folder.send("step")
            self._fill_slots()

    def stop(self, folder: RunFolder, *, seen: Status | None = None) -> None:
        """Save and end; a run that waits just leaves the queue. One that has ended stays as it is."""
        with self._turn():
            check_unchanged(folder, seen)
            status = folder.status()
            if status.ended:
                return
            if status.pid is None:
                self.queue.remove(folder.id)
                ended = {"state": "stopped", "reason": "Stopped before a worker had taken it up."}
                if status.step:
                    ended["reason"] = f"Stopped by hand at step {status.step:,}."
                folder.write_status(status.model_copy(update=ended))
            else:
                process = ProcessId(status.pid, status.pid_started or 0.0)
                try:
                    folder.send("stop")
                except DiskFullError:
                    send_signal(process, signal.SIGTERM)
                if folder.id not in self._told or self._told[folder.id].process != process:
                    self._told[folder.id] = Told(process, time.monotonic(), signal.SIGTERM)

    def delete(self, folder: RunFolder, *, seen: Status | None = None) -> None:
        """End its worker, if there is one, and remove the run for good."""
        with self._turn():
            check_unchanged(folder, seen)
            self.queue.remove(folder.id)
            status = folder.status()
            if not status.ended and status.pid is not None:
                kill(ProcessId(status.pid, status.pid_started or 0.0))
            folder.delete()
            self._told.pop(folder.id, None)

    def waiting(self) -> list[str]:
        """The ids of the runs that wait, the next one first."""
        return self.queue.waiting()

    @property
    def busy(self) -> bool:
        """Whether anything trains here, or is about to; also from somebody's shell."""
        return bool(self.queue.active() or self.queue.waiting())

    def check(self) -> None:
        """One look at everything: who has died, who has ended, who may begin."""
        with self._turn():
            self._press()
            for claim in self.queue.active():
                self._look_at(claim)
            self._fill_slots()
        self._worker_pool.keep_prewarmed()

    def _watch(self) -> None:
        while not self._closing.wait(TICK_SECONDS):
            try:
                self.check()
            except Exception:  # the watch goes on whatever one look ran into
                log.exception("a look at the runs failed")

    def _look_at(self, claim: Claim) -> None:
        """Free the slot of a run that no longer needs it."""
        try:
            folder = open_run(self.data_dir, claim.id)
        except RunError:  # deleted
            self.queue.remove(claim.id)
            return
        status = folder.resolve_numerics()
        if status.state == "queued":
            if is_held_by_a_shell(claim):  # which is about to train it
                return
            # Claimed, and no worker has it, in our turn: its worker has died and it is to go on, whoever claimed it has
            # died, or it was resumed so soon after its end that its old claim still stood.
            self.queue.release(claim.id)
            return
        if _is_to_go_on(folder, status) and not is_held_by_a_shell(claim):
            folder.write_status(status.model_copy(update={"state": "queued"}))  # the next worker takes the command up
            self.queue.release(claim.id)
            return
        has_paused = status.state == "paused" and claim.since < status.updated < time.time() - SETTLED_SECONDS
        has_paused &= status.problem != "disk"  # else it goes on by itself
        if status.ended or has_paused:
            self.queue.remove(claim.id)

    def _find_lost(self) -> None:
        """Queue what was left behind: runs whose workers have died, and those that say that they wait but do not.

        The latter's supervisor ended too soon, or the queue was deleted.
        """
        with self._turn():
            for folder in reversed(list_runs(self.data_dir)):
                age = time.time() - folder.status().updated
                try:
                    waited = folder.read_status().state == "queued"
                    status = folder.resolve_numerics()
                except RunError as error:  # damaged, or on a full disk
                    log.error("%s", error)
                    continue
                # A young one may be about to be submitted, or to be trained from a shell.
                if status.state == "queued" and (not waited or age > LOST_SECONDS):
                    self.queue.put(folder.id)
                elif _is_to_go_on(folder, status):
                    folder.write_status(status.model_copy(update={"state": "queued"}))
                    self.queue.put(folder.id)

    def _press(self) -> None:
        """Make workers stop that were told to and have not: first the polite signal, then the one nobody survives."""
        for id, told in list(self._told.items()):
            try:
                folder = open_run(self.data_dir, id)
            except RunError:
                del self._told[id]
                continue
            alive, process = is_alive(told.process), told.process
            try:
                status = folder.read_status()
            except RunError:
                status = folder.status()
            if status.ended or (status.pid, status.pid_started) != (process.pid, process.started):
                del self._told[id]  # it has ended, or was resumed since: another worker's
                continue
            if not alive:  # told to stop, it shall not go on by itself
                del self._told[id]
                end_orphans(process)
                self._end(folder, status, "Its process ended before it had saved and stopped. Its last save is kept.")
                continue
            if not told.overdue(status):
                continue
            if told.signal == signal.SIGTERM:
                send_signal(process, signal.SIGTERM)
                self._told[id] = Told(process, time.monotonic(), signal.SIGKILL)
                continue
            del self._told[id]
            kill(process)
            reason = "It was told to stop and did not react, so its process was ended. Its last save is kept."
            self._end(folder, status, reason)

    def _enqueue(self, folder: RunFolder, status: Status) -> None:
        """Let a run without a process wait for one; what was asked of the last process no longer counts.

        Knobs that were turned still do: they are of the run, not of its process.
        """
        folder.take_commands(but=(TURN,))
        changes = {"state": "queued", "reason": "", "pid": None, "pid_started": None}
        afresh = {"notice": "", "problem": "", "deaths": 0}
        folder.write_status(status.model_copy(update=changes | afresh))
        self.queue.put(folder.id)

    def _fill_slots(self) -> None:
        if shortage(self.data_dir):
            self._say_that_they_wait()
            return
        while id := self.queue.claim(f"{self._me.pid}:{self._me.started}", self.slots):
            try:
                folder = open_run(self.data_dir, id)
            except RunError:  # deleted while it waited
                self.queue.remove(id)
                continue
            status = folder.status()
            if status.state == "paused" and status.pid is not None:
                folder.send("resume")
            elif status.state in ("queued", "paused"):
                if status.state == "paused":  # its worker has left while the resume waited for a slot
                    folder.take_commands(but=(TURN,))
                notice = status.notice.replace(WAITS_FOR_DISK_SPACE, "").strip()
                try:
                    self._worker_pool.assign(folder, status.model_copy(update={"notice": notice}))
                except RunError as error:
                    self._fail(folder, status, error)
            elif status.state not in ("starting", "running"):  # those have gone on since they were queued
                self.queue.remove(id)

    def _say_that_they_wait(self) -> None:
        for id in self.queue.waiting():
            with suppress(RunError):  # deleted, or there is not even room for that
                folder = open_run(self.data_dir, id)
                status = folder.status()
                if status.state == "queued" and WAITS_FOR_DISK_SPACE not in status.notice:
                    notice = f"{status.notice} {WAITS_FOR_DISK_SPACE}".strip()
                    folder.write_status(status.model_copy(update={"notice": notice}))

    def _fail(self, folder: RunFolder, status: Status, why: RunError) -> None:
        """Let a run that no worker took give its slot back."""
        try:
            self._end(folder, status, str(why), "failed", why.problem)
        except RunError as error:  # a full disk, say: it still says that it waits, and is found at the next start
            log.error("%s", error)
        self.queue.remove(folder.id)

    def _end(
        self, folder: RunFolder, status: Status, reason: str, state: State = "stopped", problem: Problem = ""
    ) -> None:
        """Write the end of a run that has no worker to write it."""
        gone = {"pid": None, "pid_started": None, "seconds_left": None, "notice": ""}
        ended = {"state": state, "reason": reason, "problem": problem}
        folder.write_status(status.model_copy(update=gone | ended))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One at a time, among the threads of this process and among processes."""
        with self._threads_turn, one_at_a_time(self.data_dir / "runs"):
            yield


def _is_to_go_on(folder: RunFolder, status: Status) -> bool:
    """Whether a paused run has lost its process with a word in its ear that it was to go on."""
    if status.state != "paused" or status.pid is not None:
        return False
    return any(command.name in ("resume", "step") for command in folder.waiting_commands())
