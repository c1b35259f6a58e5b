"""Experiment trackers: TensorBoard through files next to a run; Weights & Biases, Trackio and MLflow via clients.

Each gets the same rows as the run's folder. No tracker may change or end a training: one that fails is dropped.
`core.runs` passes the rows, and this module needs nothing from it, so it is here with the export formats.
"""

import importlib
import io
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, get_args

import numpy as np

from core.atomic_io import FULL
from core.config import SETTINGS, RunConfig
from core.errors import ConfigError
from core.formatting import format_setting
from core.settings import value_at
from core.text.token_display import visible
from core.training.health import BINS, WIDTH, read_health

TrackedFile = Literal["metrics", "samples", "health"]  # files of a run whose rows trackers get
Rows = Callable[[TrackedFile], list[dict[str, Any]]]

PROJECT = "gpt-explorer"
NONE = "none"
_VARIABLE = "GPT_EXPLORER_TRACK"  # names, separated by commas
_MLFLOW_METRICS, _MLFLOW_PARAMS = 1000, 100  # the most that its server accepts in one request
_PER = 10_000  # values in a histogram's counts: the run's folder has shares
# The trackers' names for the values in a row of metrics.jsonl, grouped as TensorBoard draws them.
_TAGS = {
    "loss": "loss/batch",
    "train_loss": "loss/train",
    "val_loss": "loss/val",
    "val_bits_per_byte": "bits_per_byte/val",
    "train_accuracy": "accuracy/train",
    "val_accuracy": "accuracy/val",
    "lr": "learning_rate",
    "grad_norm": "grad_norm",
    "tokens_per_second": "tokens_per_second",
}

log = logging.getLogger(__name__)


class TrackedRun(NamedTuple):
    """What a tracker gets about a run at its start."""

    folder: Path  # each tracker's files go into a subfolder
    id: str
    name: str
    config: RunConfig
    step: int  # rows up to this step have been passed on; -1: none

    def settings(self) -> dict[str, Any]:
        """Return the settings by path."""
        return {path: value_at(self.config, path) for path in SETTINGS}


class Histogram(NamedTuple):
    """Counts of values between edges, out of _PER values."""

    counts: np.ndarray  # (B,)
    edges: np.ndarray  # (B + 1,)


@dataclass(frozen=True)
class Values:
    """What trackers get for one step, by tag."""

    step: int
    scalars: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    embedding: tuple[np.ndarray, Sequence[str]] | None = None  # (V, C) of the finished model, and its V tokens


class Tracker(Protocol):
    """A program that follows one run."""

    def log(self, values: Values) -> None: ...

    def close(self, state: str) -> None: ...


class _EventFile:
    """A TensorBoard event file. Events that do not fit on a full disk are written with a later one.

    TensorBoard's own writer uses a thread that ends at the first error, after which training would log nothing.
    """

    def __init__(self, folder: Path, first_step: int):
        """Create the file. Events from `first_step` on in older files no longer count: those steps run again."""
        from tensorboard.summary.writer.record_writer import RecordWriter
        from torch.utils.tensorboard.writer import Event, SessionLog

        self._event = Event
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}"  # TensorBoard reads files in name order
        self._file = (folder / name).open("xb", buffering=0)
        self._waiting = io.BytesIO()
        self._records = RecordWriter(self._waiting)
        self._write(Event(wall_time=time.time(), step=first_step, file_version="brain.Event:2"))
        start = SessionLog(status=SessionLog.START)
        self._write(Event(wall_time=time.time(), step=first_step, session_log=start))

    def add(self, step: int, summary: Any) -> None:
        """Write a summary (a TensorBoard message) as the event of a step."""
        self._write(self._event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Any) -> None:
        self._records.write(event.SerializeToString())
        try:
            self._append()
        except OSError as error:
            if error.errno not in FULL:
                raise

    def _append(self) -> None:
        """Append all pending events, or nothing."""
        size, waiting = self._file.tell(), self._waiting.getbuffer()
        try:
            written = 0
            while written < len(waiting):  # a disk that fills up may take a part before the error
                written += self._file.write(waiting[written:])
        except OSError:
            self._file.truncate(size)
            self._file.seek(size)
            raise
        finally:
            waiting.release()
        self._waiting.seek(0)
        self._waiting.truncate()

    def close(self) -> None:
        """Close the file. Raises OSError if the disk is still full."""
        with self._file:
            self._append()


