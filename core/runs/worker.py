"""Training of one run from its folder: the training loop, commands between steps, and how the run ends."""

import logging
import math
import os
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import torch

from core.atomic_io import FULL, write_json
from core.errors import ConfigError, DiskFullError, ExplorerError, OutOfMemory, Problem, RunError
from core.live_settings import RESTART, STEPS, SettingChange, with_change
from core.runs.commands import (
    CHANGE,
    NO_TRAINING_OF_ITS_OWN,
    drop_commands,
    is_written,
    remove_command,
    setting_changes,
    waiting_commands,
    write_setting_change,
)
from core.runs.disk_space import WaitAborted
from core.runs.folder import RunFolder
from core.runs.followers import Followers
from core.runs.loaded_run import LoadedRun, StopRequest, prepare, repeat_changes
from core.runs.processes import this_process
from core.runs.queue import existing_supervisor_lock
from core.runs.recorder import Recorder, StatusWriter
from core.runs.records import (
    SCORES,
    Command,
    State,
    Status,
    after_crash,
    after_resume,
    last_log_lines,
    stopped_in_words,
)
from core.settings import value_at
from core.training.checkpoints import newest_save
from core.training.data_parallel import ProcessLost
from core.training.hardware import memory_kills

POLL_SECONDS = 0.02  # between two checks for commands while training
PAUSED_POLL_SECONDS = 0.05
_DISK_WAS_FULL = "Stopped before it started, because the disk was full. Free disk space, then resume it."
PAUSED_EXIT_SECONDS = 600.0  # a paused worker then exits to free its memory; resuming starts another one

# Parts of torch's messages on a CPU and on Apple's GPU.
_OUT_OF_MEMORY = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")

log = logging.getLogger(__name__)


def train_run(
    folder: RunFolder,
    data_dir: Path,
    *,
    device: str | None = None,  # instead of the one in the settings
    threads: int | None = None,  # at most; small models use fewer (`threads_for_run`)
    on_status: Callable[[Status], None] | None = None,  # called with every status that is written
    drop_stale: bool = False,  # drop commands except setting changes: they were meant for an earlier process
    stop_request: StopRequest | None = None,
) -> Status:
    """Train a run until its end or a stop, from its last checkpoint if it has one; return its status.

    Raises ExplorerError if the run fails for a reason that a user can understand; the status has every reason.
    """
    if folder.record().origin:  # it has weights but no checkpoint, so training would start from other weights
        raise RunError(NO_TRAINING_OF_ITS_OWN)
    with folder.training_lock(), ExitStack() as at_the_end:
        begun = _take_over(folder, drop_stale)
        stop = stop_request or StopRequest()

        def while_waiting(why: str = _DISK_WAS_FULL, problem: Problem = "disk") -> None:
            if stop.reason or any(command.name == "stop" for command in waiting_commands(folder)):
                raise WaitAborted(why, problem)

        def while_tokenizing(share: float) -> None:
            while_waiting(
                "Stopped while its text was being tokenized. Tokenization starts over when the run is resumed.", ""
            )
            waits_for = f"Tokenizing the text, only once: {share:.0%} done."
            folder.write_status(begun.model_copy(update={"waits_for": waits_for}), durable=False)

        writer = StatusWriter(folder, begun, on_status, while_waiting)
        at_the_end.callback(writer.disk_space.drop_reserve)
        try:
            writer.disk_space.write(lambda: folder.write_status(begun, durable=False))
            with Followers(folder, data_dir, folder.record().config.train.processes) as followers:
                loaded = prepare(folder, data_dir, device, threads, writer.disk_space, while_tokenizing)
                followers.join(loaded.trainer, loaded.checkpoint)
                recorder = at_the_end.enter_context(closing(Recorder(writer, loaded)))
                return _Attempt(recorder, loaded, stop).run()
        except WaitAborted as aborted:
            drop_commands(folder)
            _write_end(folder, "stopped", *aborted.args)
            return folder.status()
        except ProcessLost:  # as if this process had been killed
            lost = folder.read_status()
            folder.write_status(after_crash(lost, last_log_lines(folder.log_path), newest_save(folder.checkpoints)))
            raise
        except KeyboardInterrupt:
            _write_end(folder, "stopped", "Interrupted. When resumed, it continues from its last save.")
            raise
        except Exception as error:
            explained = explain_error(error)
            reason = str(explained) if explained else f"{type(error).__name__}: {error}"
            _write_end(folder, "failed", reason, explained.problem if explained else "")
            if explained and explained is not error:
                raise explained from error
            raise


