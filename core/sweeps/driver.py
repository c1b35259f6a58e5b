"""Execution of sweeps: queue new runs as others end, prune runs; stop, resume and extend a sweep.

All state of a sweep is on disk, so any process can continue where a killed one stopped.
"""

import logging
import threading
from pathlib import Path

from core.class_records import ClassError
from core.classroom import settings_of_class
from core.errors import ConfigError, ExplorerError, RunError
from core.runs.ancestry import new_run
from core.runs.folder import list_runs
from core.runs.records import NAME_LENGTH
from core.runs.supervisor import Supervisor
from core.sweeps.folder import Point, SweepFolder, SweepRecord, list_sweeps
from core.sweeps.results import outcome_of, sweep_results, why_none_finished
from core.sweeps.search import next_point, runs_to_prune
from core.sweeps.space import MAX_RUNS, METHODS

TICK_SECONDS = 1.0
_MAX_REFUSED = 5  # points in a row whose runs could not start
_PRUNED_BY = "median pruning"
_TIME = len("YYYYmmdd-HHMMSS")  # the first characters of an id
_ENDED = ("finished", "pruned", "diverged", "stopped", "failed", "deleted")

log = logging.getLogger(__name__)


def advance(sweep: SweepFolder, supervisor: Supervisor) -> SweepRecord:
    """Check a sweep once: record ended runs, prune, start the next runs, end a complete sweep; return its record."""
    with sweep.changing() as record:
        if record.pending:
            record = _change_pending(sweep, record, supervisor)
        if record.state != "running":
            return record
        before, record = record, _with_ended(sweep, record)
        if record.prune:
            record = _prune(sweep, record, supervisor)
        record = _begin_runs(sweep, record, supervisor)
        _queue_lost_runs(sweep, record, supervisor)
        if _is_complete(record) and len(record.ended) >= len(record.runs):
            reason = why_none_finished(sweep_results(sweep, record))
            record = record.model_copy(update={"state": "finished", "reason": reason})
        return sweep.write(record) if record != before else record


def stop_sweep(sweep: SweepFolder, supervisor: Supervisor) -> SweepRecord:
    """Start no more runs, and save and stop those that are training or waiting."""
    with sweep.changing() as record:
        if record.state != "running":
            return record
        going = [run.id for run in sweep.runs(record) if not run.status().ended]
        changes = {"state": "stopped", "reason": "", "pending": going}
        return _change_pending(sweep, sweep.write(record.model_copy(update=changes)), supervisor)


def resume_sweep(sweep: SweepFolder, supervisor: Supervisor) -> SweepRecord:
    """Continue a stopped sweep: first its stopped runs, then the missing ones."""
    with sweep.changing() as record:
        if record.state == "running":
            raise RunError(f"The sweep {record.name!r} is already running.")
        if record.state == "finished":
            raise RunError(f"The sweep {record.name!r} has trained all its runs. Extend it to train more.")
        states = {run.id: run.status() for run in sweep.runs(record) if run.id not in record.pruned}
        resumed = [id for id, status in states.items() if status.state == "stopped" or not status.ended]
        ended = [id for id in record.ended if id not in resumed]
        changes = {"state": "running", "reason": "", "ended": ended, "pending": resumed}
        return _change_pending(sweep, sweep.write(record.model_copy(update=changes)), supervisor)


def _change_pending(sweep: SweepFolder, record: SweepRecord, supervisor: Supervisor) -> SweepRecord:
    """Stop the pending runs of a stopped sweep, or resume those of a running one; errors are raised at the end.

    Pending runs are in the record, so that another process continues if this one is killed in between. A run that is
    still saving, because its sweep was resumed right after a stop, stays pending until it has stopped.
    """
    saving, problem = list[str](), None
    for run in sweep.runs(record):
        if run.id not in record.pending:
            continue
        try:
            if record.state != "running":
                supervisor.stop(run, by="its sweep" if record.reason else "")
            elif (status := run.status()).state == "stopped":
                supervisor.resume(run)
            elif not status.ended and status.state != "queued":
                saving.append(run.id)
        except ExplorerError as error:  # such as a full disk
            problem = error
    if saving != record.pending:
        record = sweep.write(record.model_copy(update={"pending": saving}))
    if problem:
        raise problem
    return record


