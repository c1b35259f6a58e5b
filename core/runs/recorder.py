"""The output of a run while it trains: metrics, samples, probes, weights and its status."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from core.errors import DiskFullError, NotFiniteError
from core.import_export.trackers import TrackedFile, TrackedRun, Trackers, Values, chosen_trackers, read_values
from core.interpretability.attention import attention_patterns, to_bytes
from core.interpretability.embeddings import token_embeddings
from core.runs.disk_space import DiskSpace
from core.runs.folder import RunFolder
from core.runs.loaded_run import LoadedRun
from core.runs.records import MAX_EMBEDDINGS, PROBLEM_PARTS, SCORES, State, Status, StepDetail, without_crash
from core.runs.weights import Snapshots
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.tokenizers import opening_ids
from core.training.checkpoints import save_checkpoint, save_weights, snapshot_steps
from core.training.evaluation import bits_per_byte, write_answers
from core.training.hardware import memory_kills
from core.training.health import MAX_ROWS
from core.training.pace import Stopwatch, TimeLeft
from core.training.trainer import EvaluationEvent, StepEvent

STATUS_SECONDS = 0.2  # between two status files
PROBE_SECONDS = 0.4  # between two probes, or more if they take long
PROBE_SHARE = 0.05  # maximum share of the time for probes
_PROBLEMS = 8  # of a task, answered in each sample
STEP_DETAIL_WINDOWS, STEP_DETAIL_TOKENS = 8, 256  # at most, from a batch in a step detail

log = logging.getLogger(__name__)


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
            notice = f"Paused: {why}; it resumes automatically when there is space."
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


class Recorder:
    """Writer of a run's results, ready for its first step; never influences training."""

    def __init__(self, writer: StatusWriter, loaded: LoadedRun):
        self.writer, self.folder, status = writer, writer.folder, writer.status
        self.trainer, self.tokenizer, self.probe_text = loaded.trainer, loaded.tokenizer, loaded.probe_text
        self._bytes_per_token, self._saves_early = loaded.bytes_per_token, status.crashes > 0
        self._snapshots = Snapshots(self.folder, self.trainer.model, self.trainer.config.train)
        self._plan_health()
        last_row = self.folder.last_metrics() or {}  # rows of repeated steps are cut, so their time counts once
        writer.clock = Stopwatch(float(last_row.get("seconds") or 0.0))
        self._step_began, self._time_left = writer.clock.seconds, TimeLeft(status.waited)
        self._closed = last_row.get("step") == self.trainer.step and last_row.get("val_loss") is not None
        self._first_step = self.trainer.step
        self._steps_since_row: list[StepEvent] = []
        self._status_due = self._probe_due = 0.0
        scores = self.folder.last_scores()  # without evaluations at steps that training repeats
        self._trackers = self._start_trackers()
        notices = [*loaded.notices, *self._trackers.notices]
        new = [notice for notice in notices if notice not in status.notice]
        writer.change({"notice": " ".join([status.notice, *new]).strip()} | scores)

    def _start_trackers(self) -> Trackers:
        record, trainer = self.folder.record(), self.trainer
        tracked = TrackedRun(self.folder.path, record.id, record.name, trainer.config, trainer.step or -1)
        return Trackers(tracked, self.folder.rows, chosen_trackers())

    def write_first_rows(self) -> None:
        """Write the first rows, which for an untrained model are the first point of the curve."""
        self.set_state("running")
        if self.trainer.step == 0:
            self._write_all(self.trainer.evaluate())
        else:
            self.probe()

    def step(self, event: StepEvent, *, watched: bool = False) -> None:
        """Write one step and everything due after it; for a single step (`watched`), also its detail."""
        config, step = self.trainer.config.train, event.step
        last = self._closed = step >= config.steps
        self._steps_since_row.append(event)
        evaluation = self.trainer.evaluate() if last or step % config.eval_interval == 0 else None
        if last:
            self.trainer.check_finite(evaluation)
        if evaluation or watched or step % config.log_interval == 0:
            self._row(event, evaluation)
        if last or watched or time.monotonic() >= self._probe_due:
            self.probe()
        sampled = self.sample() if last or step % config.sample_interval == 0 else 0.0
        self._snapshot()
        if self.measures_health(step):
            self._health()
        if watched:
            self._step_detail(event)
        # After a crash, the run also saves after 1, 2, 4, 8, ... steps. So it finishes even if its processes are always
        # killed early, while a run that always crashes at the same step fails after some attempts.
        taken = step - self._first_step
        is_early_save = self._saves_early and taken & (taken - 1) == 0
        if not last and (step % config.checkpoint_interval == 0 or is_early_save):
            self.save()
        if not watched:
            self._step_done(event, evaluation, sampled)
        self._step_began = self.writer.clock.seconds
        if time.monotonic() >= self._status_due:
            self._write_status(durable=False)

    def _step_done(self, event: StepEvent, evaluation: EvaluationEvent | None, sampled: float) -> None:
        """Record how long a step took, including everything written after it, but not evaluation and sampling."""
        apart = (evaluation.seconds if evaluation else 0.0) + sampled
        seconds = self.writer.clock.seconds - self._step_began - apart
        self._time_left.step(max(0.0, seconds), event.seconds, event.waiting)

    def write_last_rows(self) -> None:
        """Write the results of the last step if it became the last one only after it was trained."""
        if not self._closed:
            evaluation = self.trainer.evaluate()
            self.trainer.check_finite(evaluation)
            self._write_all(evaluation)

    def _write_all(self, evaluation: EvaluationEvent) -> None:
        self._row(None, evaluation)
        self.probe()
        self.sample()
        self._snapshot()
        self._health()

    def settings_changed(self) -> None:
        """Update plans and estimates after a setting change."""
        self._snapshots.plan(self.trainer.config.train.steps)
        self._plan_health()
        self._time_left.changed()
        self._write_status(durable=False)

    def set_state(self, state: State, reason: str = "") -> None:
        """Write a change of state durably: it is on disk when this returns."""
        writer = self.writer
        if state == "running":
            writer.clock.go()
        else:
            writer.clock.halt()
        if state in ("running", "paused"):
            writer.change({"state": state, "reason": reason})
        else:
            writer.status = writer.status.end(state, reason, writer.status.problem, writer.status.notice)
        self._write_status(durable=True)
        if writer.status.ended:
            writer.disk_space.drop_reserve()

    def close(self) -> None:
        """Close the trackers."""
        if self.writer.status.state == "finished" and (probe := self.folder.read_probe()):
            tokens = self.tokenizer.tokens[: len(probe.embedding)]
            self._trackers.log(Values(probe.step, embedding=(probe.embedding, tokens)))
        self._trackers.close(self.folder.status().state)

    def event(self, kind: str, **more: Any) -> None:
        self.writer.event({"step": self.trainer.step, "kind": kind, "time": time.time(), **more})

    def save(self) -> None:
        """Save a checkpoint to resume from, and the weights to inspect."""
        self.trainer.check_finite()
        trainer, folder = self.trainer, self.folder
        state = sum(tensor.nbytes for tensor in trainer.state_dict().values())
        self.writer.disk_space.write(lambda: save_checkpoint(folder.checkpoints, trainer), state)
        weights = self._snapshots.size
        self.writer.disk_space.write(lambda: save_weights(folder.weights_path, trainer.model, trainer.step), weights)
        if self.writer.status.crashes and self.trainer.step > self._first_step:  # past the step that crashed
            notice = without_crash(self.writer.status.notice)
            self.writer.change({"crashes": 0, "notice": notice})
            self._write_status(durable=False)

    def probe(self) -> None:
        """Write the attention on the probe text and the embeddings, for the dashboard."""
        start = time.monotonic()
        model, ids, step = self.trainer.model, self.probe_text, self.trainer.step
        attention = attention_patterns(model, ids)  # (L, H, T, T)
        embedding = token_embeddings(model)[:MAX_EMBEDDINGS]  # (V, C)
        if np.isfinite(attention).all() and np.isfinite(embedding).all():
            largest = np.finfo(np.float16).max
            arrays = to_bytes(attention), embedding.clip(-largest, largest).astype(np.float16)
            tokens = [self.tokenizer.tokens[id] for id in ids]
            self.writer.disk_space.write(lambda: self.folder.write_probe(step, *arrays, tokens))
        took = time.monotonic() - start
        self._probe_due = start + max(PROBE_SECONDS, took / PROBE_SHARE)

    def sample(self) -> float:
        """Sample text, always with the same prompt and seed, so that differences are due to training.

        For a task, sample answers to some problems of its validation set instead. Returns the seconds that it took.
        """
        start = time.monotonic()
        try:
            sampled = self._sample_answers() if self.trainer.answers else {"text": self._sample_text()}
        except NotFiniteError:  # the next step's loss ends the run and gives the reason
            return 0.0
        seconds = self._time_left.sample = time.monotonic() - start
        row = {"step": self.trainer.step, "val_loss": self.writer.status.val_loss, **sampled}
        self._append("samples", row)
        return seconds

    def _sample_text(self) -> str:
        config, tokenizer = self.trainer.config.train, self.tokenizer
        how = GenerationConfig(
            max_new_tokens=config.sample_length, temperature=config.sample_temperature, seed=config.seed
        )
        tokens = generate(
            self.trainer.model, opening_ids(tokenizer), how, alternatives=0, compiled=False, use_all_threads=True
        )
        return tokenizer.decode([token.id for token in tokens])

    def _sample_answers(self) -> dict[str, Any]:
        trainer, decode = self.trainer, self.tokenizer.decode
        assert trainer.answers is not None
        written = write_answers(trainer.model, trainer.val_windows, trainer.answers, _PROBLEMS)
        problems = [dict(zip(PROBLEM_PARTS, map(decode, parts), strict=True)) for parts in written]
        text = "".join(f"{problem['question']}{problem['written']}\n" for problem in problems)
        return {"text": text, "problems": problems}

    def measures_health(self, step: int) -> bool:
        """Return whether training health is measured after this step."""
        return step in self._health_steps

    def _plan_health(self) -> None:
        self._health_steps = set(snapshot_steps(self.trainer.config.train.steps, MAX_ROWS))

    def _health(self) -> None:
        if health := self.trainer.health():
            self._append("health", health.row())

    def _row(self, event: StepEvent | None, evaluation: EvaluationEvent | None) -> None:
        row: dict[str, float] = {"step": self.trainer.step}
        changes: dict[str, float | None] = {}
        if event:
            steps = self._steps_since_row
            self._steps_since_row = []
            speed = sum(step.tokens for step in steps) / max(1e-9, sum(step.seconds for step in steps))
            row |= {"loss": event.loss, "lr": event.learning_rate, "grad_norm": event.grad_norm}
            row["tokens_per_second"] = changes["tokens_per_second"] = speed
        row["seconds"] = round(self.writer.clock.seconds, 3)
        if evaluation:
            self._time_left.evaluation = evaluation.seconds
            scores = {name: value for name in SCORES if (value := getattr(evaluation, name, None)) is not None}
            scores["val_bits_per_byte"] = bits_per_byte(evaluation.val_loss, self._bytes_per_token)
            row |= scores
            changes |= {name: value if math.isfinite(value) else None for name, value in scores.items()}
            measured = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
            log.info("step %d: %s", evaluation.step, measured)
        self._append("metrics", row)
        self.writer.change(changes)
        if evaluation:
            self._write_status(durable=False)  # at once, because a page shows losses from both files

    def _append(self, name: TrackedFile, row: dict[str, Any]) -> None:
        self.writer.disk_space.write(lambda: self.folder.append(name, row))
        self._trackers.log(read_values(name, row))

    def _step_detail(self, event: StepEvent) -> None:
        values = self.trainer.step_detail | {"loss": event.loss}
        for name in ("inputs", "targets", "losses", "counted"):
            values[name] = values[name][:STEP_DETAIL_WINDOWS, :STEP_DETAIL_TOKENS].tolist()
        values["losses"] = [[round(loss, 3) for loss in piece] for piece in values["losses"]]
        step_detail = StepDetail(**values)
        self.writer.disk_space.write(lambda: self.folder.write_step_detail(step_detail))

    def _snapshot(self) -> None:
        step = self.trainer.step
        if self._snapshots.due(step):
            self.writer.disk_space.write(lambda: self._snapshots.take(step), self._snapshots.size)

    def _write_status(self, *, durable: bool) -> None:
        step, steps = self.trainer.step, self.trainer.config.train.steps
        changes: dict[str, Any] = {"step": step, "steps": steps, "waited": round(self._time_left.waited, 3)}
        if not self.writer.status.ended:
            train = self.trainer.config.train
            changes["seconds_left"] = self._time_left.seconds(train, step)
            changes["pace"] = self._time_left.pace(train)
        self.writer.write(changes, durable=durable)
        self._status_due = time.monotonic() + STATUS_SECONDS
