"""A class: its members, how they join, and what the teacher has set, in one SQLite file of the class's data folder.

Nothing personal is kept: a member is a nickname and a random id. A signed cookie identifies who asks.
"""

import json
import secrets
import shutil
import sqlite3
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from itsdangerous import BadData, URLSafeTimedSerializer
from pydantic import BaseModel

from core.errors import ExplorerError
from core.formatting import memory_in_words
from core.paths import class_root, made_data_dir, member_home, member_homes
from core.trash import empty_trash

STUDENT_SECONDS, TEACHER_SECONDS = 14 * 86400, 12 * 3600  # that a cookie is valid
LONGEST_NICKNAME = 24
MOST_MEMBERS = 300
LONGEST_QUESTION, LONGEST_CHOICE, MOST_CHOICES = 200, 60, 6
_SYLLABLES = [f"{consonant}{vowel}" for consonant in "bdfghklmnprstvz" for vowel in "aeiou"]
_FILE, _TEACHER = "class.sqlite3", "teacher"
_ERASE_TRIES, _ERASE_WAIT = 50, 0.1  # seconds
_TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS members (
    id TEXT PRIMARY KEY,
    nickname TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,  -- the nickname without case and compatibility forms
    joined REAL NOT NULL,      -- seconds since 1970
    session INTEGER NOT NULL,  -- cookies of earlier ones are invalid
    may_return INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS predictions (member TEXT PRIMARY KEY, choice TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    member TEXT, question TEXT, response TEXT, expected TEXT, is_right INTEGER, tries INTEGER,
    PRIMARY KEY (member, question)
);
CREATE TABLE IF NOT EXISTS handed_in (member TEXT, run TEXT, PRIMARY KEY (member, run));
"""


class ClassError(ExplorerError):
    """A request that this class does not allow, in a sentence for whoever asked."""


class Visitor(NamedTuple):
    """Who asks: a student of the class, its teacher, or whoever uses an app without a class."""

    member: str = ""  # a student's id
    nickname: str = ""
    is_teacher: bool = True  # sees and does everything, as the only user of an app without a class

    def home(self, root: Path) -> Path:
        """Return the data folder with what is the visitor's own."""
        return root if self.is_teacher else made_data_dir(member_home(root, self.member))


class Member(NamedTuple):
    """A student of the class."""

    id: str
    nickname: str
    joined: float  # seconds since 1970
    may_return: bool  # under the same nickname, from another browser


class Answer(NamedTuple):
    """A student's last answer to a question of a lesson."""

    member: str
    question: str  # lesson and step
    response: str
    expected: str  # for the text and the seed that the student chose
    is_right: bool
    tries: int


class ClassSettings(BaseModel):
    """What the teacher sets."""

    frozen: bool = False  # students can look, but start and change nothing
    message: str = ""  # shown on all pages
    question: str = ""  # whose answer the class predicts before the runs are done
    choices: list[str] = []
    revealed: bool = False
    page: str = ""  # to which the students were brought last
    page_query: dict[str, str] = {}
    page_number: int = 0  # how often they were
    most_running: int = 1  # of one student
    most_waiting: int = 1
    most_parameters: int = 3_000_000
    most_minutes: float = 15.0  # that a run is expected to take
    most_megabytes: int = 500  # of one student's runs and texts


class Classroom:
    """One class. Any number of threads and processes may use it."""

    def __init__(self, root: Path, title: str = ""):
        self.root, self._path = root, root / _FILE
        with self._transaction() as database:
            for statement in filter(str.strip, _TABLES.split(";\n")):
                database.execute(statement)
            made = {
                "title": _printable(title)[:80] or "Class",
                "code": "-".join("".join(secrets.choice(_SYLLABLES) for _ in range(2)) for _ in range(2)),
                "teacher_key": secrets.token_urlsafe(18),
                "secret": secrets.token_urlsafe(32),
                "teacher_session": 1,
            }
            for name, value in made.items():
                database.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", (name, json.dumps(value)))
            if title:
                _set(database, "title", made["title"])
            self.title, self.code, self.teacher_key = (_get(database, n) for n in ("title", "code", "teacher_key"))
            self._serializer = URLSafeTimedSerializer(_get(database, "secret"), salt="visitor")

    def join(self, code: str, nickname: str) -> str:
        """Return the cookie of a new member, or of one that may return; raises ClassError where it cannot be."""
        if not secrets.compare_digest(_plain_code(code).encode(), _plain_code(self.code).encode()):
            raise WrongCode("This is not the code of this class. Ask your teacher for it.")
        nickname = checked_nickname(nickname)
        key = unicodedata.normalize("NFKC", nickname).casefold()
        with self._transaction() as database:
            row = database.execute("SELECT id, session, may_return FROM members WHERE key = ?", (key,)).fetchone()
            if row and not row[2]:
                raise ClassError(
                    f"The nickname {nickname!r} is taken. Choose another one; if it is yours, ask your teacher to let "
                    "you in again."
                )
            if row:
                id, session = row[0], row[1] + 1
                database.execute("UPDATE members SET session = ?, may_return = 0 WHERE id = ?", (session, id))
            else:
                (count,) = database.execute("SELECT count(*) FROM members").fetchone()
                if count >= MOST_MEMBERS:
                    raise ClassError(f"This class has {MOST_MEMBERS} members, and no more can join.")
                id, session = secrets.token_hex(8), 1
                values = (id, nickname, key, time.time(), session)
                database.execute("INSERT INTO members VALUES (?, ?, ?, ?, ?, 0)", values)
        made_data_dir(member_home(self.root, id))
        return self._serializer.dumps([id, session])

    def teach(self, key: str) -> str:
        """Return the teacher's cookie for the key in the teacher's link; raises ClassError for another."""
        if not secrets.compare_digest(key.strip().encode(), self.teacher_key.encode()):
            raise WrongCode("This is not the link of this class's teacher. The terminal shows it.")
        with self._transaction() as database:
            return self._serializer.dumps([_TEACHER, _get(database, "teacher_session")])

    def visitor(self, cookie: str) -> Visitor | None:
        """Return whose cookie it is; None for one that is not ours, too old, or of a member that has been removed."""
        try:
            (id, session), signed = self._serializer.loads(cookie, STUDENT_SECONDS, return_timestamp=True)
        except (BadData, ValueError, TypeError):
            return None
        with self._transaction(writes=False) as database:
            if id == _TEACHER:
                is_valid = session == _get(database, "teacher_session")
                return Visitor() if is_valid and time.time() - signed.timestamp() < TEACHER_SECONDS else None
            row = database.execute("SELECT nickname FROM members WHERE id = ? AND session = ?", (id, session))
            row = row.fetchone()
        return Visitor(id, row[0], is_teacher=False) if row else None

    def members(self) -> list[Member]:
        """Return the students, in the order of their nicknames."""
        with self._transaction(writes=False) as database:
            rows = database.execute("SELECT id, nickname, joined, may_return FROM members ORDER BY key").fetchall()
        return [Member(id, nickname, joined, bool(may_return)) for id, nickname, joined, may_return in rows]

    def let_in_again(self, member: str) -> None:
        """End a member's session, and let whoever joins under the same nickname go on with its runs."""
        with self._transaction() as database:
            database.execute("UPDATE members SET session = session + 1, may_return = 1 WHERE id = ?", (member,))

    @property
    def settings(self) -> ClassSettings:
        """What the teacher has set."""
        with self._transaction(writes=False) as database:
            row = database.execute("SELECT value FROM settings WHERE name = 'class'").fetchone()
        return ClassSettings.model_validate_json(row[0]) if row else ClassSettings()

    def change(self, **settings: Any) -> ClassSettings:
        """Change some of the settings, and return them all."""
        changed = ClassSettings.model_validate(self.settings.model_dump() | settings)
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO settings VALUES ('class', ?)", (changed.model_dump_json(),))
        return changed

    def ask(self, question: str, choices: Sequence[str]) -> None:
        """Ask the class to predict one of some answers; raises ClassError where there are too few or too many."""
        question = _printable(question)[:LONGEST_QUESTION]
        named = list(dict.fromkeys(filter(None, (_printable(choice)[:LONGEST_CHOICE] for choice in choices))))
        if not question or not 2 <= len(named) <= MOST_CHOICES:
            raise ClassError(f"Write a question and 2 to {MOST_CHOICES} different answers.")
        with self._transaction() as database:
            database.execute("DELETE FROM predictions")
        self.change(question=question, choices=named, revealed=False)

    def predict(self, member: str, choice: str) -> None:
        """Note what a member predicts; raises ClassError for no answer of the question, or once it is revealed."""
        now = self.settings
        if choice not in now.choices or now.revealed:
            raise ClassError("This question is closed. Wait for the next one.")
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO predictions VALUES (?, ?)", (member, choice))

    def predictions(self) -> dict[str, str]:
        """Return what each member predicts."""
        with self._transaction(writes=False) as database:
            return dict(database.execute("SELECT member, choice FROM predictions").fetchall())

    def note_answer(self, member: str, question: str, response: str, expected: str, *, is_right: bool) -> None:
        """Note a student's answer to a question of a lesson; one that was right stays right."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT is_right, tries FROM answers WHERE member = ? AND question = ?", (member, question)
            ).fetchone()
            if row and row[0]:
                return
            values = (member, question, response[:LONGEST_CHOICE], expected[:LONGEST_CHOICE], is_right)
            tries = 1 + (row[1] if row else 0)
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?)", (*values, tries))

    def answers(self) -> list[Answer]:
        """Return all answers, by question."""
        with self._transaction(writes=False) as database:
            rows = database.execute("SELECT * FROM answers ORDER BY question, rowid").fetchall()
        return [Answer(*row[:4], is_right=bool(row[4]), tries=row[5]) for row in rows]

    def hand_in(self, member: str, run: str) -> None:
        """Hand a run in to the teacher."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO handed_in VALUES (?, ?)", (member, run))

    def handed_in(self) -> list[tuple[str, str]]:
        """Return the member and the run of all that was handed in, in that order."""
        with self._transaction(writes=False) as database:
            return database.execute("SELECT member, run FROM handed_in ORDER BY rowid").fetchall()

    def erase(self) -> None:
        """Remove all members with their runs and texts, what was shared, and the settings. Runs must have ended.

        Raises ClassError where something is left.
        """
        with self._transaction() as database:
            database.execute("DELETE FROM members")
            for table in ("predictions", "answers", "handed_in"):
                database.execute(f"DELETE FROM {table}")
            database.execute("DELETE FROM settings WHERE name = 'class'")
        # From now on nobody makes a folder for a member anew; what was under way may still write a file.
        left = [*member_homes(self.root), self.root / "shared"]
        for _ in range(_ERASE_TRIES):
            for folder in left:
                shutil.rmtree(folder, ignore_errors=True)
            if not (left := [folder for folder in left if folder.exists()]):
                return
            time.sleep(_ERASE_WAIT)
        raise ClassError(f"Not all could be erased: {len(left)} folders are in use. Stop all runs and erase once more.")

    @contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=10.0, isolation_level=None)) as database:
                if writes:
                    database.execute("PRAGMA secure_delete = ON")  # no nickname is left in the file once it is erased
                    database.execute("BEGIN IMMEDIATE")
                yield database
                if writes:
                    database.execute("COMMIT")
        except sqlite3.Error as error:
            raise ClassError(f"The members of the class in {self._path} cannot be read ({error}).") from None


