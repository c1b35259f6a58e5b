"""Zip archives of runs: export, validation, and import as a new run, on this or another machine.

Only files that belong to a run folder are extracted, by their exact names, into a new folder. Therefore nothing in a
zip can escape the folder, be a link, or replace a file.
"""

import json
import math
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from core.atomic_io import parse_row
from core.errors import RunError
from core.runs.commands import config_now
from core.runs.folder import RUN_ID, RunFolder
from core.runs.records import (
    MAX_EMBEDDINGS,
    SCORES,
    RunRecord,
    Status,
    is_problem,
    parse_object,
    parse_record,
    parse_status,
)
from core.runs.weights import load_model
from core.training.health import read_health

# The files that are extracted from a run's archive.
ARCHIVED_FILES = re.compile(
    r"(run|status|baselines|closeup|tokenizer)\.json|(metrics|events|samples|health)\.jsonl|(weights|start)\.safetensors"
    r"|probes/latest\.safetensors|snapshots/step-\d{8}\.safetensors"
    r"|checkpoints/step-\d{8}-[0-9a-f]{64}\.safetensors",
    re.ASCII,
)
MAX_STEPS = 10**9
_MAX_FILES = 20_000
_MAX_JSON = 32 << 20  # bytes of a JSON file, which is read into memory
_MIN_BOUND, _MAX_RATIO = 1 << 30, 10  # bounds of unpacked sizes: weights hardly compress, rows tenfold
_CHUNK = 1 << 20
_MAX_THREADS = 1024


