"""The SQLite queue of waiting and training runs, and the supervisor lock."""

import re
import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from core.atomic_io import lock
from core.errors import RunError
from core.paths import class_root
from core.runs.processes import ProcessId, is_alive, this_process

_TABLE = """CREATE TABLE IF NOT EXISTS runs (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT,   -- NULL while the run waits
    claimed REAL, -- seconds since 1970
    member TEXT NOT NULL DEFAULT '',  -- of a class: the owner of the run
    round INTEGER NOT NULL DEFAULT 0
)"""
# Columns that queues of earlier versions lack; their runs come first.
_ADDED_COLUMNS = {"member": "TEXT NOT NULL DEFAULT ''", "round": "INTEGER NOT NULL DEFAULT 0"}
_ROUNDS = "CREATE TABLE IF NOT EXISTS rounds (member TEXT PRIMARY KEY, last INTEGER NOT NULL)"
_REACHED = ""  # key in `rounds` for the highest round claimed so far; no member has this name
_NEXT = """SELECT id, round, member FROM runs WHERE owner IS NULL ORDER BY (
    SELECT count(*) FROM runs AS active WHERE active.owner IS NOT NULL AND active.member = runs.member
), round, place"""
_BUSY = "SELECT member FROM runs WHERE owner IS NOT NULL AND member != '' GROUP BY member HAVING count(*) >= ?"
_LOCK_NAME = "supervisor.lock"


class Claim(NamedTuple):
    """A run that holds a slot."""

    id: str
    owner: str
    since: float  # seconds since 1970


def is_held_by_a_shell(claim: Claim) -> bool:
    """Return whether a live command-line process is training the run or about to."""
    match = re.fullmatch(r"shell:(\d+):(.+)", claim.owner)
    if match is None:
        return False
    started = match[2] if ":" in match[2] else float(match[2])
    return is_alive(ProcessId(int(match[1]), started))