class TensorBoard:
    """Event files in the folder `tensorboard` of a run, for `tensorboard --logdir` on the folder of all runs."""

    def __init__(self, run: TrackedRun):
        from torch.utils.tensorboard import summary  # takes 0.2 s, which a list of runs should not wait for

        self._summary, self._folder = summary, run.folder / "tensorboard"
        self._events = _EventFile(self._folder, run.step + 1)
        if run.step < 0:
            lines = [f"{path} = {format_setting(value, path)}" for path, value in run.settings().items()]
            self._text("settings", "\n".join([f"{run.name} ({run.id})", *lines]), 0)

    def log(self, values: Values) -> None:
        for tag, value in values.scalars.items():
            self._events.add(values.step, self._summary.scalar(tag, value))
        for tag, text in values.texts.items():
            self._text(tag, text, values.step)
        for tag, (counts, edges) in values.histograms.items():
            middles = (edges[1:] + edges[:-1]) / 2
            histogram = self._summary.histogram_raw(
                tag,
                min=edges[0],
                max=edges[-1],
                num=counts.sum(),
                sum=(counts * middles).sum(),
                sum_squares=(counts * middles**2).sum(),
                bucket_limits=edges[1:].tolist(),
                bucket_counts=counts.tolist(),
            )
            self._events.add(values.step, histogram)
        if values.embedding:
            self._embedding(*values.embedding)

    def _embedding(self, vectors: np.ndarray, tokens: Sequence[str]) -> None:
        """Write the files that TensorBoard's projector reads, for vectors (V, C)."""
        np.savetxt(self._folder / "tensors.tsv", vectors, "%.6g", delimiter="\t")
        labels = "".join(f"{visible(token)}\n" for token in tokens)
        (self._folder / "metadata.tsv").write_text(labels, "utf-8")
        config = 'embeddings { tensor_name: "wte" tensor_path: "tensors.tsv" metadata_path: "metadata.tsv" }\n'
        (self._folder / "projector_config.pbtxt").write_text(config, "utf-8")

    def _text(self, tag: str, text: str, step: int) -> None:
        # TensorBoard reads it as Markdown: indented text stays unchanged.
        self._events.add(step, self._summary.text(tag, "\n".join(f"    {line}" for line in text.split("\n"))))

    def close(self, state: str) -> None:  # noqa: ARG002 - as `Tracker.close`
        self._events.close()


class WandbLike:
    """Weights & Biases, or Trackio with the same API. Their own environment variables set where they write."""

    def __init__(self, run: TrackedRun, module: str, **more: Any):
        self._module = importlib.import_module(module)
        self._run = self._module.init(project=PROJECT, name=run.name, config=run.settings(), resume="allow", **more)

    def log(self, values: Values) -> None:
        table = self._module.Table
        shown: dict[str, Any] = dict(values.scalars)
        for tag, text in values.texts.items():
            shown[tag] = table(columns=["step", "text"], data=[[values.step, text]])
        for tag, histogram in values.histograms.items():
            shown[tag] = self._module.Histogram(np_histogram=tuple(histogram))
        self._run.log(shown, step=values.step)

    def close(self, state: str) -> None:  # noqa: ARG002 - as `Tracker.close`
        self._run.finish()


