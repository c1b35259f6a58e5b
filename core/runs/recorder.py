"""What a run writes down while it trains: metrics, samples, probes, weights and how it fares."""

import logging
import math
import time
from collections.abc import Callable
from contextlib import suppress

from torch import Tensor

from core.errors import DiskFullError, NotFiniteError
from core.runs.disk_space import DiskSpace, paused_for_disk_space
from core.runs.folder import RunFolder
from core.runs.memory_kills import memory_kills
from core.runs.probes import computes_numbers, write_probe
from core.runs.records import State, Status, StepDetail
from core.runs.snapshots import Snapshots
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.tokenizers import Tokenizer, opening_ids
from core.training.checkpoints import save_checkpoint, save_weights
from core.training.cost import TimeLeft
from core.training.trainer import EvaluationEvent, StepEvent, Trainer

STATUS_SECONDS = 0.2  # between two status files
PROBE_SECONDS = 0.4  # between two probes, or more where they take long
PROBE_SHARE = 0.05  # of the time may go into probes
STEP_DETAIL_WINDOWS, STEP_DETAIL_TOKENS = (
    8,
    256,
)  # of a batch that are shown closely: so many pieces, each so long at most

log = logging.getLogger(__name__)


class Recorder:
    """Writes one run's folder on behalf of its trainer; never changes the course of training.

    Args:
        status: as the worker begins; carries the attempt and the worker's pid.
        on_status: called with every status written, for a progress bar.
        patience: called again and again while there is no room on the disk for what has to be written; raises to give
            up on it.
    """

    def __init__(
        self,
        folder: RunFolder,
        trainer: Trainer,
        tokenizer: Tokenizer,
        probe_text: list[int],
        status: Status,
        on_status: Callable[[Status], None] | None = None,
        patience: Callable[[], None] = lambda: None,
    ):
        self.folder, self.trainer, self.tokenizer = folder, trainer, tokenizer
        self.probe_text, self._on_status = probe_text, on_status
        # What was measured after the step that training goes on from is not known yet.
        self.status = status.model_copy(update=folder.last_losses())
        self._snapshots = Snapshots(folder, trainer.model, trainer.config.train)
        last_row = folder.last_metrics() or {}  # of those left, so that a repeated stretch is not counted twice
        self._clock = Stopwatch(float(last_row.get("seconds") or 0.0))
        self._closed = last_row.get("step") == trainer.step and last_row.get("val_loss") is not None
        self._time_left = TimeLeft()
        self._first_step, self._saves_early = trainer.step, status.deaths > 0
        self._patience = patience
        self._process = {"pid": status.pid, "pid_started": status.pid_started}
        self._before_waiting: Status | None = None
        self._events_kept_waiting: list[dict] = []
        self.disk_space = DiskSpace(folder.path, self._wait_for_disk_space, self._go_on)
        self._steps_since_row: list[StepEvent] = []
        self._status_due = self._probe_due = 0.0
        self._looked = time.monotonic()

    def opening(self) -> None:
        """The very first rows: what the untrained model is like. The first point of the curve comes first of all."""
        self.set_state("running")
        if self.trainer.step == 0:
            self._row(None, self.trainer.evaluate())
            self.probe()
            self.sample()
            self._snapshot()
        else:
            self.probe()

    def step(self, event: StepEvent, *, watched: bool = False) -> None:
        """Write down one step and all that is due after it.

        Args:
            watched: someone takes single steps, so show each of them, from near.
        """
        config, step = self.trainer.config.train, event.step
        last = self._closed = step >= config.steps
        self._steps_since_row.append(event)
        if not watched:
            self._time_left.step(event.seconds)
        evaluation = self.trainer.evaluate() if last or step % config.eval_interval == 0 else None
        if last:
            self.trainer.check_finite(evaluation)
        if evaluation or watched or step % config.log_interval == 0:
            self._row(event, evaluation)
        if last or watched or time.monotonic() >= self._probe_due:
            self.probe()
        if last or step % config.sample_interval == 0:
            self.sample()
        self._snapshot()
        if watched:
            self._step_detail(event)
        if not last and (step % config.checkpoint_interval == 0 or self._is_early_save(step)):
            self.save()
        if time.monotonic() >= self._status_due:
            self._write_status(durable=False)

    def _is_early_save(self, step: int) -> bool:
        """After a death, save once 1, 2, 4, 8, ... steps are taken, so that another one finds the run further on.

        However early a machine ends a run's processes, the run comes to its end; one that dies of its own step does so
        again and again at that step, and is given up.
        """
        taken = step - self._first_step
        return self._saves_early and taken & (taken - 1) == 0

    def closing(self) -> None:
        """What belongs to the last step, where nobody knew when it was taken that it would be."""
        if not self._closed:
            evaluation = self.trainer.evaluate()
            self.trainer.check_finite(evaluation)
            self._row(None, evaluation)
            self.probe()
            self.sample()
            self._snapshot()

    def turned(self) -> None:
        """A knob has been turned: what is planned or told with it changes."""
        self._snapshots.plan(self.trainer.config.train.steps)
        self._time_left.changed()
        self._write_status(durable=False)

    def set_state(self, state: State, reason: str = "") -> None:
        """Write a change of state, on disk before this returns."""
        if state == "running":
            self._clock.go()
        else:
            self._clock.halt()
        gone = {} if state in ("running", "paused") else {"pid": None, "pid_started": None, "seconds_left": None}
        self.status = self.status.model_copy(update={"state": state, "reason": reason, **gone})
        self._write_status(durable=True)
        if self.status.ended:
            self.disk_space.drop_reserve()

    def give_up(self, reason: str) -> None:
        """Stop without writing what there is no room for."""
        gone = {"pid": None, "pid_started": None, "seconds_left": None, "notice": ""}
        self.status = self.status.model_copy(update={"state": "stopped", "reason": reason, "problem": "disk", **gone})
        self._tell(self.status)
        with suppress(DiskFullError, OSError):
            for row in self._events_kept_waiting:
                self.folder.append_event(row)

    def leave_paused(self) -> bool:
        """Say that the run stays paused without a process; False where the disk has no room for that."""
        try:
            self.status = self.folder.write_status(self.status.model_copy(update={"pid": None, "pid_started": None}))
        except DiskFullError:
            return False
        if self._on_status:
            self._on_status(self.status)
        return True

    def looked(self) -> None:
        """Someone has looked for commands; how long that took at most decides how long a stop is waited for."""
        self.status = self.status.model_copy(update={"slowest": self._slowest()})
        self._looked = time.monotonic()

    def event(self, kind: str, **more) -> None:
        row = {"step": self.trainer.step, "kind": kind, "time": time.time(), **more}
        if self._before_waiting:
            self._events_kept_waiting.append(row)
        else:
            self.disk_space.write(lambda: self.folder.append_event(row))

    def save(self) -> None:
        """All that is needed to go on from here, and the weights to look at."""
        self.trainer.check_finite()
        trainer, folder = self.trainer, self.folder
        state = sum(tensor.nbytes for tensor in trainer.state_dict().values())
        self.disk_space.write(lambda: save_checkpoint(folder.checkpoints, trainer), state)
        weights = self._snapshots.size
        self.disk_space.write(lambda: save_weights(folder.weights_path, trainer.model, trainer.step), weights)
        if self.status.deaths and self.trainer.step > self._first_step:  # whatever ended it, it got past it
            self.status = self.status.model_copy(update={"deaths": 0})
            self._write_status(durable=False)

    def probe(self) -> None:
        start = time.monotonic()
        model, step = self.trainer.model, self.trainer.step
        if computes_numbers(model, self.probe_text):
            self.disk_space.write(lambda: write_probe(self.folder, model, step, self.probe_text, self.tokenizer))
        took = time.monotonic() - start
        self._probe_due = start + max(PROBE_SECONDS, took / PROBE_SHARE)

    def sample(self) -> None:
        """Let the model write, every time from the same prompt with the same dice, so that only learning shows.

        A model whose numbers have overflowed writes nothing: the loss of the next step ends the run and says why.
        """
        config, tokenizer, start = self.trainer.config.train, self.tokenizer, time.monotonic()
        how = GenerationConfig(
            max_new_tokens=config.sample_length, temperature=config.sample_temperature, seed=config.seed
        )
        written = generate(self.trainer.model, opening_ids(tokenizer), how, alternatives=0, spread=True)
        try:
            text = tokenizer.decode([token.id for token in written])
        except NotFiniteError:
            return
        self._time_left.sample(time.monotonic() - start)
        row = {"step": self.trainer.step, "text": text, "val_loss": self.status.val_loss}
        self.disk_space.write(lambda: self.folder.append_sample(row))

    def _row(self, event: StepEvent | None, evaluation: EvaluationEvent | None) -> None:
        row: dict[str, float] = {"step": self.trainer.step}
        changes: dict[str, float] = {}
        if event:
            steps, self._steps_since_row = self._steps_since_row, []
            speed = sum(step.tokens for step in steps) / max(1e-9, sum(step.seconds for step in steps))
            row |= {"loss": event.loss, "lr": event.learning_rate, "grad_norm": event.grad_norm}
            row["tokens_per_second"] = changes["tokens_per_second"] = speed
        row["seconds"] = round(self._clock.seconds, 3)
        if evaluation:
            self._time_left.evaluation(evaluation.seconds)
            losses = {"train_loss": evaluation.train_loss, "val_loss": evaluation.val_loss}
            row |= losses
            changes |= {name: loss if math.isfinite(loss) else None for name, loss in losses.items()}
            log.info("step %d: training loss %.4f, validation loss %.4f", evaluation.step, *losses.values())
        self.disk_space.write(lambda: self.folder.append_metrics(row))
        self.status = self.status.model_copy(update=changes)
        if evaluation:
            self._write_status(durable=False)  # at once: a page shows the losses of both files

    def _step_detail(self, event: StepEvent) -> None:
        seen = self.trainer.step_detail
        step_detail = StepDetail(
            step=seen.step,
            loss=event.loss,
            batch_size=len(seen.inputs),
            inputs=_shown(seen.inputs).tolist(),
            targets=_shown(seen.targets).tolist(),
            losses=[[round(loss, 3) for loss in piece] for piece in _shown(seen.losses).tolist()],
            gradient_norms=seen.gradient_norms,
            weight_norms=seen.weight_norms,
            before=seen.before,
            after=seen.after,
        )
        self.disk_space.write(lambda: self.folder.write_step_detail(step_detail))

    def _snapshot(self) -> None:
        step = self.trainer.step
        if self._snapshots.due(step):
            self.disk_space.write(lambda: self._snapshots.take(step), self._snapshots.size)

    def _wait_for_disk_space(self, why: str) -> None:
        """Say that the run is paused and why, and let commands be heard."""
        if self._before_waiting is None:
            self._before_waiting = self.status
            self._clock.halt()
            self.status = paused_for_disk_space(self.status, why).model_copy(update=self._process)
            log.warning("%s", self.status.notice)
            self._told = False
        self._told = self._told or self._tell(self.status)
        self._patience()

    def _go_on(self) -> None:
        before, self._before_waiting = self._before_waiting, None
        if before is None:  # it has gone on already, from within
            return
        log.warning("there is room again")
        self.status = before.model_copy(update={"problem": "", "slowest": self.status.slowest})
        self._looked = time.monotonic()
        if before.state == "running":
            self._clock.go()
        self._tell(self.status)
        kept, self._events_kept_waiting = self._events_kept_waiting, []
        for row in kept:
            self.disk_space.write(lambda row=row: self.folder.append_event(row))

    def _tell(self, status: Status) -> bool:
        """Write a status if that can be done at once."""
        try:
            self.folder.write_status(status)
        except DiskFullError as error:
            log.warning("%s", error)
            return False
        finally:
            if self._on_status:
                self._on_status(status)
        return True

    def _slowest(self) -> float:
        return max(self.status.slowest, round(time.monotonic() - self._looked, 3))

    def _write_status(self, *, durable: bool) -> None:
        step, steps = self.trainer.step, self.trainer.config.train.steps
        changes = {"step": step, "steps": steps, "seconds": round(self._clock.seconds, 3), "slowest": self._slowest()}
        changes["oom_kills"] = memory_kills()
        if not self.status.ended:
            changes["seconds_left"] = self._time_left.seconds(self.trainer.config.train, step)
        status = self.status.model_copy(update=changes)

        def write() -> None:
            self.status = self.folder.write_status(status, durable=durable)
            if self._before_waiting:
                self._before_waiting = self.status

        self.disk_space.write(write)
        self._status_due = time.monotonic() + STATUS_SECONDS
        if self._on_status:
            self._on_status(self.status)


class Stopwatch:
    """Counts the seconds a run trains, pauses left out."""

    def __init__(self, before: float):
        self._before = before  # seconds, of earlier attempts
        self._here = 0.0
        self._since: float | None = None

    def go(self) -> None:
        if self._since is None:
            self._since = time.monotonic()

    def halt(self) -> None:
        self._here, self._since = self.seconds_here, None

    @property
    def seconds_here(self) -> float:
        """Of this attempt."""
        return self._here + (time.monotonic() - self._since if self._since is not None else 0.0)

    @property
    def seconds(self) -> float:
        return self._before + self.seconds_here


def _shown(batch: Tensor) -> Tensor:
    """So much of a batch (B, T) as fits on a page."""
    return batch[:STEP_DETAIL_WINDOWS, :STEP_DETAIL_TOKENS]
