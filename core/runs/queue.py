"""Who trains next: the runs that wait, in order, and those that hold one of the machine's slots."""

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from core.errors import RunError
from core.runs.processes import ProcessId, is_alive, this_process

_TABLE = """CREATE TABLE IF NOT EXISTS runs (
    place INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT,   -- NULL while the run waits
    claimed REAL  -- seconds since 1970
)"""


class Claim(NamedTuple):
    """A run that holds a slot."""

    id: str
    owner: str
    since: float  # seconds since 1970


def is_held_by_a_shell(claim: Claim) -> bool:
    """Whether it is a shell's own process, alive, that trains the run, or will in a moment."""
    found = re.fullmatch(r"shell:(\d+):(.+)", claim.owner)
    if found is None:
        return False
    started = found[2] if ":" in found[2] else float(found[2])
    return is_alive(ProcessId(int(found[1]), started))


class Queue:
    """A queue on disk that any number of threads and processes may share: no run is ever claimed twice.

    SQLite with its rollback journal: it also works on network drives, leaves one file to back up, and knows nothing of
    the faults that its write-ahead log had before 3.51.3.

    Args:
        home: the queue lies in its runs folder.
        busy_seconds: how long to wait for another process that is writing.
    """

    def __init__(self, data_dir: Path, busy_seconds: float = 10.0):
        self._path = data_dir / "runs" / "queue.sqlite3"
        self._busy_seconds = busy_seconds
        with self._transaction() as database:
            database.execute(_TABLE)

    def put(self, id: str) -> None:
        """Let a run wait at the end; a run that waits or is claimed already keeps its place."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO runs (id) VALUES (?)", (id,))

    def claim(self, owner: str, slots: int | None = None) -> str | None:
        """Take the run that has waited longest; None if none waits, or if `slots` runs are claimed already."""
        with self._transaction() as database:
            (taken,) = database.execute("SELECT count(*) FROM runs WHERE owner IS NOT NULL").fetchone()
            first = database.execute("SELECT id FROM runs WHERE owner IS NULL ORDER BY place LIMIT 1").fetchone()
            if first is None or (slots is not None and taken >= slots):
                return None
            database.execute("UPDATE runs SET owner = ?, claimed = ? WHERE id = ?", (owner, time.time(), *first))
            return first[0]

    def take_from_shell(self, id: str) -> None:
        """Let a run hold a slot that this very process trains, be one free or not; another's claim stays its own."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO runs (id) VALUES (?)", (id,))
            taken = "UPDATE runs SET owner = ?, claimed = ? WHERE id = ? AND owner IS NULL"
            database.execute(taken, (_shell(), time.time(), id))

    def leave_to_others(self, id: str) -> None:
        """Give up what `take_from_shell` took."""
        with self._transaction() as database:
            database.execute("DELETE FROM runs WHERE id = ? AND owner = ?", (id, _shell()))

    def release(self, id: str) -> None:
        """Give a claim back: the run waits again, at the place it had."""
        with self._transaction() as database:
            database.execute("UPDATE runs SET owner = NULL, claimed = NULL WHERE id = ?", (id,))

    def remove(self, id: str) -> None:
        """Take a run out, whether it waits or is claimed."""
        with self._transaction() as database:
            database.execute("DELETE FROM runs WHERE id = ?", (id,))

    def waiting(self) -> list[str]:
        """The ids that wait, the next one first."""
        with self._transaction() as database:
            return [id for (id,) in database.execute("SELECT id FROM runs WHERE owner IS NULL ORDER BY place")]

    def active(self) -> list[Claim]:
        """The runs that are claimed, the oldest place first."""
        with self._transaction() as database:
            rows = database.execute("SELECT id, owner, claimed FROM runs WHERE owner IS NOT NULL ORDER BY place")
            return [Claim(*row) for row in rows]

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """A connection of its own, which a fork or another thread can never share, inside BEGIN IMMEDIATE."""
        try:
            connection = sqlite3.connect(self._path, timeout=self._busy_seconds, isolation_level=None)
            with closing(connection) as database:
                database.execute("PRAGMA synchronous = FULL")
                database.execute("BEGIN IMMEDIATE")
                yield database
                # Without this line, an exception inside the block, the transaction is rolled back on closing.
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise RunError(
                f"The queue of runs in {self._path} cannot be used ({error}). If the file is damaged, delete it: "
                "runs themselves are kept elsewhere, and can be resumed."
            ) from None


def _shell() -> str:
    me = this_process()
    return f"shell:{me.pid}:{me.started}"