def check_quota(data_dir: Path) -> None:
    """Raise ClassError where a student's runs and texts take more than the class allows."""
    root = class_root(data_dir)
    if root == data_dir:
        return
    most = classroom_of(root).settings.most_megabytes
    if (used := _bytes_in(data_dir)) > most * 2**20:
        empty_trash(data_dir, 0.0)
        used = _bytes_in(data_dir)
    if used > most * 2**20:
        raise ClassError(
            f"Your runs and texts take {memory_in_words(used)}, and your class allows {most} MB. Delete what you no "
            "longer need."
        )


def _bytes_in(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def most_running(data_dir: Path) -> int | None:
    """Return how many runs of one student may train at a time; None in a data folder without a class."""
    return classroom_of(data_dir).settings.most_running if (data_dir / _FILE).exists() else None


@lru_cache(maxsize=8)
def classroom_of(root: Path) -> Classroom:
    """Return the class of a data folder, opened once: the supervisor asks four times a second."""
    return Classroom(root)


class WrongCode(ClassError):
    """A code or key that is not this class's: whoever guesses is slowed."""


def checked_nickname(nickname: str) -> str:
    """Return a nickname as it is shown; raises ClassError for an empty or long one, or other signs than a name has."""
    name = " ".join(unicodedata.normalize("NFC", nickname).split())
    if not name or len(name) > LONGEST_NICKNAME:
        raise ClassError(f"A nickname has 1 to {LONGEST_NICKNAME} letters. Choose a short one.")
    if not all(unicodedata.category(letter)[0] in "LMN" or letter in " -_." for letter in name):
        raise ClassError("A nickname may have letters, digits, spaces, points and hyphens only. Choose another one.")
    return name


def _plain_code(code: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKC", code).casefold() if letter.isalnum())


def _printable(text: str) -> str:
    return " ".join("".join(c if unicodedata.category(c)[0] != "C" else " " for c in text).split())


def _get(database: sqlite3.Connection, name: str) -> Any:
    return json.loads(database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()[0])


def _set(database: sqlite3.Connection, name: str, value: Any) -> None:
    database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))