def _take_over(folder: RunFolder, drop_stale: bool) -> Status:
    """Return the run's status as this process starts on it; the process has locked the run."""
    if drop_stale:  # safe only now, because a process that trains the run would still need its commands
        drop_commands(folder)
    before, process = folder.status(), this_process()
    return Status(
        state="starting",
        pid=process.pid,
        pid_started=process.started,
        host=os.environ.get("GPT_EXPLORER_HOST", ""),
        attempt=before.attempt + 1,
        notice="" if drop_stale else after_resume(before.notice),
        crashes=0 if drop_stale else before.crashes,
        oom_kills=memory_kills(),
        **before.model_dump(include={"step", "steps", "seconds", "waited", "slowest", *SCORES}),
    )


def _write_end(folder: RunFolder, state: State, reason: str, problem: Problem = "") -> None:
    try:
        folder.write_status(folder.status().end(state, reason, problem))
    except RunError as error:
        log.error("%s", error)


def explain_error(error: Exception) -> ExplorerError | None:
    """Return an error whose message says what the user can do about it; None if there is no such advice."""
    if isinstance(error, ExplorerError):
        return error
    # Torch has its own exception type only for GPU memory.
    words = str(error).lower() if isinstance(error, RuntimeError) else ""
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or any(said in words for said in _OUT_OF_MEMORY):
        return OutOfMemory(
            "There was not enough memory. Choose a smaller batch, a shorter context or a smaller model, or close "
            "other programs. The last save is kept."
        )
    if isinstance(error, OSError) and error.errno in FULL:
        return DiskFullError(
            "The disk is full. Free disk space, for instance by deleting old runs, then resume this one."
        )
    if isinstance(error, OSError):
        return RunError(
            "The operating system refused an operation that training needs "
            f"({error.strerror or type(error).__name__}). Check the disk and the permissions of the run's folder, "
            "then resume this run."
        )
    return None