def extend_sweep(sweep: SweepFolder, more: int) -> SweepRecord:
    """Add `more` points to a sweep; a grid, which already has all its points, continues with TPE in the same ranges."""
    with sweep.changing() as record:
        if more < 1:
            raise ConfigError(f"A sweep is extended by at least one point, not by {more}.")
        if record.method == "fixed_points":
            raise ConfigError("The sizes of a scaling study cannot be extended. Start another study with more sizes.")
        if (total := (record.size + more) * record.seeds) > MAX_RUNS:
            raise ConfigError(f"The sweep would have {total:,} runs, and a sweep has at most {MAX_RUNS}.")
        method = "tpe" if record.method == "grid" else record.method
        changes = {"size": record.size + more, "method": method, "state": "running", "reason": ""}
        return sweep.write(record.model_copy(update=changes | {"pending": list[str]()}))


def _with_ended(sweep: SweepFolder, record: SweepRecord) -> SweepRecord:
    open_ids = [id for id in record.runs if id not in record.ended and id not in record.pending]
    ended = [id for id in open_ids if outcome_of(sweep, record, id).state in _ENDED]
    return record.model_copy(update={"ended": [*record.ended, *ended]}) if ended else record


def _prune(sweep: SweepFolder, record: SweepRecord, supervisor: Supervisor) -> SweepRecord:
    runs = runs_to_prune(sweep, record) if len(record.ended) < len(record.runs) else []
    if runs:  # recorded first, so that a killed process leaves no run that is stopped without a reason
        record = sweep.write(record.model_copy(update={"pruned": [*record.pruned, *(run.id for run in runs)]}))
    for run in runs:
        supervisor.stop(run, by=_PRUNED_BY)
    return record


def _begin_runs(sweep: SweepFolder, record: SweepRecord, supervisor: Supervisor) -> SweepRecord:
    """Create and queue runs until all slots are used, plus one if the method does not learn from results."""
    ahead = max(1, supervisor.slots) + (not METHODS[record.method].learns)
    record = _adopt(sweep, record)
    while len(record.runs) - len(record.ended) < ahead and _has_place(sweep.data_dir, supervisor):
        place = next((place for place, point in enumerate(record.points) if _is_open(point, record)), None)
        if place is None and len(record.points) < record.size:
            try:
                values = next_point(record, sweep_results(sweep, record))
            except ConfigError as error:
                return record.model_copy(update={"state": "stopped", "reason": str(error)})
            record = sweep.write(record.model_copy(update={"points": [*record.points, Point(values=values)]}))
            place = len(record.points) - 1
        if place is None:
            break
        record = _begin_run(sweep, record, place, supervisor)
        refused = [point.problem for point in record.points[-_MAX_REFUSED:] if point.problem]
        if len(refused) == _MAX_REFUSED:
            reason = f"It stopped because its last {_MAX_REFUSED} runs could not start. {refused[-1]}"
            return sweep.write(record.model_copy(update={"state": "stopped", "reason": reason}))
    return record


def _begin_run(sweep: SweepFolder, record: SweepRecord, place: int, supervisor: Supervisor) -> SweepRecord:
    point, number = record.points[place], len(record.points[place].runs)
    try:
        config = record.config_of(point.values, number)
        run = new_run(sweep.data_dir, config, _name_of_run(record, place))
        run.update_record(sweep=record.id)
    except ExplorerError as error:
        return _with_point(sweep, record, place, point.model_copy(update={"problem": str(error)}))
    record = _with_point(sweep, record, place, point.model_copy(update={"runs": [*point.runs, run.id]}))
    supervisor.submit(run)
    return record