class Queue:
    """A queue on disk that any number of threads and processes may share: no run is ever claimed twice.

    SQLite's rollback journal also works on network drives, leaves one file to back up, and avoids the bugs of its
    write-ahead log before 3.51.3.
    """

    def __init__(self, data_dir: Path, busy_seconds: float = 10.0):
        self._path = class_root(data_dir) / "runs" / "queue.sqlite3"
        self._busy_seconds = busy_seconds  # to wait while another process is writing
        with self._transaction() as database:
            database.execute(_TABLE)
            columns = {row[1] for row in database.execute("PRAGMA table_info(runs)")}
            for name in _ADDED_COLUMNS.keys() - columns:
                database.execute(f"ALTER TABLE runs ADD COLUMN {name} {_ADDED_COLUMNS[name]}")
            database.execute(_ROUNDS)

    def put(self, id: str, member: str = "") -> None:
        """Add a run at the end; one that is already waiting or claimed keeps its place.

        Members of a class take turns: a member's n-th run comes after the first n - 1 runs of every other member.
        """
        with self._transaction() as database:
            _put(database, id, member)

    def claim(
        self, owner: str, slots: int | None = None, most_of_one: int | None = None, but: Collection[str] = ()
    ) -> str | None:
        """Claim the next run, excluding `but`; None if none is waiting, or `slots` runs are claimed already.

        Members with the fewest claimed runs come first, then the lowest round, then the longest wait. At most
        `most_of_one` runs of each member are claimed at a time.
        """
        with self._transaction() as database:
            (taken,) = database.execute("SELECT count(*) FROM runs WHERE owner IS NOT NULL").fetchone()
            busy = {name for (name,) in database.execute(_BUSY, (most_of_one,))} if most_of_one else set()
            first = next(
                (row for row in database.execute(_NEXT).fetchall() if row[2] not in busy and row[0] not in but), None
            )
            if first is None or (slots is not None and taken >= slots):
                return None
            id, number, _member = first
            database.execute("UPDATE runs SET owner = ?, claimed = ? WHERE id = ?", (owner, time.time(), id))
            if number > _last_round(database, _REACHED):
                database.execute("INSERT OR REPLACE INTO rounds VALUES (?, ?)", (_REACHED, number))
            return id

    def claim_for_shell(self, id: str) -> None:
        """Claim a slot, even if none is free, for a run that this process trains; keep another owner's claim."""
        with self._transaction() as database:
            _put(database, id)
            taken = "UPDATE runs SET owner = ?, claimed = ? WHERE id = ? AND owner IS NULL"
            database.execute(taken, (_shell(), time.time(), id))

    def release_from_shell(self, id: str) -> None:
        """Remove the claim of `claim_for_shell`."""
        self._execute("DELETE FROM runs WHERE id = ? AND owner = ?", (id, _shell()))

    def release(self, id: str) -> None:
        """Remove a claim: the run waits again at its former place."""
        self._execute("UPDATE runs SET owner = NULL, claimed = NULL WHERE id = ?", (id,))

    def remove(self, id: str) -> None:
        """Remove a run, waiting or claimed."""
        self._execute("DELETE FROM runs WHERE id = ?", (id,))

    def waiting(self) -> list[str]:
        """Return the ids of waiting runs, the next one first."""
        return [id for id, *_rest in self._execute(_NEXT)]

    def count_of(self, member: str) -> int:
        """Return how many of a member's runs are waiting or claimed."""
        return self._execute("SELECT count(*) FROM runs WHERE member = ?", (member,))[0][0]

    def active(self) -> list[Claim]:
        """Return the claimed runs, the oldest place first."""
        rows = self._execute("SELECT id, owner, claimed FROM runs WHERE owner IS NOT NULL ORDER BY place")
        return [Claim(*row) for row in rows]

    def _execute(self, statement: str, values: tuple[object, ...] = ()) -> list[Any]:
        with self._transaction() as database:
            return database.execute(statement, values).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Open a separate connection, not shared between threads, inside BEGIN IMMEDIATE."""
        try:
            connection = sqlite3.connect(self._path, timeout=self._busy_seconds, isolation_level=None)
            with closing(connection) as database:
                database.execute("PRAGMA synchronous = FULL")
                database.execute("BEGIN IMMEDIATE")
                yield database
                database.execute("COMMIT")  # after an exception inside the block, closing rolls back
        except sqlite3.Error as error:
            raise RunError(
                f"The queue of runs in {self._path} cannot be used ({error}). If the file is damaged, delete it: "
                "runs themselves are kept elsewhere, and can be resumed."
            ) from None


def _put(database: sqlite3.Connection, id: str, member: str = "") -> None:
    if database.execute("SELECT 1 FROM runs WHERE id = ?", (id,)).fetchone():
        return
    number = 1 + max(_last_round(database, name) for name in {_REACHED, member})
    database.execute("INSERT INTO runs (id, member, round) VALUES (?, ?, ?)", (id, member, number))
    if member:
        database.execute("INSERT OR REPLACE INTO rounds VALUES (?, ?)", (member, number))


def _last_round(database: sqlite3.Connection, member: str) -> int:
    row = database.execute("SELECT last FROM rounds WHERE member = ?", (member,)).fetchone()
    return row[0] if row else 0


def _shell() -> str:
    me = this_process()
    return f"shell:{me.pid}:{me.started}"


@contextmanager
def supervisor_lock(runs: Path) -> Iterator[None]:
    """Lock a folder of runs for one supervisor among all threads and processes; raises RunError if that fails.

    A class's supervisor handles the runs of all members, so their folders share one lock.
    """
    try:
        file = _lock_path(runs).open("ab")
    except OSError as error:
        raise RunError(
            f"The runs in {runs} cannot be managed ({error.strerror}). Check that the folder exists and can be "
            "written to."
        ) from None
    with file:
        lock(file)
        yield


def existing_supervisor_lock(runs: Path) -> AbstractContextManager[None]:
    """Return the supervisor lock for a worker or a shell, or no lock if no supervisor has ever created its file."""
    return supervisor_lock(runs) if _lock_path(runs).exists() else nullcontext()


def _lock_path(runs: Path) -> Path:
    return class_root(runs.parent) / runs.name / _LOCK_NAME
