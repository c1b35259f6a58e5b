"""A run is a folder: made, found, listed, copied and deleted here; each part of it has a file of its own."""

import base64
import re
import secrets
import shutil
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, Self

from core.atomic_io import TEMPORARY, cut_rows
from core.config import RunConfig
from core.errors import RunError
from core.paths import check_path
from core.runs.names import clean_name, friendly_name
from core.runs.probe_files import RunPictures
from core.runs.records import RunRecord, Status, library_versions
from core.runs.run_status import RunLife
from core.runs.setting_changes import RunTurns
from core.runs.weights import RunWeights

_TIME = "%Y%m%d-%H%M%S"
RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z2-7]{12}")


def runs_folder(data_dir: Path) -> Path:
    """Where the runs of a home lie."""
    return data_dir / "runs"


def open_run(data_dir: Path, id: str) -> "RunFolder":
    """The run of that id. Raises RunError where there is none, and for anything that is not an id (a path, say)."""
    folder = RunFolder(runs_folder(data_dir) / id) if RUN_ID.fullmatch(id) else None
    if folder is None or not folder.path.is_dir():
        raise RunError(f"There is no run with the id {id[:80]!r}. It may have been deleted.")
    return folder


def list_runs(data_dir: Path) -> list["RunFolder"]:
    """Every run, newest first. Damaged ones are among them; their `problem` says what is wrong."""
    try:
        found = [path for path in runs_folder(data_dir).iterdir() if RUN_ID.fullmatch(path.name) and path.is_dir()]
    except FileNotFoundError:
        return []
    return [RunFolder(path) for path in sorted(found, key=lambda path: path.name, reverse=True)]


def _new_id(*within: Path) -> str:
    """Return an id that sorts behind those of all runs in some folders, also where the clock was set back since."""
    time = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
    names = [path.name for folder in within if folder.is_dir() for path in folder.iterdir()]
    newest = max(filter(RUN_ID.fullmatch, names), default="")[: len("YYYYmmdd-HHMMSS")]
    with suppress(ValueError, OverflowError):  # there is none, or its name is no time of ours
        time = max(time, datetime.strptime(newest, _TIME) + timedelta(seconds=1))
    return f"{time:{_TIME}}-{base64.b32encode(secrets.token_bytes(10)).decode().lower()[:12]}"


class RunFolder(RunLife, RunTurns, RunPictures, RunWeights):
    """One run on disk. Any number of processes may read it; one worker at a time trains in it (`hold`)."""

    @classmethod
    def create(
        cls,
        data_dir: Path,
        config: RunConfig,
        name: str | None = None,
        owner: str | None = None,
        parent: str | None = None,
        *,
        parent_step: int | None = None,
        fill: Callable[[Self], None] | None = None,
        inside: Path | None = None,
    ) -> Self:
        """Make a new run, queued, with an id that sorts by time and cannot be guessed.

        Args:
            name: a label; a friendly one is made up if left out.
            parent: id of the run that this one goes out from.
            parent_step: of the parent's weights that it begins with.
            fill: puts into the new folder what else it begins with, before anyone can see it.
            inside: a folder other than the home's own to make it in. The home's gets a link to it, so that the run is
                listed and found there, too, for as long as it exists.
        """
        within, runs = inside or runs_folder(data_dir), runs_folder(data_dir)
        check_path(within)
        id = _new_id(within, runs)
        record = RunRecord(
            id=id,
            name=clean_name(name) if name else friendly_name(secrets.token_bytes(8)),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            owner=owner,
            parent=parent,
            parent_step=parent_step,
            versions=library_versions(),
        )
        # Made under another name and renamed, so that nobody ever lists half a run.
        building = cls(within / f"{TEMPORARY}{id}")
        try:
            for subfolder in (building.probes, building.snapshots_folder, building.checkpoints, building.commands):
                subfolder.mkdir(parents=True)
            building.write_record(record)
            building.write_status(Status(state="queued", steps=config.train.steps))
            with building.hold():  # a file system without locks is noticed now, not by the first worker
                if fill:
                    fill(building)
            building.path.rename(within / id)
        except OSError as error:
            raise RunError(f"A new run cannot be written to {within} ({error.strerror}).") from None
        finally:
            shutil.rmtree(building.path, ignore_errors=True)
        if within != runs:
            with suppress(OSError):  # a file system without links: the run is found by its path
                (runs / id).symlink_to(within / id, target_is_directory=True)
                return cls(runs / id)
        return cls(within / id)

    @property
    def problem(self) -> str | None:
        """A sentence on what is wrong with the folder; None where it can be read."""
        try:
            self.record()
        except RunError as error:
            return str(error)
        return self.status_problem

    def cut_after(self, step: int) -> None:
        """Forget metrics, samples, snapshots and a closeup later than `step`, because training goes on from there.

        Events stay: they tell what was asked, also where the outcome was lost.
        """
        for path in (self.metrics_path, self.samples_path):
            cut_rows(path, lambda row: row.get("step", 0) <= step)
        for snapshot_step, path in self.snapshots():
            if snapshot_step > step:
                path.unlink(missing_ok=True)
        step_detail = self.read_step_detail()
        if step_detail and step_detail.step > step:
            self.step_detail_path.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._files())

    def delete(self) -> None:
        """Remove the run and all in it. Raises RunError while a worker trains it: stop it first."""
        status = self.status()
        if status.pid is not None and not status.ended:
            raise RunError(f"The run {self.name!r} is being trained. Stop it before deleting it.")
        if not self.path.exists():
            return
        place = self.path.resolve()  # where `create` made it inside another folder
        doomed = place.with_name(f"{TEMPORARY}{self.id}")  # gone at once for all who look
        with self._writing("deleted"):
            place.rename(doomed)
            if self.path.is_symlink():
                self.path.unlink()
        shutil.rmtree(doomed, ignore_errors=True)

    def zip_to(self, file: BinaryIO) -> None:
        """Write the whole folder as a zip into a file or a pipe, without ever holding more than a piece of it."""
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for path in self._files():
                name = f"{self.id}/{path.relative_to(self.path)}"
                try:
                    with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                        shutil.copyfileobj(source, target, 1 << 20)
                except FileNotFoundError:  # an old checkpoint, replaced meanwhile
                    continue

    def _files(self) -> list[Path]:
        return [
            path
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.parent != self.commands
        ]