class _Attempt:
    def __init__(self, recorder: Recorder, loaded: LoadedRun, stop_request: StopRequest):
        self.recorder, self.folder, self.trainer = recorder, recorder.folder, loaded.trainer
        self.writer = recorder.writer
        self._stop_request, self.writer.while_waiting = stop_request, self._while_full
        self._baselines, self._changes_ahead = loaded.baselines, loaded.changes_ahead
        self._steps_until_pause = math.inf
        self._pauses: dict[str, Command] = {}  # already obeyed but not removed yet, by id
        self._stop_requested = False
        self._stop_reason = self._stopped_by = ""
        self._poll_due = 0.0

    def run(self) -> Status:
        try:
            return self._run()
        except WaitAborted:
            return self.writer.abort(
                f"Stopped at step {self.trainer.step:,} because the disk was full, so only its last save is kept. "
                "Free disk space, then resume it."
            )

    def _run(self) -> Status:
        trainer, recorder = self.trainer, self.recorder
        recorder.event("start", attempt=self.writer.status.attempt)
        recorder.write_first_rows()
        counted = self.folder.read_baselines() is not None
        while True:
            due, self._changes_ahead = self._changes_ahead, repeat_changes(self._changes_ahead, trainer)
            if len(self._changes_ahead) < len(due):
                recorder.settings_changed()
            self._obey(at_once=self._at_the_end)
            if self._stop_requested or self._at_the_end:
                break
            if self._steps_until_pause <= 0:
                if not self._wait_paused():
                    return self.writer.status
                continue
            watched = self._steps_until_pause < math.inf
            self._steps_until_pause -= 1  # before any write, because a write that waits for disk space obeys commands
            if not watched and self.writer.status.state == "paused":  # resumed, perhaps during a single step
                recorder.set_state("running")
            recorder.step(trainer.train_step(watched, recorder.measures_health(trainer.step + 1)), watched=watched)
            if not counted:  # after the first step, because counting n-grams takes a moment for a large text
                baselines = self._baselines()
                self.writer.disk_space.write(partial(write_json, self.folder.baselines_path, baselines))
                counted = True
        if self._at_the_end:
            recorder.write_last_rows()
        recorder.save()
        if self._at_the_end:
            recorder.event("finish")
            recorder.set_state("finished")
        else:
            recorder.set_state("stopped", self._stop_reason or stopped_in_words(self._stopped_by, trainer.step))
        return self.writer.status

    @property
    def _at_the_end(self) -> bool:
        return self.trainer.step >= self.trainer.config.train.steps

    def _change_setting(self, command: Command) -> None:
        if is_written(self.folder, command.id):
            return
        setting, value = command.args.get("knob", ""), command.args.get("value")
        config, step = self.trainer.config, self.trainer.step
        try:
            value = value_at(with_change(config, setting, value), setting)
            if setting == STEPS:
                value = max(value, step)  # the run has trained since the request
            if setting == RESTART:
                value = step  # the requested step may not fit if a worker died and the run resumed from an earlier step
            self.trainer.change_setting(setting, value)
        except ConfigError as error:
            log.warning("%s", error)
            return
        change = SettingChange(step, setting, value_at(config, setting), value)
        self.writer.disk_space.write(lambda: write_setting_change(self.folder, change, command.id))
        self._changes_ahead = [change for change in setting_changes(self.folder) if change.step > step]
        self.recorder.settings_changed()

    def _obey(self, *, at_once: bool = False, changes: bool = True) -> None:
        """Obey the pending commands, if a check is due; without `changes`, setting changes stay pending."""
        if time.monotonic() < self._poll_due and not at_once:
            return
        if self._stop_request.reason and not self._stop_requested:
            self._stop_requested, self._stop_reason = True, self._stop_request.reason
            self.recorder.event("stop")
        for command in waiting_commands(self.folder):
            if command.id in self._pauses or (command.name == CHANGE and not changes):
                continue
            self._obey_command(command)
            if command.name in ("pause", "resume", "step", "stop"):
                self.recorder.event(command.name)
            if command.name in ("resume", "stop"):
                self._remove_pauses()
            if command.id not in self._pauses:
                remove_command(self.folder, command)
        self.writer.commands_checked()
        self._poll_due = time.monotonic() + POLL_SECONDS

    def _obey_command(self, command: Command) -> None:
        if command.name == "pause":
            self._steps_until_pause = 0
            self._pauses[command.id] = command
        elif command.name == "resume":
            self._steps_until_pause = math.inf
        elif command.name == "step":
            self._steps_until_pause = 1 + (0 if self._steps_until_pause == math.inf else self._steps_until_pause)
        elif command.name == "stop":
            self._stop_requested, self._stopped_by = True, str(command.args.get("by", ""))
        elif command.name == CHANGE:
            self._change_setting(command)
        else:
            log.warning("unknown command %r", command.name)

    def _remove_pauses(self) -> None:
        """Remove pause commands once the status is written; after a crash before that, the next worker needs them."""
        while self._pauses:
            remove_command(self.folder, self._pauses.popitem()[1])

    def _while_full(self) -> None:
        self._obey(at_once=True, changes=False)
        if self._stop_requested:
            raise WaitAborted

    def _wait_paused(self) -> bool:
        """Save, pause and wait; returns False if no command came for so long that the process should exit."""
        self.recorder.save()
        self.recorder.set_state("paused")
        until = time.monotonic() + PAUSED_EXIT_SECONDS
        while True:
            self._remove_pauses()
            self._obey()
            if self._stop_requested or self._steps_until_pause > 0:
                return True
            if time.monotonic() >= until and self._leave():
                return False
            time.sleep(PAUSED_POLL_SECONDS)

    def _leave(self) -> bool:
        """Leave the run paused without a process, unless a command has just come; return whether that is done."""
        # Supervisors read the status before they send a command. While the lock keeps them out, either the command is
        # already there, or the next supervisor sees that there is no process to send it to.
        with existing_supervisor_lock(self.folder.path.parent):
            commands = self._stop_request.reason or waiting_commands(self.folder)
            return not commands and self.writer.leave_paused()
