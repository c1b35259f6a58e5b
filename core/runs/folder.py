"""A run is a folder; this is the only file that spells the names in it."""

import base64
import fcntl
import json
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from core.config import RunConfig
from core.errors import ConfigError, RunError
from core.files import TEMPORARY, append_row, keep_rows, read_rows, write_atomically, write_json
from core.runs.names import clean_name, friendly_name
from core.runs.processes import ProcessId, is_alive
from core.runs.records import Command, Probe, RunRecord, Status, library_versions

RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[a-z2-7]{12}")
# How Python introduces the frames of a traceback or of a crash.
_SAYS_NOTHING = ("Traceback (most recent", "Current thread 0x", "Thread 0x", "Extension modules:")


def runs_folder(home: Path) -> Path:
    """Where the runs of a home lie."""
    return home / "runs"


def open_run(home: Path, id: str) -> "RunFolder":
    """The run of that id. Raises RunError where there is none, and for anything that is not an id (a path, say)."""
    folder = RunFolder(runs_folder(home) / id) if RUN_ID.fullmatch(id) else None
    if folder is None or not folder.path.is_dir():
        raise RunError(f"There is no run with the id {id[:80]!r}. It may have been deleted.")
    return folder


def list_runs(home: Path) -> list["RunFolder"]:
    """Every run, newest first. Damaged ones are among them; their `problem` says what is wrong."""
    try:
        found = [path for path in runs_folder(home).iterdir() if RUN_ID.fullmatch(path.name) and path.is_dir()]
    except FileNotFoundError:
        return []
    return [RunFolder(path) for path in sorted(found, key=lambda path: path.name, reverse=True)]


