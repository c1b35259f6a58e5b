"""The record of a sweep on disk: what it varies, how, and the runs it has created, which are ordinary runs."""

import base64
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from core.atomic_io import lock, parse_json, write_json
from core.classroom import check_quota
from core.config import RunConfig
from core.errors import ConfigError, ExplorerError, RunError
from core.formatting import duration_in_words
from core.paths import all_homes, class_root, shared_names
from core.runs.ancestry import check_allowed, check_startable
from core.runs.folder import RUN_ID, RunFolder, open_run
from core.runs.machine import estimate_run
from core.runs.machine import slots as machine_slots
from core.runs.records import clean_name, friendly_name
from core.sweeps.space import (
    MAX_RUNS,
    MAX_SEEDS,
    METHODS,
    Dimension,
    MethodName,
    Values,
    check_dimensions,
    drawn_points,
    grid_points,
    grid_size,
)

State = Literal["running", "stopped", "finished"]
FIRST_POINTS = 12
_ESTIMATED = 8  # points from which the cost of all is estimated


class Point(BaseModel):
    """Values of the varied settings, with one run for each seed."""

    model_config = ConfigDict(frozen=True)

    values: dict[str, bool | int | float | str]
    runs: list[str] = []  # ids
    problem: str = ""  # why none of its runs could start
    expected: list[float] = []  # in a scaling study: the predicted loss with its bounds, nats/token


_FORMER_METHODS = {"chosen": "fixed_points"}  # names in older files


class SweepRecord(BaseModel):
    """The plan and the progress of a sweep (`sweep.json`)."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    created: str  # ISO 8601, UTC
    config: RunConfig  # of all runs, except for the varied settings and the seed
    dimensions: list[Dimension]
    method: MethodName
    size: int  # number of points
    seeds: int = 1  # runs of each point
    prune: bool = False
    state: State = "running"
    reason: str = ""  # why it stopped, or why none of its runs finished
    points: list[Point] = []  # so far
    ended: list[str] = []  # runs that need no further checks
    pruned: list[str] = []  # runs that were stopped because their loss was above the median
    pending: list[str] = []  # runs that have yet to be stopped, or resumed if the sweep is running
    budget: float = 0.0  # in a scaling study: floating-point operations of its largest runs

    @property
    def runs(self) -> list[str]:
        """The ids of all runs so far, oldest first."""
        return [run for point in self.points for run in point.runs]

    @property
    def total(self) -> int:
        """The number of runs of the complete sweep."""
        return self.size * self.seeds

    def config_of(self, values: Values, seed: int = 0) -> RunConfig:
        """Return the settings of a point's run with seed number `seed`, counted from 0; raises ConfigError."""
        config = self.config.replace(values)
        return config.replace({"train.seed": self.config.train.seed + seed})


class SweepCost(NamedTuple):
    """The expected cost of a sweep on this machine."""

    runs: int
    seconds: float  # until its end, with `at_a_time` runs at once
    at_a_time: int
    parameters: int  # of its largest model


class SweepFolder:
    """One sweep on disk. Any process may read it, but only one at a time may change it (`changing`)."""

    def __init__(self, path: Path):
        self.path, self.id = path, path.name
        self.record_path = path / "sweep.json"

    @property
    def data_dir(self) -> Path:
        """The data folder that contains its runs."""
        return self.path.parents[1]

    def record(self) -> SweepRecord:
        """Return the sweep's record; raises RunError if the file is missing or damaged."""
        try:
            data = parse_json(self.record_path.read_bytes())
            method = _FORMER_METHODS.get(data["method"], data["method"])
            parsed = {"id": self.id, "config": RunConfig.parse(data["config"]), "method": method}
            return SweepRecord.model_validate(data | parsed)
        except OSError:
            raise RunError(f"There is no sweep {self.id!r}. It was deleted, or the link is misspelled.") from None
        except (ValueError, ConfigError, KeyError, TypeError):  # pydantic's errors are ValueErrors
            raise RunError(f"The file sweep.json of sweep {self.id} is damaged.") from None

    def write(self, record: SweepRecord) -> SweepRecord:
        """Replace the record; raises RunError if it cannot be written."""
        try:
            write_json(self.record_path, record.model_dump(mode="json", exclude={"id"}))
        except OSError as error:
            raise RunError(f"The sweep {record.name!r} cannot be saved ({error.strerror}).") from None
        return record

    @contextmanager
    def changing(self) -> Iterator[SweepRecord]:
        """Lock the sweep for a change of its record, and yield the current record."""
        record = self.record()
        try:
            file = (self.path / ".lock").open("ab")
        except OSError as error:
            raise RunError(f"The sweep {record.name!r} cannot be changed ({error.strerror}).") from None
        with file:
            lock(file)
            yield self.record()

    def runs(self, record: SweepRecord) -> list[RunFolder]:
        """Return the runs that still exist, oldest first."""
        runs = []
        for id in record.runs:
            with suppress(RunError):
                runs.append(open_run(self.data_dir, id))
        return runs


def list_sweeps(data_dir: Path) -> list[SweepFolder]:
    """Return every sweep of a data folder, newest first; for a class's folder, including those of all members."""
    paths: list[Path] = []
    for home in all_homes(data_dir):
        with suppress(FileNotFoundError):
            paths += [path for path in (home / "sweeps").iterdir() if RUN_ID.fullmatch(path.name)]
    return [SweepFolder(path) for path in sorted(paths, key=lambda path: path.name, reverse=True)]


