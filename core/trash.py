"""The trash: deleted runs and texts can be restored for seven days, unless their space is needed."""

import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from core.atomic_io import parse_json
from core.errors import ExplorerError
from core.paths import all_homes, class_root

DAYS = 7
_SECONDS = DAYS * 86400.0


class Deleted(NamedTuple):
    """One run or text in the trash."""

    id: str  # of the entry
    name: str  # the folder name of the run, or the file name of the text
    time: float  # seconds since 1970

    @property
    def when(self) -> str:
        """The time in ISO 8601."""
        return datetime.fromtimestamp(self.time, UTC).isoformat()


def put_into_trash(data_dir: Path, paths: Iterable[Path]) -> None:
    """Move the files or folders of one run or text into the trash. Raises OSError if that fails."""
    empty_trash(data_dir)
    paths = list(paths)
    place = _folder(data_dir) / f"{time.time_ns():020d}-{paths[0].stem}"
    for path in paths:
        target = place / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path.resolve(), target)


def deleted(data_dir: Path) -> list[Deleted]:
    """Return the entries of the trash, last deleted first."""
    entries = []
    for place in sorted(_folder(data_dir).glob("[0-9]*-*"), reverse=True):
        number, _, name = place.name.partition("-")
        if number.isdecimal():
            entries.append(Deleted(place.name, name, int(number) / 1e9))
    return entries


def place_of(data_dir: Path, id: str) -> Path:
    """Return the folder of an entry of the trash; raises ExplorerError if there is none."""
    if id not in {entry.id for entry in deleted(data_dir)}:
        raise ExplorerError("It is no longer in the trash: it has been restored or removed.")
    return _folder(data_dir) / id


def why_no_run(data_dir: Path, id: str) -> str:
    """Return why a data folder has no run with that id; the answer does not reveal whether somebody else has it."""
    for home in all_homes(data_dir):
        for entry in (entry for entry in deleted(home) if entry.name == id):
            with suppress(OSError, ValueError, KeyError, TypeError):  # its record is damaged
                record = parse_json((_folder(home) / entry.id / "runs" / id / "run.json").read_bytes())
                by = f" by {record['changed_by']}" if record.get("changed_by") else ""
                return f"The run {record['name']!r} was deleted{by}. It is in the trash on the page Runs."
    shared = ", is not shared any more" if class_root(data_dir) != data_dir else ""
    return f"There is no run with the id {id[:80]!r}. It was deleted for good{shared}, or the id is misspelled."


def restore(data_dir: Path, id: str) -> None:
    """Restore a run or text; raises ExplorerError if it is gone, or another one has its name."""
    place = place_of(data_dir, id)
    moved = [path for folder in place.iterdir() for path in folder.iterdir()]
    if any((data_dir / path.parent.name / path.name).exists() for path in moved):
        raise ExplorerError("It cannot be restored: another one has its name now. Delete that one first.")
    try:
        for path in moved:
            shutil.move(path, data_dir / path.parent.name / path.name)
    except OSError as error:
        raise ExplorerError(f"It cannot be restored: {error.strerror}.") from None
    shutil.rmtree(place, ignore_errors=True)


def empty_trash(data_dir: Path, older_than: float = _SECONDS) -> None:
    """Remove entries permanently that were deleted at least `older_than` seconds ago."""
    for entry in deleted(data_dir):
        if entry.time <= time.time() - older_than:
            with suppress(OSError):
                shutil.rmtree(_folder(data_dir) / entry.id)


def _folder(data_dir: Path) -> Path:
    return data_dir / "bin"  # names on disk stay as they were
