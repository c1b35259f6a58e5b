"""The training of one run from its folder: step by step, obeying commands, to a good end. No screen."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

from core.errors import ConfigError, RunError
from core.live_settings import RESTART, with_change
from core.runs.continuation import NO_TRAINING_OF_ITS_OWN, STEPS
from core.runs.crash_recovery import taken_up
from core.runs.disk_space import WaitAborted
from core.runs.failures import explain, write_end
from core.runs.folder import RunFolder
from core.runs.memory_kills import memory_kills
from core.runs.processes import this_process
from core.runs.recorder import Recorder
from core.runs.records import Command, Status, Turn
from core.runs.session import Session, prepare, take_again
from core.runs.setting_changes import TURN
from core.runs.startup import Beginning
from core.runs.supervisor_lock import beside_supervisors
from core.settings import value_at

POLL_SECONDS = 0.02  # between two looks for commands while training
PAUSED_POLL_SECONDS = 0.05
PAUSED_EXIT_SECONDS = 600.0  # a paused worker gives its memory back after this; resuming then starts another

log = logging.getLogger(__name__)


class StopRequest:
    """Lets a signal handler ask a run in this very process to save and stop; unlike a command, it needs no disk."""

    reason = ""


def train_run(
    folder: RunFolder,
    data_dir: Path,
    *,
    device: str | None = None,
    threads: int | None = None,
    on_status: Callable[[Status], None] | None = None,
    afresh: bool = False,
    stop_request: StopRequest | None = None,
) -> Status:
    """Train a run to its end, or until it is told to stop; goes on from its last checkpoint if it has one.

    Args:
        home: where texts of the user's own lie.
        device: instead of the one in the settings.
        threads: the most to use; every core if left out. Small models take fewer (`core.runs.capacity`).
        on_status: called with every status that is written, about five times a second.
        afresh: pass over what was asked before, but for knobs turned: it was meant for a process that is gone.
        stop_request: saves and stops the run once it has a reason.

    Returns:
        The status left behind: finished, stopped, or paused for so long that the process is not worth keeping.

    Raises:
        ExplorerError: the run failed for a reason that a sentence explains; the status says so too.
        Exception: it failed for another reason; the status has its type and message.
    """
    if folder.record().origin:  # its weights are all there is of it, and training would begin with others
        raise RunError(NO_TRAINING_OF_ITS_OWN)
    with folder.hold():
        if afresh:  # only now that no other process trains it: one that does still needs its commands
            folder.take_commands(but=(TURN,))
        before = folder.status()
        process = this_process()
        begun = Status(
            state="starting",
            step=before.step,
            steps=before.steps,
            pid=process.pid,
            pid_started=process.started,
            attempt=before.attempt + 1,
            seconds=before.seconds,
            train_loss=before.train_loss,
            val_loss=before.val_loss,
            slowest=before.slowest,
            notice="" if afresh else taken_up(before.notice),
            deaths=0 if afresh else before.deaths,
            oom_kills=memory_kills(),
        )
        stop = stop_request or StopRequest()
        beginning = Beginning(folder, begun, on_status, lambda: stop.reason or _is_told_to_stop(folder))
        try:
            beginning.begin()
            session = prepare(folder, data_dir, device, threads, beginning.disk_space)
            return _Attempt(folder, session, begun, on_status, stop).run()
        except WaitAborted:
            folder.take_commands(but=(TURN,))
            reason = "Stopped before it began, while the disk was full. Make room, then resume it."
            write_end(folder, "stopped", reason, "disk")
            return folder.status()
        except KeyboardInterrupt:
            write_end(folder, "stopped", "Interrupted. Resumed, it goes on from its last save.")
            raise
        except Exception as error:
            explained = explain(error)
            reason = str(explained) if explained else f"{type(error).__name__}: {error}"
            write_end(folder, "failed", reason, explained.problem if explained else "")
            if explained and explained is not error:
                raise explained from error
            raise
        finally:
            beginning.disk_space.drop_reserve()


def _is_told_to_stop(folder: RunFolder) -> bool:
    return any(command.name == "stop" for command in folder.waiting_commands())


class _Attempt:
    """One attempt at a run: step by step, with a look for commands in between."""

    def __init__(
        self,
        folder: RunFolder,
        session: Session,
        status: Status,
        on_status: Callable[[Status], None] | None,
        stop_request: StopRequest,
    ):
        new = [notice for notice in session.notices if notice not in status.notice]
        status = status.model_copy(update={"notice": " ".join([status.notice, *new]).strip()})
        self.folder, self.trainer, self._stop_request = folder, session.trainer, stop_request
        self.recorder = Recorder(
            folder, session.trainer, session.tokenizer, session.probe_text, status, on_status, self._while_full
        )
        self._count, self._ahead = session.baselines, session.ahead
        self._allowed = math.inf  # steps to take before pausing
        self._pauses: dict[str, Command] = {}  # taken, and not done yet, by id
        self._stop_asked = False
        self._stop_reason = ""
        self._poll_due = 0.0

    def run(self) -> Status:
        try:
            return self._run()
        except WaitAborted:
            self.recorder.give_up(
                f"Stopped at step {self.trainer.step:,} while the disk was full, so that only its last save is kept. "
                "Make room, then resume it."
            )
            return self.recorder.status

    def _run(self) -> Status:
        trainer, recorder = self.trainer, self.recorder
        recorder.event("start", attempt=recorder.status.attempt)
        recorder.opening()
        if self.folder.read_baselines() is None:
            baselines = self._count()
            recorder.disk_space.write(lambda: self.folder.write_baselines(baselines))
        while True:
            if self._replay():
                recorder.turned()
            self._obey(at_once=self._at_the_end)
            if self._stop_asked or self._at_the_end:
                break
            if self._allowed <= 0:
                if not self._wait_paused():
                    return recorder.status
                continue
            watched = self._allowed < math.inf
            recorder.step(trainer.train_step(detailed=watched), watched=watched)
            self._allowed -= 1
        if self._at_the_end:
            recorder.closing()
        recorder.save()
        if self._at_the_end:
            recorder.event("finish")
            recorder.set_state("finished")
        else:
            recorder.set_state("stopped", self._stop_reason or f"Stopped by hand at step {trainer.step:,}.")
        return recorder.status

    @property
    def _at_the_end(self) -> bool:
        return self.trainer.step >= self.trainer.config.train.steps

    def _replay(self) -> bool:
        """Take the turns again that are due at this step. True if there are."""
        before, self._ahead = self._ahead, take_again(self._ahead, self.trainer)
        return len(self._ahead) < len(before)

    def _turn(self, command: Command) -> None:
        """Turn a knob, and write it down with the step it was turned at."""
        if self.folder.was_taken(command.id):
            return
        knob, value = command.args.get("knob", ""), command.args.get("value")
        config, step = self.trainer.config, self.trainer.step
        try:
            value = value_at(with_change(config, knob, value), knob)
            if knob == STEPS:
                value = max(value, step)  # it was asked a few steps ago
            if knob == RESTART:
                value = step  # a worker that died before it could save goes on from an earlier step
            self.trainer.change_setting(knob, value)
        except ConfigError as error:
            log.warning("%s", error)
            return
        before, taken = value_at(config, knob), Turn(step, knob, value)
        self.recorder.disk_space.write(lambda: self.folder.write_turn(taken, before, command.id))
        self._ahead = [turn for turn in self.folder.turns() if turn.step > step]
        self.recorder.turned()

    def _obey(self, *, at_once: bool = False, turns: bool = True) -> None:
        """Take the commands that have come, if it is time to look.

        Args:
            turns: knobs may be turned now; otherwise that waits.
        """
        if time.monotonic() < self._poll_due and not at_once:
            return
        if self._stop_request.reason and not self._stop_asked:
            self._stop_asked, self._stop_reason = True, self._stop_request.reason
            self.recorder.event("stop")
        for command in self.folder.waiting_commands():
            if command.id in self._pauses or (command.name == TURN and not turns):
                continue
            if command.name == "pause":
                self._allowed = 0
                self._pauses[command.id] = command
            elif command.name == "resume":
                self._allowed = math.inf
            elif command.name == "step":
                self._allowed = (0 if self._allowed == math.inf else self._allowed) + 1
            elif command.name == "stop":
                self._stop_asked, self._stop_reason = True, str(command.args.get("reason", ""))
            elif command.name == TURN:
                self._turn(command)
            else:
                log.warning("unknown command %r", command.name)
            if command.name in ("pause", "resume", "step", "stop"):
                self.recorder.event(command.name)
            if command.name in ("resume", "stop"):
                self._forget_pauses()
            if command.id not in self._pauses:
                self.folder.done(command)
        self.recorder.looked()
        self._poll_due = time.monotonic() + POLL_SECONDS

    def _forget_pauses(self) -> None:
        """Only once the status says so is a pause done; until then another worker, should this one die, needs it."""
        while self._pauses:
            self.folder.done(self._pauses.popitem()[1])

    def _while_full(self) -> None:
        """In the middle of a write that has to wait; a stop ends it."""
        self._obey(at_once=True, turns=False)
        if self._stop_asked:
            raise WaitAborted

    def _wait_paused(self) -> bool:
        """Save, say that the run is paused, and wait; False if it has left, as nobody asked for anything for long."""
        self.recorder.save()
        self.recorder.set_state("paused")
        until = time.monotonic() + PAUSED_EXIT_SECONDS
        while True:
            self._forget_pauses()
            self._obey()
            if self._stop_asked or self._allowed > 0:
                if self._allowed == math.inf and not self._stop_asked:
                    self.recorder.set_state("running")
                return True
            if time.monotonic() >= until and self._leave():
                return False
            time.sleep(PAUSED_POLL_SECONDS)

    def _leave(self) -> bool:
        """Leave a paused run, unless something was asked of it at the last moment.

        Supervisors send commands by what the status says. While none of them is at it, either the command is there
        already, or the next one to look will see that there is no process to send it to.
        """
        with beside_supervisors(self.folder.path.parent):
            asked = self._stop_request.reason or self.folder.waiting_commands()
            return not asked and self.recorder.leave_paused()