class Archive(zipfile.ZipFile):
    """An open zip with limits on what is unpacked; raises RunError if it is damaged."""

    def __init__(self, path: Path):
        try:
            super().__init__(path)
            self.members = self.infolist()
            self._left = max(_MIN_BOUND, _MAX_RATIO * path.stat().st_size)
        except (OSError, zipfile.BadZipFile, ValueError):
            raise RunError("The file is damaged, or is not a zip.") from None
        if len(self.members) > _MAX_FILES:
            raise RunError(f"The zip has {len(self.members):,} files, and at most {_MAX_FILES:,} are read.")

    def unpack(self, member: zipfile.ZipInfo, path: Path) -> None:
        """Write a member's content into a new file."""
        with path.open("xb") as file:
            self._read(member, file.write)

    def json(self, member: zipfile.ZipInfo) -> dict[str, Any]:
        """Return the JSON object in a small member."""
        chunks: list[bytes] = []
        if member.file_size > _MAX_JSON:
            raise RunError(f"The file {_base(member)} in the zip is too large.")
        self._read(member, chunks.append)
        return parse_object(b"".join(chunks), _base(member), "in the zip")

    def _read(self, member: zipfile.ZipInfo, take: Callable[[bytes], object]) -> None:
        if stat.S_ISLNK(member.external_attr >> 16) or member.is_dir():
            raise RunError(f"The file {_base(member)} in the zip is a link or a folder, so it is not read.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RunError(f"The file {_base(member)} in the zip is packed in a way that cannot be read here.")
        try:
            with self.open(member) as file:
                while chunk := file.read(_CHUNK):
                    self._left -= len(chunk)
                    if self._left < 0:
                        raise RunError("The zip unpacks to far more than its own size, so it is not read.")
                    take(chunk)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
            raise RunError(f"The file {_base(member)} in the zip is damaged or encrypted.") from None

    def files_of_run(self) -> dict[str, zipfile.ZipInfo]:
        """Return the members that belong to a run folder, by their paths in it; empty if the zip contains no run."""
        records = [member for member in self.members if _base(member) == "run.json"]
        if not records:
            return {}
        top = min((PurePosixPath(member.filename).parent for member in records), key=lambda parent: len(parent.parts))
        paths = {PurePosixPath(member.filename): member for member in self.members}
        names = {str(path.relative_to(top)): path for path in paths if path.is_relative_to(top)}
        return {name: paths[path] for name, path in names.items() if ARCHIVED_FILES.fullmatch(name)}


def zip_run(run: RunFolder, file: BinaryIO) -> None:
    """Write a run's whole folder as a zip into a file or a pipe, in small pieces."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        add_run_files(archive, run, run.id)


def add_run_files(archive: zipfile.ZipFile, run: RunFolder, folder: str, *, weights: bool = True) -> None:
    """Write a run's files into a folder of a zip; without `weights`, no `.safetensors` files."""
    for path in run.files():
        if path.suffix == ".safetensors" and not weights:
            continue
        name = f"{folder}/{path.relative_to(run.path)}"
        try:
            with path.open("rb") as source, archive.open(name, "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)
        except FileNotFoundError:  # a checkpoint that was replaced meanwhile
            continue


def holds_run(path: Path) -> bool:
    """Return whether a file is a zip that contains a run."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        return False
    with Archive(path) as archive:
        return bool(archive.files_of_run())


def import_run(data_dir: Path, path: Path, name: str | None = None) -> RunFolder:
    """Create an ended run with all files of a zipped run; raises ExplorerError if the zip is damaged."""
    with Archive(path) as archive:
        files = archive.files_of_run()
        if not files:
            raise RunError("The zip does not contain a run: there is no run.json in it.")
        record = _record(archive.json(files.pop("run.json")))
        status = _status(archive.json(files.pop("status.json"))) if "status.json" in files else Status(state="stopped")

        def fill(run: RunFolder) -> None:
            for name, member in files.items():
                archive.unpack(member, run.path / name)
                if name.endswith(".jsonl"):
                    _drop_unsound_rows(run.path / name)
            run.update_record(**record.model_dump(include=_IMPORTED_FIELDS))
            run.write_status(status)
            _check(run)

        name = name or record.name
        return RunFolder.create(
            data_dir, record.config, name, parent=record.parent, parent_step=record.parent_step, fill=fill
        )


_IMPORTED_FIELDS = {"created", "origin", "corpus_hash", "versions", "hardware", "machine", "threads", "precision"}


def _record(data: dict[str, Any]) -> RunRecord:
    record = parse_record(data, "in the zip")
    try:
        datetime.fromisoformat(record.created)
    except ValueError:
        raise RunError("The file run.json in the zip is damaged: created is not a date.") from None
    sound = {
        "parent": record.parent if record.parent and RUN_ID.fullmatch(record.parent) else None,
        "parent_step": record.parent_step if _is_step(record.parent_step) else None,
        "threads": record.threads if record.threads and 0 < record.threads <= _MAX_THREADS else None,
        "precision": record.precision if record.precision in ("float32", "bfloat16") else None,
    }
    return record.model_copy(update=sound)


def _status(data: dict[str, Any]) -> Status:
    """Return the status of the imported run: ended, even if it was training when it was zipped."""
    zipped = parse_status(data, "in the zip")
    if not _is_step(zipped.step) or not _is_step(zipped.steps):
        raise RunError("The file status.json in the zip is damaged: no run has that many steps.")
    names = ("step", "steps", "seconds", "tokens_per_second", *SCORES)
    numbers = {name: getattr(zipped, name) for name in names}
    sound = {name: value for name, value in numbers.items() if value is not None and math.isfinite(value)}
    if not zipped.ended:
        return Status(state="stopped", reason="This is a copy, packed while the run was still training.", **sound)
    return Status(state=zipped.state, reason=zipped.reason[:1000], problem=zipped.problem, **sound)


def _drop_unsound_rows(path: Path) -> None:
    raw = path.rename(path.with_suffix(".raw"))
    with raw.open("rb") as source, path.open("wb") as file:
        for line in source:
            row = parse_row(line)
            if row is not None and _is_sound(row, path.stem):
                file.write(json.dumps(row).encode() + b"\n")
    raw.unlink()


def _is_sound(row: dict[str, Any], kind: str) -> bool:
    if not _is_step(row.get("step")):
        return False
    if kind == "metrics":
        return all(value is None or _is_number(value) for value in row.values())
    if kind == "samples":
        problems = row.get("problems", [])
        return isinstance(row.get("text"), str) and isinstance(problems, list) and all(map(is_problem, problems))
    if kind == "health":
        return read_health(row) is not None
    plain = (value is None or isinstance(value, str | bool) or _is_number(value) for value in row.values())
    return isinstance(row.get("kind"), str) and all(plain)


def _is_step(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_STEPS


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _check(run: RunFolder) -> None:
    """Raise ExplorerError if the run cannot be opened; remove unusable baselines and a probe that misfits the model."""
    config_now(run)
    baselines, probe = run.read_baselines(), run.read_probe()
    if baselines is not None and not all(map(_is_number, baselines.values())):
        run.baselines_path.unlink()
    if run.has_weights:
        vocab_size = load_model(run).tokenizer.vocab_size
        fits = (
            probe is not None
            and probe.embedding.ndim == 2
            and len(probe.embedding) == min(vocab_size, MAX_EMBEDDINGS)
            and probe.attention.ndim == 4
            and probe.attention.shape[2:] == (len(probe.tokens),) * 2
        )
        if not fits:
            run.probe_path.unlink(missing_ok=True)


def _base(member: zipfile.ZipInfo) -> str:
    return PurePosixPath(member.filename).name[:80]