def open_sweep(data_dir: Path, id: str) -> SweepFolder:
    """Return the sweep for an id or its prefix, a name or `latest`; raises RunError if not exactly one fits."""
    sweeps = list_sweeps(data_dir)
    if id == "latest" and sweeps:
        return sweeps[0]
    matches = [sweep for sweep in sweeps if id and sweep.id.startswith(id)]
    matches = matches or [sweep for sweep in sweeps if _name_of(sweep) == id]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise RunError(f"{id!r} matches {len(matches)} sweeps: {', '.join(each.id for each in matches[:5])}.")
    raise RunError(f"There is no sweep {id[:80]!r}. It was deleted, or the link is misspelled.")


def single_runs(data_dir: Path, runs: Iterable[RunFolder]) -> Iterator[RunFolder]:
    """Yield the runs that do not belong to a sweep: lists fold sweeps' runs, because dozens would hide a user's own.

    Runs whose sweep was deleted, and runs shared with a class, count as not belonging to a sweep.
    """
    of_sweeps = {id for sweep in list_sweeps(data_dir) for id in _run_ids(sweep)}
    of_sweeps.difference_update(shared_names(class_root(data_dir)))
    return (run for run in runs if run.id not in of_sweeps)


def _run_ids(sweep: SweepFolder) -> tuple[str, ...]:
    try:
        file = sweep.record_path.stat()
        return _run_ids_in(sweep.path, file.st_ino, file.st_mtime_ns)  # each write creates a new file
    except (OSError, ExplorerError):  # deleted meanwhile, or damaged
        return ()


@lru_cache(maxsize=512)
def _run_ids_in(path: Path, *_version: int) -> tuple[str, ...]:
    return tuple(SweepFolder(path).record().runs)


def planned(
    config: RunConfig,
    dimensions: Sequence[Dimension],
    method: MethodName = "tpe",
    *,
    points: int | None = None,
    seeds: int = 1,
    prune: bool | None = None,
    name: str = "",
    fixed_points: Sequence[Values] = (),
    budget: float = 0.0,
) -> SweepRecord:
    """Return the record of a new sweep without writing it; raises ConfigError if it is impossible or too large.

    `points` defaults to FIRST_POINTS; a grid always has all its points. `fixed_points` are for the method of that name.
    """
    if method == "fixed_points":
        size = len(fixed_points)
    else:
        check_dimensions(config, dimensions, as_grid=method == "grid")
        size = grid_size(dimensions) if method == "grid" else FIRST_POINTS if points is None else points
    if not 1 <= seeds <= MAX_SEEDS:
        raise ConfigError(f"The number of seeds is 1 to {MAX_SEEDS}, not {seeds}.")
    if size < 1:
        raise ConfigError("A sweep of zero runs trains nothing. Choose at least one.")
    if size * seeds > MAX_RUNS:
        raise ConfigError(f"This sweep has {size * seeds:,} runs, and a sweep has at most {MAX_RUNS}.")
    now = datetime.now(UTC)
    suffix = base64.b32encode(secrets.token_bytes(10)).decode().lower()[:12]
    return SweepRecord(
        id=f"{now:%Y%m%d-%H%M%S}-{suffix}",
        name=clean_name(name) if name else friendly_name(secrets.token_bytes(8)),
        created=now.isoformat(timespec="seconds"),
        config=config,
        dimensions=list(dimensions),
        method=method,
        size=size,
        seeds=seeds,
        prune=METHODS[method].learns if prune is None else prune,
        points=[Point(values=values) for values in fixed_points],
        budget=budget,
    )


def create_sweep(data_dir: Path, record: SweepRecord) -> SweepFolder:
    """Write a planned sweep in state "running"; raises ExplorerError if its runs could not start."""
    check_quota(data_dir)
    for values in _sample(record):
        config = record.config_of(values)
        check_allowed(data_dir, config, check_startable(data_dir, config))
    folder = SweepFolder(data_dir / "sweeps" / record.id)
    try:
        folder.path.mkdir(parents=True)
    except OSError as error:
        raise RunError(f"A new sweep cannot be written to {folder.path.parent} ({error.strerror}).") from None
    folder.write(record)
    return folder


def expected_cost(data_dir: Path, record: SweepRecord, vocab_size: int, at_a_time: int | None = None) -> SweepCost:
    """Estimate a sweep's cost without pruning, from the cost of all its points or of a sample."""
    slots = at_a_time or machine_slots()
    costs = [estimate_run(record.config_of(values), vocab_size, data_dir) for values in _sample(record)]
    mean = sum(cost.seconds for cost in costs) / len(costs)
    rounds = max(1.0, record.total / slots)
    return SweepCost(record.total, mean * rounds, min(slots, record.total), max(cost.parameters for cost in costs))


def cost_in_words(cost: SweepCost) -> str:
    """Return `12 runs, about 6 min at this machine's speed, 2 at a time`: hosts of a cluster may be faster."""
    runs = "1 run" if cost.runs == 1 else f"{cost.runs} runs"
    return f"{runs}, about {duration_in_words(cost.seconds)} at this machine's speed, {cost.at_a_time} at a time"


def delete_sweep(folder: SweepFolder) -> None:
    """Remove the record of a sweep and keep its runs. Raises RunError while the sweep is running."""
    with folder.changing() as record:
        if record.state == "running":
            raise RunError(f"The sweep {record.name!r} is running. Stop it before deleting it.")
        shutil.rmtree(folder.path, ignore_errors=True)


def _sample(record: SweepRecord) -> list[Values]:
    """Return points for a cost estimate: all fixed points, some points of a grid, or some drawn points."""
    if record.method == "fixed_points":
        return [point.values for point in record.points]
    if record.method == "grid":
        points = list(grid_points(record.dimensions))
        return points[:: max(1, len(points) // _ESTIMATED)]
    return drawn_points(record.config, record.dimensions, min(_ESTIMATED, record.size))


def _name_of(sweep: SweepFolder) -> str | None:
    try:
        return sweep.record().name
    except ExplorerError:
        return None