class Mlflow:
    """MLflow; MLFLOW_TRACKING_URI sets where it writes."""

    def __init__(self, run: TrackedRun):
        mlflow = importlib.import_module("mlflow")
        self._client, self._entities = mlflow.MlflowClient(), mlflow.entities
        existing = self._client.get_experiment_by_name(PROJECT)
        experiment = existing.experiment_id if existing else self._client.create_experiment(PROJECT)
        runs = self._client.search_runs([experiment], filter_string=f"tags.run = '{run.id}'")
        if runs:
            self._id = runs[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            self._id = self._client.create_run(experiment, run_name=run.name, tags={"run": run.id}).info.run_id
            params = [self._entities.Param(path, str(value)) for path, value in run.settings().items()]
            for first in range(0, len(params), _MLFLOW_PARAMS):
                self._client.log_batch(self._id, params=params[first : first + _MLFLOW_PARAMS])

    def log(self, values: Values) -> None:
        now = int(1000 * time.time())
        metrics = [self._entities.Metric(tag, value, now, values.step) for tag, value in values.scalars.items()]
        for first in range(0, len(metrics), _MLFLOW_METRICS):  # a request per value would delay training
            self._client.log_batch(self._id, metrics[first : first + _MLFLOW_METRICS])
        for tag, text in values.texts.items():
            self._client.log_text(self._id, text, f"{tag}/step-{values.step:08d}.txt")

    def close(self, state: str) -> None:
        self._client.set_terminated(self._id, {"finished": "FINISHED", "failed": "FAILED"}.get(state, "KILLED"))


TRACKERS: dict[str, Callable[[TrackedRun], Tracker]] = {
    "tensorboard": TensorBoard,
    "wandb": lambda run: WandbLike(run, "wandb", id=run.id, dir=run.folder),
    # Trackio tells runs apart by name.
    "trackio": lambda run: WandbLike(run._replace(name=f"{run.name} ({run.id})"), "trackio"),
    "mlflow": Mlflow,
}


class Trackers:
    """The trackers of one run in this process."""

    def __init__(self, run: TrackedRun, rows: Rows, names: Sequence[str]):
        """Start the trackers. One that is new to the run gets the run's earlier rows: `rows` returns them by file."""
        self._trackers: dict[str, Tracker] = {}
        self.notices: list[str] = []  # sentences about trackers that failed
        for name in names:
            mark = run.folder / f".tracked-{name}"
            is_new = not mark.exists()
            with self._leaving_out(name):
                earlier = _merged(rows) if is_new else []
                self._trackers[name] = tracker = TRACKERS[name](run._replace(step=-1) if is_new else run)
                for values in earlier:
                    tracker.log(values)
                mark.touch()  # last: a tracker that fails before this gets all rows the next time

    def log(self, values: Values) -> None:
        """Pass the values of a row, from `read_values`, to all trackers."""
        for name, tracker in list(self._trackers.items()):
            with self._leaving_out(name):
                tracker.log(values)

    def close(self, state: str) -> None:
        """Close all trackers; `state` is the run's final state."""
        for name in list(self._trackers):
            with self._leaving_out(name):
                self._trackers.pop(name).close(state)

    @contextmanager
    def _leaving_out(self, name: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # another program may raise anything: the run continues without it
            self._trackers.pop(name, None)
            log.warning("%s no longer follows this run", name, exc_info=error)
            self.notices.append(
                f"{name} does not track this run ({type(error).__name__}); the run's log has the details."
            )


def _merged(rows: Rows) -> list[Values]:
    """Return the values of all files, ordered by step: some trackers ignore a step below the latest one."""
    return sorted(
        (read_values(file, row) for file in get_args(TrackedFile) for row in rows(file)), key=lambda values: values.step
    )


def read_values(file: TrackedFile, row: Mapping[str, Any]) -> Values:
    """Return what trackers get for a row of `metrics`, `samples` or `health`."""
    step = int(row.get("step") or 0)
    if file == "samples":
        return Values(step, texts={"sample": str(row.get("text") or "")})
    if file == "health":
        return _health_values(step, row)
    values = {tag: row[name] for name, tag in _TAGS.items() if isinstance(row.get(name), int | float)}
    return Values(step, {tag: float(value) for tag, value in values.items() if math.isfinite(value)})


def _health_values(step: int, row: Mapping[str, Any]) -> Values:
    health = read_health(row)
    if health is None:
        return Values(step)
    scalars = {f"update_to_weight/{matrix}": ratio for matrix, ratio in health.updates.items()}
    scalars |= {f"dead_units/h.{layer}": share for layer, share in enumerate(health.dead.tolist())}
    scalars |= {f"residual_norm/{stage:02}": norm for stage, norm in enumerate(health.norms.tolist())}
    for layer, heads in enumerate(health.entropy.tolist()):
        scalars |= {f"attention_entropy/h.{layer}.{head}": entropy for head, entropy in enumerate(heads)}
    histograms: dict[str, Histogram] = {}
    for name in ("activation", "gradient"):
        sizes, shares = getattr(health, f"{name}_rms").tolist(), getattr(health, f"{name}s")
        for layer, (size, counts) in enumerate(zip(sizes, shares, strict=True)):
            if size:  # all are 0 otherwise
                edges = np.linspace(-WIDTH, WIDTH, BINS + 1) * size
                histograms[f"{name}s/h.{layer}"] = Histogram(_PER * counts, edges)
    return Values(step, scalars, histograms=histograms)


def chosen_trackers() -> list[str]:
    """Return the trackers that the environment sets for runs of this process; TensorBoard by default."""
    names = os.environ.get(_VARIABLE, "tensorboard").split(",")
    return [name for name in dict.fromkeys(names) if name in TRACKERS]


def choose_trackers(names: Sequence[str]) -> None:
    """Set the trackers for runs of this process and of the workers it starts; raises ConfigError."""
    for name in names:
        if name not in (*TRACKERS, NONE):
            raise ConfigError(f"--track cannot be {name!r}: choose {', '.join(TRACKERS)} or {NONE}.")
        if name in TRACKERS and find_spec(name) is None:
            raise ConfigError(f"{name} is not installed. Install it: python -m pip install {name}")
    if NONE in names and len(set(names)) > 1:
        raise ConfigError(f"--track {NONE} cannot be combined with other trackers.")
    if names:
        os.environ[_VARIABLE] = ",".join(names)
