"""The folder of a run: its files, and how runs are made, found, listed and deleted."""

import base64
import json
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core.atomic_io import FULL, TEMPORARY, append_row, last_rows, lock, parse_json, read_rows, write_atomically
from core.classroom import check_gallery_open, check_quota
from core.config import RunConfig
from core.errors import DiskFullError, RunError
from core.paths import all_homes, check_path, class_root, gallery_dir, is_shared
from core.runs.processes import end_orphans
from core.runs.records import (
    SCORES,
    Probe,
    RunRecord,
    Status,
    StepDetail,
    after_crash,
    clean_name,
    friendly_name,
    last_log_lines,
    library_versions,
    parse_object,
    parse_record,
    parse_status,
)
from core.trash import why_no_run

if TYPE_CHECKING:
    from core.training.health import Health

_TIME = "%Y%m%d-%H%M%S"
RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z2-7]{12}")
GALLERY_ID = re.compile(r"gallery-[a-z]+")
Rows = Literal["metrics", "samples", "events", "health"]  # files of rows


class RunFolder:
    """One run on disk. Any number of processes may read it; one worker at a time trains in it (`training_lock`)."""

    def __init__(self, path: Path, *, is_shared: bool = False):
        self.path, self.id = path, path.name
        self.is_shared = is_shared  # by another member of a class: it is only read
        self.record_path = path / "run.json"
        self.status_path = path / "status.json"
        self.metrics_path = path / "metrics.jsonl"
        self.events_path = path / "events.jsonl"
        self.samples_path = path / "samples.jsonl"
        self.health_path = path / "health.jsonl"
        self.baselines_path = path / "baselines.json"
        self.tokenizer_path = path / "tokenizer.json"
        self.weights_path = path / "weights.safetensors"  # of the last checkpoint, pause or end
        self.start_path = path / "start.safetensors"  # the weights that a fork begins with; absent in any other run
        self.step_detail_path = path / "closeup.json"
        self.log_path = path / "worker.log"
        self.lock_path = path / "worker.lock"  # locked by the one process that trains in the folder
        self.probes = path / "probes"
        self.probe_path = self.probes / "latest.safetensors"
        self.snapshots_folder = path / "snapshots"
        self.checkpoints = path / "checkpoints"
        self.commands = path / "commands"

    @classmethod
    def create(
        cls,
        data_dir: Path,
        config: RunConfig,
        name: str | None = None,  # a friendly one is made up if left out
        parent: str | None = None,
        *,
        parent_step: int | None = None,
        fill: Callable[[Self], None] | None = None,  # writes other files, before the folder is visible to others
        inside: Path | None = None,  # another folder to make it in; the data folder gets a link to it
    ) -> Self:
        """Make a new run, queued, with an id that sorts by time, in a whole class too, and cannot be guessed."""
        check_quota(data_dir)
        runs = data_dir / "runs"
        target = inside or runs
        check_path(target)
        id = _new_id(target, *(home / "runs" for home in all_homes(class_root(data_dir))))
        record = RunRecord(
            id=id,
            name=clean_name(name) if name else friendly_name(secrets.token_bytes(8)),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            parent=parent,
            parent_step=parent_step,
            versions=library_versions(),
        )
        # Made under another name and renamed, so that half a run is never listed.
        building = cls(target / f"{TEMPORARY}{id}")
        try:
            for subfolder in (building.probes, building.snapshots_folder, building.checkpoints, building.commands):
                subfolder.mkdir(parents=True)
            building.write_record(record)
            building.write_status(Status(state="queued", steps=config.train.steps))
            with building.training_lock():  # a file system without locks is noticed here, not by the first worker
                if fill:
                    fill(building)
            building.path.rename(target / id)
        except OSError as error:
            raise RunError(f"A new run cannot be written to {target} ({error.strerror}).") from None
        finally:
            shutil.rmtree(building.path, ignore_errors=True)
        if target != runs:
            with suppress(OSError):  # a file system without links: the run is found by its path
                (runs / id).symlink_to(target / id, target_is_directory=True)
                return cls(runs / id)
        return cls(target / id)

    @property
    def name(self) -> str:
        """The label, or the id where it cannot be read. Never raises."""
        try:
            return str(self._read_json(self.record_path)["name"])
        except (RunError, KeyError):
            return self.id

    def record(self) -> RunRecord:
        """Return what the run is. Raises RunError, in a sentence, where `run.json` is missing or damaged."""
        return parse_record(self._read_json(self.record_path) | {"id": self.id}, f"of run {self.id}")

    def write_record(self, record: RunRecord) -> None:
        with self.writing("changed"):
            write_atomically(self.record_path, record.model_dump_json(indent=2).encode())

    def update_record(self, **changes: Any) -> None:
        """Change some fields of the record, and keep what other processes change in others at the same time."""
        with self.writing("changed"):
            file = (self.path / ".record.lock").open("ab")
        with file:
            lock(file)
            self.write_record(self.record().model_copy(update=changes))

    def rename(self, name: str, by: str = "") -> None:
        """Give the run another label, not another id. Its record names who did, `by`, where that is not its owner."""
        self.update_record(name=clean_name(name), former_name=self.name if by else "", changed_by=by)

    def status(self) -> Status:
        """Return the run's state; for a run whose worker has died, what `after_crash` makes of it. Never raises."""
        try:
            status = self.read_status()
        except RunError as error:
            return Status(state="failed", reason=str(error))
        return self._after_crash(status) if self._has_crashed(status) else status

    def recover(self, *, has_died: bool = False) -> Status:
        """Return `status()`; write it where the worker has died, or `has_died` unseen, and end what it has left."""
        try:
            status = self.read_status()
        except RunError:
            return self.status()
        if not (has_died or self._has_crashed(status)):
            return status
        end_orphans(status.process)
        return self.write_status(self._after_crash(status))

    def read_status(self) -> Status:
        """Return the status as it was written; raises RunError where the file is missing or damaged."""
        return parse_status(self._read_json(self.status_path), f"of run {self.id}")

    def write_status(self, status: Status, *, durable: bool = True) -> Status:
        """Replace the status, and return it as written: with the time."""
        stamped = status.model_copy(update={"updated": time.time()})
        with self.writing("changed"):
            write_atomically(self.status_path, stamped.model_dump_json().encode(), durable=durable)
        return stamped

    @property
    def problem(self) -> str | None:
        """A sentence on what is wrong with the folder; None where it can be read."""
        try:
            self.record()
            self.read_status()
        except RunError as error:
            return str(error)
        return None

    @contextmanager
    def training_lock(self) -> Iterator[None]:
        """Lock the run folder for this process to train in it; raises RunError where another one has locked it."""
        with self.writing("trained"):
            file = self.lock_path.open("ab")
        with file:
            try:
                lock(file, wait=False)
            except BlockingIOError:
                raise RunError(f"Another process is training the run {self.name!r} already.") from None
            yield

    def _has_crashed(self, status: Status) -> bool:
        if status.ended or status.pid is None or status.has_worker(self.lock_path):
            return False
        try:
            # The worker may have written its end and left after `status` was read.
            again = self.read_status()
        except RunError:
            return True
        return again.pid == status.pid and not again.ended

    def _after_crash(self, status: Status) -> Status:
        from core.training.checkpoints import newest_save  # imports torch, which a list of runs does not need

        return after_crash(status, last_log_lines(self.log_path), newest_save(self.checkpoints))

    def append(self, name: Rows, row: Mapping[str, Any], *, durable: bool = False) -> None:
        append_row(self.path / f"{name}.jsonl", row, durable=durable)

    def rows(self, name: Rows) -> list[dict[str, Any]]:
        return read_rows(self.path / f"{name}.jsonl")

    def health(self) -> "list[Health]":
        """Return the measurements of a training's health, in order; none of a bigram or a run of an earlier version."""
        from core.training.health import read_health  # imports torch, which a list of runs does not need

        return [health for row in self.rows("health") if (health := read_health(row))]

    def last_metrics(self) -> dict[str, Any] | None:
        """Return the newest row, however long the file; None before the first."""
        return next((row for _, row in last_rows(self.metrics_path)), None)

    def last_scores(self) -> dict[str, float | None]:
        """Return the `SCORES` of the last evaluation; None before the first."""
        row = next((row for _, row in last_rows(self.metrics_path) if "val_loss" in row), {})
        return {name: row.get(name) for name in SCORES}

    def write_probe(self, step: int, attention: np.ndarray, embedding: np.ndarray, tokens: list[str]) -> None:
        """Replace the probe. attention: uint8 (L, H, T, T); embedding: float16 (V, C)."""
        arrays = {"attention": np.ascontiguousarray(attention), "embedding": np.ascontiguousarray(embedding)}
        data = save(arrays, metadata={"step": str(step), "tokens": json.dumps(tokens)})
        write_atomically(self.probe_path, data, durable=False)

    def read_probe(self) -> Probe | None:
        """Return the newest probe; None where there is none that can be read."""
        try:
            with safe_open(self.probe_path, "np") as file:
                metadata = file.metadata()
                arrays = (file.get_tensor("attention"), file.get_tensor("embedding"))
                return Probe(int(metadata["step"]), *arrays, parse_json(metadata["tokens"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def write_step_detail(self, step_detail: StepDetail) -> None:
        write_atomically(self.step_detail_path, step_detail.model_dump_json().encode(), durable=False)

    def read_step_detail(self) -> StepDetail | None:
        """Return the detail of the last single step; None where there is none that can be read."""
        try:
            return StepDetail.model_validate(self._read_json(self.step_detail_path))
        except (RunError, ValidationError):
            return None

    def read_baselines(self) -> dict[str, float] | None:
        """Return the losses of counted n-grams on the same text, nats/token; None before they are counted."""
        try:
            return self._read_json(self.baselines_path)
        except RunError:
            return None

    def snapshot_path(self, step: int) -> Path:
        return self.snapshots_folder / f"step-{step:08d}.safetensors"

    def snapshots(self) -> list[tuple[int, Path]]:
        """Return the steps and files of the snapshots, in order."""
        paths = sorted(self.snapshots_folder.glob("step-*.safetensors"))
        return [(int(path.stem.removeprefix("step-")), path) for path in paths]

    @property
    def has_weights(self) -> bool:
        """Whether there are any. Opens no file, because lists ask it of every run."""
        return self.weights_path.exists() or any(self.snapshots_folder.glob("step-*.safetensors"))

    @property
    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(path.stat().st_size for path in self.files())

    @property
    def data_dir(self) -> Path:
        """The data folder that lists the run, and has the text it was trained on."""
        return self.path.parents[1]

    @property
    def member(self) -> str:
        """The member of a class whose run it is; "" outside of a class, and for the teacher's."""
        return self.data_dir.name if class_root(self.data_dir) != self.data_dir else ""

    @property
    def read_only(self) -> bool:
        """Whether it can only be read and forked: it comes with the app, or is somebody else's."""
        return self.in_gallery or self.is_shared

    @property
    def in_gallery(self) -> bool:
        """Whether it comes with the app, and is only read (`core.runs.gallery`)."""
        return self.path.parent == gallery_dir()

    def delete(self) -> None:
        """Remove the run and all in it for good. Raises RunError while a worker trains it: stop it first."""
        status = self.status()
        if status.pid is not None and not status.ended:
            raise RunError(f"The run {self.name!r} is being trained. Stop it before deleting it.")
        if not self.path.exists():
            return
        path = self.path.resolve()  # where `create` made it inside another folder
        renamed = path.with_name(f"{TEMPORARY}{self.id}")  # so that no list shows half a run
        with self.writing("deleted"):
            path.rename(renamed)
            if self.path.is_symlink():
                self.path.unlink()
        shutil.rmtree(renamed, ignore_errors=True)

    def files(self) -> list[Path]:
        """Return all finished files but the commands and the lock."""
        finished = [path for path in sorted(self.path.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        return [path for path in finished if path.parent != self.commands and path != self.lock_path]

    def check_writable(self, done: str = "changed") -> None:
        """Raise RunError, which says what cannot be done to the run, where it can only be read."""
        if self.read_only:
            whose = "comes with the app" if self.in_gallery else "belongs to somebody else"
            raise RunError(f"{self.name!r} {whose}, so it cannot be {done}. Fork it to train it further.")

    @contextmanager
    def writing(self, done: str) -> Iterator[None]:
        """Raise a refusal to write as a RunError that says what cannot be done to the run, and why."""
        self.check_writable(done)
        try:
            yield
        except FileNotFoundError:
            raise RunError(f"The run {self.id} has been deleted, so it cannot be {done}.") from None
        except OSError as error:
            kind = DiskFullError if error.errno in FULL else RunError
            raise kind(f"The run {self.name!r} cannot be {done}, because of its folder: {error.strerror}.") from None

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            return parse_object(path.read_bytes(), path.name, f"of run {self.id}")
        except FileNotFoundError:
            raise RunError(f"The run {self.id} has no {path.name}: the file is missing.") from None
        except OSError as error:
            raise RunError(f"The file {path.name} of run {self.id} cannot be read ({error.strerror}).") from None


def open_run(data_dir: Path, id: str) -> RunFolder:
    """Return the run of that id, of the gallery too. Raises RunError where there is none, as for a path.

    In a class the runs of all members are found in the folder of the class; in that of a member its own, and those
    that others have shared.
    """
    if GALLERY_ID.fullmatch(id) and (gallery_dir() / id).is_dir():
        check_gallery_open(data_dir)
        return RunFolder(gallery_dir() / id)
    if RUN_ID.fullmatch(id):
        for home in all_homes(data_dir):
            if (path := home / "runs" / id).is_dir():
                return RunFolder(path)
        if (root := class_root(data_dir)) != data_dir and is_shared(root, id):
            with suppress(RunError):
                return RunFolder(open_run(root, id).path, is_shared=True)
    raise RunError(why_no_run(data_dir, id))


def list_runs(data_dir: Path) -> list[RunFolder]:
    """Return every run, newest first. Damaged ones are among them; their `problem` says what is wrong.

    In the folder of a class those of all members.
    """
    paths: list[Path] = []
    for home in all_homes(data_dir):
        with suppress(FileNotFoundError):
            paths += [path for path in (home / "runs").iterdir() if RUN_ID.fullmatch(path.name) and path.is_dir()]
    return [RunFolder(path) for path in sorted(paths, key=lambda path: path.name, reverse=True)]


def _new_id(*folders: Path) -> str:
    """Return an id that sorts behind those of all runs in some folders, also where the clock was set back since."""
    time = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    names = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
    newest = max(filter(RUN_ID.fullmatch, names), default="")[: len("YYYYmmdd-HHMMSS")]
    with suppress(ValueError, OverflowError):  # there is none, or its name is no time of ours
        time = max(time, datetime.strptime(newest, _TIME) + timedelta(seconds=1))
    return f"{time:{_TIME}}-{base64.b32encode(secrets.token_bytes(10)).decode().lower()[:12]}"