def _name_of_run(record: SweepRecord, place: int) -> str:
    """Return the name of the next run of a point."""
    suffix = f" {place + 1}" + (f" seed {len(record.points[place].runs) + 1}" if record.seeds > 1 else "")
    return record.name[: NAME_LENGTH - len(suffix)] + suffix


def _with_point(sweep: SweepFolder, record: SweepRecord, place: int, point: Point) -> SweepRecord:
    points = [*record.points[:place], point, *record.points[place + 1 :]]
    return sweep.write(record.model_copy(update={"points": points}))


def _adopt(sweep: SweepFolder, record: SweepRecord) -> SweepRecord:
    """Add a run to the record that a killed process created for the sweep but did not record."""
    place = next((place for place, point in enumerate(record.points) if _is_open(point, record)), None)
    if place is None:
        return record
    point, recorded, name = record.points[place], {*record.runs}, _name_of_run(record, place)
    for run in list_runs(sweep.data_dir):
        if run.id[:_TIME] < record.id[:_TIME]:
            break  # older than the sweep
        if run.id in recorded or run.name != name or run.problem:
            continue
        if run.record().config == record.config_of(point.values, len(point.runs)):
            run.update_record(sweep=record.id)
            return _with_point(sweep, record, place, point.model_copy(update={"runs": [*point.runs, run.id]}))
    return record


def _queue_lost_runs(sweep: SweepFolder, record: SweepRecord, supervisor: Supervisor) -> None:
    """Queue runs that a killed process recorded but did not queue."""
    waiting = [run for run in sweep.runs(record) if run.id not in record.ended and run.status().state == "queued"]
    queued = {*supervisor.queue.waiting(), *(claim.id for claim in supervisor.queue.active())} if waiting else set()
    for run in waiting:
        if run.id not in queued:
            supervisor.submit(run)


def _is_open(point: Point, record: SweepRecord) -> bool:
    return not point.problem and len(point.runs) < record.seeds


def _is_complete(record: SweepRecord) -> bool:
    return len(record.points) >= record.size and not any(_is_open(point, record) for point in record.points)


def _has_place(data_dir: Path, supervisor: Supervisor) -> bool:
    """Return whether the owner may queue one more run now; a class limits each member's runs."""
    try:
        limits = settings_of_class(data_dir)
    except ClassError:
        return False
    if limits is None:
        return True
    most = limits.most_running + limits.most_waiting
    return not limits.paused and supervisor.queue.count_of(data_dir.name) < most


class SweepDriver:
    """A thread that advances all running sweeps of a data folder, including those of class members."""

    def __init__(self, supervisor: Supervisor):
        self._supervisor = supervisor
        self._closing = threading.Event()
        self._idle: dict[Path, tuple[int, int]] = {}  # sweeps that are not running, and versions of their records
        self._thread = threading.Thread(target=self._watch, name="sweeps", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self) -> None:
        """Stop the thread. Runs keep training."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def check(self) -> None:
        """Advance all running sweeps once."""
        for sweep in list_sweeps(self._supervisor.data_dir):
            try:
                file = sweep.record_path.stat()
                version = file.st_ino, file.st_mtime_ns  # each write creates a new file
                if self._idle.get(sweep.path) == version:
                    continue
                if advance(sweep, self._supervisor).state != "running":
                    self._idle[sweep.path] = version  # read before, so that another process's write is seen next time
            except FileNotFoundError:  # deleted meanwhile
                continue
            except ExplorerError as error:  # damaged, or on a full disk
                log.warning("sweep %s: %s", sweep.id, error)

    def _watch(self) -> None:
        while not self._closing.wait(TICK_SECONDS):
            try:
                self.check()
            except Exception:  # the thread continues
                log.exception("a check of the sweeps failed")
