"""A run's folder: its files, and how runs are created, found, listed and deleted."""

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
    """One run on disk. Any number of processes may read it, but only one worker may train it (`training_lock`)."""

    def __init__(self, path: Path, *, is_shared: bool = False):
        self.path, self.id = path, path.name
        self.is_shared = is_shared  # by another class member, so it is read-only
        self.record_path = path / "run.json"
        self.status_path = path / "status.json"
        self.metrics_path = path / "metrics.jsonl"
        self.events_path = path / "events.jsonl"
        self.samples_path = path / "samples.jsonl"
        self.health_path = path / "health.jsonl"
        self.baselines_path = path / "baselines.json"
        self.tokenizer_path = path / "tokenizer.json"
        self.weights_path = path / "weights.safetensors"  # from the last checkpoint, pause or end
        self.start_path = path / "start.safetensors"  # a fork's first weights; other runs have no such file
        self.step_detail_path = path / "closeup.json"
        self.log_path = path / "worker.log"
        self.lock_path = path / "worker.lock"  # locked by the process that trains the run
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
        name: str | None = None,  # by default a friendly one is made up
        parent: str | None = None,
        *,
        parent_step: int | None = None,
        fill: Callable[[Self], None] | None = None,  # writes other files, before the folder is visible to others
        inside: Path | None = None,  # another folder to create it in; the data folder gets a link to it
    ) -> Self:
        """Create a queued run. Its id cannot be guessed, and ids sort by time, even across a class."""
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
        # Created under another name and renamed, so that an incomplete run is never listed.
        building = cls(target / f"{TEMPORARY}{id}")
        try:
            for subfolder in (building.probes, building.snapshots_folder, building.checkpoints, building.commands):
                subfolder.mkdir(parents=True)
            building.write_record(record)
            building.write_status(Status(state="queued", steps=config.train.steps))
            with building.training_lock():  # fails here, not in the worker, if the file system has no locks
                if fill:
                    fill(building)
            building.path.rename(target / id)
        except OSError as error:
            raise RunError(f"A new run cannot be written to {target} ({error.strerror}).") from None
        finally:
            shutil.rmtree(building.path, ignore_errors=True)
        if target != runs:
            with suppress(OSError):  # if the file system has no links, the run is found by its path
                (runs / id).symlink_to(target / id, target_is_directory=True)
                return cls(runs / id)
        return cls(target / id)

    @property
    def name(self) -> str:
        """The label, or the id if the label cannot be read. Never raises."""
        try:
            return str(self._read_json(self.record_path)["name"])
        except (RunError, KeyError):
            return self.id

    def record(self) -> RunRecord:
        """Return the run's record. Raises RunError if `run.json` is missing or damaged."""
        return parse_record(self._read_json(self.record_path) | {"id": self.id}, f"of run {self.id}")

    def write_record(self, record: RunRecord) -> None:
        with self.writing("changed"):
            write_atomically(self.record_path, record.model_dump_json(indent=2).encode())

    def update_record(self, **changes: Any) -> None:
        """Change some fields of the record, without losing concurrent changes to other fields."""
        with self.writing("changed"):
            file = (self.path / ".record.lock").open("ab")
        with file:
            lock(file)
            self.write_record(self.record().model_copy(update=changes))

    def rename(self, name: str, by: str = "") -> None:
        """Change the run's label, not its id. `by` is recorded as the author if it is not the owner."""
        self.update_record(name=clean_name(name), former_name=self.name if by else "", changed_by=by)

    def status(self) -> Status:
        """Return the run's status, passed through `after_crash` if its worker has died. Never raises."""
        try:
            status = self.read_status()
        except RunError as error:
            return Status(state="failed", reason=str(error))
        return self._after_crash(status) if self._has_crashed(status) else status

    def recover(self, *, has_died: bool = False) -> Status:
        """Return `status()`. If the worker has died (`has_died`: known by the caller), write it and end orphans."""
        try:
            status = self.read_status()
        except RunError:
            return self.status()
        if not (has_died or self._has_crashed(status)):
            return status
        end_orphans(status.process)
        return self.write_status(self._after_crash(status))

    def read_status(self) -> Status:
        """Return the status as written; raises RunError if the file is missing or damaged."""
        return parse_status(self._read_json(self.status_path), f"of run {self.id}")

    def write_status(self, status: Status, *, durable: bool = True) -> Status:
        """Replace the status, and return it with the time of writing."""
        stamped = status.model_copy(update={"updated": time.time()})
        with self.writing("changed"):
            write_atomically(self.status_path, stamped.model_dump_json().encode(), durable=durable)
        return stamped

    @property
    def problem(self) -> str | None:
        """A sentence on what is wrong with the folder; None if it can be read."""
        try:
            self.record()
            self.read_status()
        except RunError as error:
            return str(error)
        return None

    @contextmanager
    def training_lock(self) -> Iterator[None]:
        """Lock the run folder for training by this process; raises RunError if another process has locked it."""
        with self.writing("trained"):
            file = self.lock_path.open("ab")
        with file:
            try:
                lock(file, wait=False)
            except BlockingIOError:
                raise RunError(f"Another process is already training the run {self.name!r}.") from None
            yield

    def _has_crashed(self, status: Status) -> bool:
        if status.ended or status.pid is None or status.has_worker(self.lock_path):
            return False
        try:
            # The worker may have written its end and exited after `status` was read.
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
        """Return the health measurements of training, in order; empty for a bigram or a run of an earlier version."""
        from core.training.health import read_health  # imports torch, which a list of runs does not need

        return [health for row in self.rows("health") if (health := read_health(row))]

    def last_metrics(self) -> dict[str, Any] | None:
        """Return the newest row without reading the whole file; None before the first."""
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
        """Return the newest probe; None if there is no readable one."""
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
        """Return the detail of the last single step; None if there is no readable one."""
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
        """Whether the run has any weights. Opens no file, because lists check every run."""
        return self.weights_path.exists() or any(self.snapshots_folder.glob("step-*.safetensors"))

    @property
    def size(self) -> int:
        """Return the bytes on disk."""
        return sum(path.stat().st_size for path in self.files())

    @property
    def data_dir(self) -> Path:
        """The data folder that lists the run and contains its text."""
        return self.path.parents[1]

    @property
    def member(self) -> str:
        """The class member who owns the run; "" outside a class and for the teacher's runs."""
        return self.data_dir.name if class_root(self.data_dir) != self.data_dir else ""

    @property
    def read_only(self) -> bool:
        """Whether the run can only be read and forked, because it comes with the app or belongs to somebody else."""
        return self.in_gallery or self.is_shared

    @property
    def in_gallery(self) -> bool:
        """Whether the run comes with the app and is read-only (`core.runs.gallery`)."""
        return self.path.parent == gallery_dir()

    def delete(self) -> None:
        """Delete the run permanently. Raises RunError while a worker trains it."""
        status = self.status()
        if status.pid is not None and not status.ended:
            raise RunError(f"The run {self.name!r} is being trained. Stop it before deleting it.")
        if not self.path.exists():
            return
        path = self.path.resolve()  # the run may be in another folder (`create(inside=...)`)
        renamed = path.with_name(f"{TEMPORARY}{self.id}")  # so that no list shows an incomplete run
        with self.writing("deleted"):
            path.rename(renamed)
            if self.path.is_symlink():
                self.path.unlink()
        shutil.rmtree(renamed, ignore_errors=True)

    def files(self) -> list[Path]:
        """Return all finished files except commands and the lock."""
        finished = [path for path in sorted(self.path.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        return [path for path in finished if path.parent != self.commands and path != self.lock_path]

    def check_writable(self, done: str = "changed") -> None:
        """Raise RunError if the run is read-only; `done` says what cannot be done to it."""
        if self.read_only:
            whose = "comes with the app" if self.in_gallery else "belongs to somebody else"
            raise RunError(f"{self.name!r} {whose}, so it cannot be {done}. Fork it to train it further.")

    @contextmanager
    def writing(self, done: str) -> Iterator[None]:
        """Turn errors of writing into a RunError that says what cannot be done to the run, and why."""
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
    """Return the run with that id, which may be in the gallery. Raises RunError if there is none, or `id` is a path.

    A class's data folder gives access to the runs of all members; a member's to its own runs and to shared ones.
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
    """Return every run, newest first, including damaged ones, whose `problem` says what is wrong.

    For a class's data folder, the runs of all members are included.
    """
    paths: list[Path] = []
    for home in all_homes(data_dir):
        with suppress(FileNotFoundError):
            paths += [path for path in (home / "runs").iterdir() if RUN_ID.fullmatch(path.name) and path.is_dir()]
    return [RunFolder(path) for path in sorted(paths, key=lambda path: path.name, reverse=True)]


def _new_id(*folders: Path) -> str:
    """Return an id that sorts after all runs in some folders, even if the clock was set back."""
    time = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    names = [path.name for folder in folders if folder.is_dir() for path in folder.iterdir()]
    newest = max(filter(RUN_ID.fullmatch, names), default="")[: len("YYYYmmdd-HHMMSS")]
    with suppress(ValueError, OverflowError):  # there is no run, or its id is not a valid time
        time = max(time, datetime.strptime(newest, _TIME) + timedelta(seconds=1))
    return f"{time:{_TIME}}-{base64.b32encode(secrets.token_bytes(10)).decode().lower()[:12]}"