def weights_step(path: Path) -> int:
    """The step at which a weights file of ours was written; -1 for a file that is missing or damaged."""
    try:
        with safe_open(path, "np") as file:
            return int((file.metadata() or {})["step"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return -1


class RunFolder:
    """One run on disk. Any number of processes may read it; one worker at a time trains in it (`hold`)."""

    def __init__(self, path: Path):
        self.path = path

    @classmethod
    def create(
        cls,
        home: Path,
        config: RunConfig,
        name: str | None = None,
        owner: str | None = None,
        parent: str | None = None,
        *,
        inside: Path | None = None,
    ) -> Self:
        """Make a new run, queued, with an id that sorts by time and cannot be guessed.

        Args:
            name: a label; a friendly one is made up if left out.
            parent: id of the run that this one goes out from.
            inside: a folder other than the home's own to make it in.
        """
        id = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{base64.b32encode(secrets.token_bytes(10)).decode().lower()[:12]}"
        record = RunRecord(
            id=id,
            name=clean_name(name) if name else friendly_name(secrets.token_bytes(8)),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            config=config,
            owner=owner,
            parent=parent,
            versions=library_versions(),
        )
        within = inside or runs_folder(home)
        # Made under another name and renamed, so that nobody ever lists half a run.
        building = cls(within / f"{TEMPORARY}{id}")
        try:
            for subfolder in (building.probes, building.snapshots_folder, building.checkpoints, building.commands):
                subfolder.mkdir(parents=True)
            building.write_record(record)
            building.write_status(Status(state="queued", steps=config.train.steps))
            building.path.rename(within / id)
        except OSError as error:
            shutil.rmtree(building.path, ignore_errors=True)
            raise RunError(f"A new run cannot be written to {within} ({error.strerror}).") from None
        return cls(within / id)

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def events_path(self) -> Path:
        return self.path / "events.jsonl"

    @property
    def samples_path(self) -> Path:
        return self.path / "samples.jsonl"

    @property
    def status_path(self) -> Path:
        return self.path / "status.json"

    @property
    def tokenizer_path(self) -> Path:
        return self.path / "tokenizer.json"

    @property
    def log_path(self) -> Path:
        return self.path / "worker.log"

    @property
    def probe_path(self) -> Path:
        return self.probes / "latest.safetensors"

    @property
    def weights_path(self) -> Path:
        """The weights as of the last checkpoint, pause or end."""
        return self.path / "weights.safetensors"

    @property
    def probes(self) -> Path:
        return self.path / "probes"

    @property
    def snapshots_folder(self) -> Path:
        return self.path / "snapshots"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def commands(self) -> Path:
        return self.path / "commands"

    def record(self) -> RunRecord:
        """What the run is. Raises RunError, in a sentence, where `run.json` is missing or damaged."""
        data = self._read_json("run.json")
        try:
            config = RunConfig.parse(data.get("config"))
            return RunRecord.model_validate({**data, "id": self.id, "config": config})
        except ConfigError as error:
            raise RunError(f"The settings in run.json of run {self.id} cannot be used: {error}") from None
        except ValidationError as error:
            field = ".".join(map(str, error.errors()[0]["loc"]))
            raise RunError(f"The file run.json of run {self.id} is damaged: {field} is missing or wrong.") from None

    def write_record(self, record: RunRecord) -> None:
        with self._writing("changed"):
            write_atomically(self.path / "run.json", record.model_dump_json(indent=2).encode())

    def update_record(self, **changes: Any) -> None:
        """Change some fields of the record as it is now, whatever other processes change in others meanwhile."""
        with self._writing("changed"):
            lock = (self.path / ".record.lock").open("ab")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.write_record(self.record().model_copy(update=changes))

    def rename(self, name: str) -> None:
        """Give the run another label. Its folder and its id stay as they are."""
        self.update_record(name=clean_name(name))

    @property
    def name(self) -> str:
        """The label, or the id where the record cannot be read. Never raises."""
        try:
            return self.record().name
        except RunError:
            return self.id

    @property
    def problem(self) -> str | None:
        """A sentence on what is wrong with the folder; None where it can be read."""
        try:
            self.record()
            self._read_status()
        except RunError as error:
            return str(error)
        return None

    def status(self) -> Status:
        """How the run fares. Never raises; a run whose worker has died has failed, with the worker's last words."""
        try:
            status = self._read_status()
        except RunError as error:
            return Status(state="failed", reason=str(error))
        if status.ended or status.pid is None or is_alive(ProcessId(status.pid, status.pid_started or 0.0)):
            return status
        try:
            # The worker may have written its end and left between the two looks above.
            again = self._read_status()
        except RunError:
            again = status
        return again if again.pid != status.pid or again.ended else self._died(again)

    def settle(self) -> Status:
        """`status()`, and a death that it finds is written down: much later, a pid tells less surely."""
        status = self.status()
        if status.state == "failed" and self.problem is None and not self._read_status().ended:
            self.write_status(status)
        return status

    def write_status(self, status: Status, *, durable: bool = True) -> Status:
        """Replace the status, and return it as written: with the time."""
        stamped = status.model_copy(update={"updated": time.time()})
        with self._writing("changed"):
            write_atomically(self.status_path, stamped.model_dump_json().encode(), durable=durable)
        return stamped

    def last_words(self, lines: int = 3) -> str:
        """The last lines of the worker's log that say something; empty if it said nothing.

        Where the log ends in a traceback, its frames are passed over: they are indented, the error itself is not.
        """
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, self.log_path.stat().st_size - 20_000))
                said = file.read().decode("utf-8", "replace").splitlines()
        except OSError:
            return ""
        meaningful = [line.rstrip() for line in said if re.match(r"\S", line) and re.search(r"\w", line)]
        words = [line for line in meaningful if not line.startswith(_SAYS_NOTHING)]
        return "\n".join(line[:300] for line in words[-lines:])

    def append_metrics(self, row: Mapping[str, Any]) -> None:
        append_row(self.metrics_path, row)

    def append_sample(self, row: Mapping[str, Any]) -> None:
        append_row(self.samples_path, row)

    def append_event(self, row: Mapping[str, Any]) -> None:
        append_row(self.events_path, row)

    def read_metrics(self) -> list[dict[str, Any]]:
        return read_rows(self.metrics_path)

    def read_samples(self) -> list[dict[str, Any]]:
        return read_rows(self.samples_path)

    def read_events(self) -> list[dict[str, Any]]:
        return read_rows(self.events_path)

    def cut_after(self, step: int) -> None:
        """Forget metrics, samples and snapshots later than `step`, because training goes on from there.

        Events stay: they tell what was asked, also where the outcome was lost.
        """
        for path in (self.metrics_path, self.samples_path):
            keep_rows(path, lambda row: row.get("step", 0) <= step)
        for snapshot_step, path in self.snapshots():
            if snapshot_step > step:
                path.unlink(missing_ok=True)

    def send(self, command: str, **args: Any) -> None:
        """Ask something of the worker."""
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
        with self._writing(f"told to {command}"):
            write_json(self.commands / name, {"command": command, **args})

    def take_commands(self) -> list[Command]:
        """What has been asked since the last time, in order. What is taken is gone."""
        taken = []
        for path in sorted(self.commands.glob("[0-9]*.json")):
            try:
                data = json.loads(path.read_bytes())
                taken.append(Command(data.pop("command"), data))
            except (ValueError, KeyError, AttributeError):  # nothing we have written
                pass
            path.unlink(missing_ok=True)
        return taken

    def write_probe(self, step: int, attention: np.ndarray, embedding: np.ndarray, tokens: list[str]) -> None:
        """Replace what the live board draws. attention: uint8 (L, H, T, T); embedding: float16 (V, C)."""
        arrays = {"attention": np.ascontiguousarray(attention), "embedding": np.ascontiguousarray(embedding)}
        data = save(arrays, metadata={"step": str(step), "tokens": json.dumps(tokens)})
        write_atomically(self.probe_path, data, durable=False)

    def read_probe(self) -> Probe | None:
        """What the live board draws; None if there is nothing yet, or nothing readable."""
        try:
            with safe_open(self.probe_path, "np") as file:
                told = file.metadata()
                arrays = (file.get_tensor("attention"), file.get_tensor("embedding"))
                return Probe(int(told["step"]), *arrays, json.loads(told["tokens"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def snapshot_path(self, step: int) -> Path:
        return self.snapshots_folder / f"step-{step:08d}.safetensors"

    def snapshots(self) -> list[tuple[int, Path]]:
        """The weights kept along the way, by step."""
        found = sorted(self.snapshots_folder.glob("step-*.safetensors"))
        return [(int(path.stem.removeprefix("step-")), path) for path in found]

    def latest_weights(self) -> Path | None:
        """The newest weights there are, of a checkpoint, the end or a snapshot. None before the first."""
        newest = max([*self.snapshots(), (weights_step(self.weights_path), self.weights_path)])
        return newest[1] if newest[0] >= 0 else None

    def read_baselines(self) -> dict[str, float] | None:
        """The losses that counting reaches on the same text, nats a token; None before they are counted."""
        try:
            return self._read_json("baselines.json")
        except RunError:
            return None

    def write_baselines(self, baselines: Mapping[str, float]) -> None:
        write_json(self.path / "baselines.json", dict(baselines))

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one process that trains in this folder; the lock falls when the process ends, however it ends.

        Raises RunError if another one does.
        """
        with self._writing("trained"):
            file = (self.path / "worker.lock").open("ab")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"Another process is training the run {self.name!r} already.") from None
            yield

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(path.stat().st_size for path in self._files())

    def delete(self) -> None:
        """Remove the run and all in it. Raises RunError while a worker trains it: stop it first."""
        status = self.status()
        if status.pid is not None and not status.ended:
            raise RunError(f"The run {self.name!r} is being trained. Stop it before deleting it.")
        doomed = self.path.with_name(f"{TEMPORARY}{self.id}")  # gone at once for all who look
        if not self.path.exists():
            return
        with self._writing("deleted"):
            self.path.rename(doomed)
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

    @contextmanager
    def _writing(self, what: str) -> Iterator[None]:
        """Turn the system's refusal to write into a RunError that says what cannot be done to the run, and why."""
        try:
            yield
        except FileNotFoundError:
            raise RunError(f"The run {self.id} has been deleted, so it cannot be {what}.") from None
        except OSError as error:
            raise RunError(
                f"The run {self.name!r} cannot be {what}, because of its folder: {error.strerror}."
            ) from None

    def _files(self) -> list[Path]:
        return [
            path
            for path in sorted(self.path.rglob("*"))
            if path.is_file() and not path.name.startswith(".") and path.parent != self.commands
        ]

    def _read_json(self, name: str) -> dict[str, Any]:
        try:
            data = json.loads((self.path / name).read_bytes())
        except FileNotFoundError:
            raise RunError(f"The run {self.id} has no {name}: the file is missing.") from None
        except OSError as error:
            raise RunError(f"The file {name} of run {self.id} cannot be read ({error.strerror}).") from None
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise RunError(f"The file {name} of run {self.id} is damaged: it ends too early or is not JSON.")
        return data

    def _read_status(self) -> Status:
        try:
            return Status.model_validate(self._read_json("status.json"))
        except ValidationError:
            raise RunError(f"The file status.json of run {self.id} is damaged.") from None

    def _died(self, status: Status) -> Status:
        said = self.last_words()
        reason = (
            "Its process ended without saying why; the system may have stopped it, for instance for want of memory."
        )
        if said:
            reason = f"Its process ended. Its last words: {said}"
        changes = {"state": "failed", "reason": reason, "pid": None, "pid_started": None, "seconds_left": None}
        return status.model_copy(update=changes)
