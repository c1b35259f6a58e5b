"""A class: its members, how they join, and the teacher's settings, in one SQLite file in the class's data folder.

No personal data is stored: a member is a nickname and a random id. A signed cookie identifies the sender of a request.
"""

import hashlib
import json
import secrets
import shutil
import sqlite3
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from cachetools import LRUCache
from itsdangerous import BadData, URLSafeTimedSerializer

from core.class_records import (
    Answer,
    ClassError,
    ClassSettings,
    GalleryClosed,
    Member,
    Visitor,
    WrongCode,
    checked_nickname,
    fitting_nickname,
    nickname_key,
)
from core.formatting import memory_in_words, one_line
from core.paths import class_root, made_data_dir, member_home, member_homes
from core.trash import empty_trash

STUDENT_SECONDS, TEACHER_SECONDS = 14 * 86400, 12 * 3600  # lifetimes of the cookies
LONGEST_QUESTION, LONGEST_CHOICE, MAX_CHOICES = 200, 60, 6
MAX_MEMBERS, MAX_LINKS = 300, 500
_CODE_LETTERS, _CODE_LENGTH = "abcdefghjkmnpqrstuvwxyz23456789", 4  # no letters that look alike
_SYLLABLES = [f"{consonant}{vowel}" for consonant in "bdfghklmnprstvz" for vowel in "aeiou"]
_FILE, _TEACHER, _NO_TITLE = "class.sqlite3", "teacher", "Class"
_ERASE_TRIES, _ERASE_WAIT = 50, 0.1  # seconds
_SETTLED = 10**8  # nanoseconds after which another write certainly changes a file's time
_TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS members (
    id TEXT PRIMARY KEY,
    nickname TEXT NOT NULL,
    key TEXT NOT NULL UNIQUE,  -- the nickname without case and compatibility forms
    joined REAL NOT NULL,      -- seconds since 1970
    session INTEGER NOT NULL,  -- cookies of earlier sessions are invalid
    may_return INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS accounts (account TEXT PRIMARY KEY, member TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS predictions (member TEXT PRIMARY KEY, choice TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
    member TEXT, question TEXT, response TEXT, expected TEXT, is_right INTEGER, tries INTEGER,
    PRIMARY KEY (member, question)
);
CREATE TABLE IF NOT EXISTS links (
    code TEXT PRIMARY KEY,
    address TEXT NOT NULL UNIQUE  -- relative to the address of the app
);
CREATE TABLE IF NOT EXISTS games (member TEXT PRIMARY KEY, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS handed_in (member TEXT, run TEXT, PRIMARY KEY (member, run));
"""
_OF_NICKNAME = "SELECT id, session, may_return FROM members WHERE key = ?"
_OF_SESSION = "SELECT nickname FROM members WHERE id = ? AND session = ?"
_OF_ACCOUNT = "SELECT id, session FROM members JOIN accounts ON member = id WHERE account = ?"


Result = TypeVar("Result")


class Classroom:
    """One class. Any number of threads and processes may use it."""

    def __init__(self, root: Path, title: str = ""):
        self.root, self._path = root, root / _FILE
        with self._transaction() as database:
            for statement in filter(str.strip, _TABLES.split(";\n")):
                database.execute(statement)
            made = {
                "title": one_line(title)[:80] or _NO_TITLE,
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
        self._cache: LRUCache[tuple[Any, ...], tuple[int, Any]] = LRUCache(2 * MAX_MEMBERS)  # with the file's mtime
        self._caching = Lock()

    def join(self, code: str, nickname: str, account: str = "") -> str:
        """Return the cookie of a new or returning member; raises ClassError for a wrong code or an unusable nickname.

        The owner of an `account` may always return, and gets another nickname if the chosen one is taken.
        """
        if not secrets.compare_digest(_plain_code(code).encode(), _plain_code(self.code).encode()):
            raise WrongCode("This is not the code of this class. Ask your teacher for it.")
        nickname = fitting_nickname(nickname) if account else checked_nickname(nickname)
        account = hashlib.sha256(account.encode()).hexdigest() if account else ""
        with self._transaction() as database:
            if account and (row := database.execute(_OF_ACCOUNT, (account,)).fetchone()):
                id, session = row
            else:
                while account and database.execute(_OF_NICKNAME, (nickname_key(nickname),)).fetchone():
                    nickname = fitting_nickname(nickname, another=True)
                id, session = self._enter(database, nickname)
            if account:
                database.execute("INSERT OR REPLACE INTO accounts VALUES (?, ?)", (account, id))
        made_data_dir(member_home(self.root, id))
        return self._serializer.dumps([id, session])

    def _enter(self, database: sqlite3.Connection, nickname: str) -> tuple[str, int]:
        """Return the id and session of a new member, or of the one that may return under that nickname."""
        row = database.execute(_OF_NICKNAME, (nickname_key(nickname),)).fetchone()
        if row and not row[2]:
            raise ClassError(
                f"The nickname {nickname!r} is taken. Choose another one; if it is yours, ask your teacher to let "
                "you in again."
            )
        if row:
            id, session = row[0], row[1] + 1
            database.execute("UPDATE members SET session = ?, may_return = 0 WHERE id = ?", (session, id))
            return id, session
        (count,) = database.execute("SELECT count(*) FROM members").fetchone()
        if count >= MAX_MEMBERS:
            raise ClassError(f"This class has {MAX_MEMBERS} members, and no more can join.")
        id, session = secrets.token_hex(8), 1
        values = (id, nickname, nickname_key(nickname), time.time(), session)
        database.execute("INSERT INTO members VALUES (?, ?, ?, ?, ?, 0)", values)
        return id, session

    def teach(self, key: str) -> str:
        """Return the teacher's cookie for the key in the teacher's link; raises ClassError for any other key."""
        if not secrets.compare_digest(key.strip().encode(), self.teacher_key.encode()):
            raise WrongCode("This is not the link of this class's teacher. The terminal shows it.")
        with self._transaction() as database:
            return self._serializer.dumps([_TEACHER, _get(database, "teacher_session")])

    def visitor(self, cookie: str) -> Visitor | None:
        """Return the owner of a cookie; None if the cookie is not ours or too old, or its member has been removed."""
        try:
            (id, session), signed = self._serializer.loads(cookie, STUDENT_SECONDS, return_timestamp=True)
        except (BadData, ValueError, TypeError):
            return None
        if id == _TEACHER:
            is_valid = session == self._read(lambda database: _get(database, "teacher_session"), _TEACHER)
            return Visitor() if is_valid and time.time() - signed.timestamp() < TEACHER_SECONDS else None
        row = self._read(lambda database: database.execute(_OF_SESSION, (id, session)).fetchone(), id, session)
        return Visitor(id, row[0], is_teacher=False) if row else None

    def members(self) -> list[Member]:
        """Return the students, sorted by nickname."""
        with self._transaction(writes=False) as database:
            rows = database.execute("SELECT id, nickname, joined, may_return FROM members ORDER BY key").fetchall()
        return [Member(id, nickname, joined, bool(may_return)) for id, nickname, joined, may_return in rows]

    def let_in_again(self, member: str) -> None:
        """End a member's session; the next browser that joins under the same nickname gets the member's runs."""
        with self._transaction() as database:
            database.execute("UPDATE members SET session = session + 1, may_return = 1 WHERE id = ?", (member,))

    @property
    def settings(self) -> ClassSettings:
        """The teacher's settings."""
        return self._read(_class_settings, "settings")

    def change(self, **settings: Any) -> ClassSettings:
        """Change some of the settings, and return all of them."""
        with self._transaction() as database:
            changed = ClassSettings.model_validate(_class_settings(database).model_dump() | settings)
            database.execute("INSERT OR REPLACE INTO settings VALUES ('class', ?)", (changed.model_dump_json(),))
        return changed

    def show(self, page: str, query: Mapping[str, str], inputs: Mapping[str, Any] | None = None) -> None:
        """Send all students to a page with `inputs` in its controls, once; while mirrored, they stay there."""
        number = self.settings.page_number + 1
        self.change(page=page, page_query=dict(query), page_inputs=dict(inputs or {}), page_number=number)

    def ask(self, question: str, choices: Sequence[str], *, closes_gallery: bool = True) -> None:
        """Ask the class to predict one of the `choices`; raises ClassError if there are too few or too many."""
        question = one_line(question)[:LONGEST_QUESTION]
        named = list(dict.fromkeys(filter(None, (one_line(choice)[:LONGEST_CHOICE] for choice in choices))))
        if not question or not 2 <= len(named) <= MAX_CHOICES:
            raise ClassError(f"Write a question and 2 to {MAX_CHOICES} different answers.")
        with self._transaction() as database:
            database.execute("DELETE FROM predictions")
        self.change(question=question, choices=named, revealed=False, closes_gallery=closes_gallery)

    def predict(self, member: str, choice: str) -> None:
        """Record a member's prediction; raises ClassError if it is not a choice, or once the answer is revealed."""
        now = self.settings
        if choice not in now.choices or now.revealed:
            raise ClassError("This question is closed. Wait for the next one.")
        with self._transaction() as database:
            database.execute("INSERT OR REPLACE INTO predictions VALUES (?, ?)", (member, choice))

    def predictions(self) -> dict[str, str]:
        """Return each member's prediction."""
        with self._transaction(writes=False) as database:
            return dict(database.execute("SELECT member, choice FROM predictions").fetchall())

    def note_answer(self, member: str, question: str, response: str, expected: str, *, is_right: bool) -> None:
        """Record a student's answer to a question in a lesson; a correct answer is never replaced."""
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

    def start_game(self, text: str, passage: int, letters: int) -> None:
        """Start Shannon's game for the class on a passage of a text; the text "" ends the game."""
        with self._transaction() as database:
            database.execute("DELETE FROM games")
        self.change(game_text=text, game_passage=passage, game_letters=letters)

    def move(self, member: str, passage: int, change: Callable[[str], str]) -> str:
        """Apply `change` to the state of a member's game ("" at the start); return the new state.

        Raises ClassError if the game on that passage is over.
        """
        with self._transaction() as database:
            now = _class_settings(database)
            if not now.game_text or now.game_passage != passage:
                raise ClassError("This game is over. Wait for the next one.")
            row = database.execute("SELECT state FROM games WHERE member = ?", (member,)).fetchone()
            state = change(row[0] if row else "")
            database.execute("INSERT OR REPLACE INTO games VALUES (?, ?)", (member, state))
        return state

    def games(self) -> dict[str, str]:
        """Return the state of each member's game."""
        with self._transaction(writes=False) as database:
            return dict(database.execute("SELECT member, state FROM games").fetchall())

    def hand_in(self, member: str, run: str) -> None:
        """Submit a run to the teacher."""
        with self._transaction() as database:
            database.execute("INSERT OR IGNORE INTO handed_in VALUES (?, ?)", (member, run))

    def handed_in(self) -> list[tuple[str, str]]:
        """Return (member, run) for all submitted runs, in the order of submission."""
        with self._transaction(writes=False) as database:
            return database.execute("SELECT member, run FROM handed_in ORDER BY rowid").fetchall()

    def link_code(self, address: str) -> str:
        """Return the short code for an address relative to the app's; beyond MAX_LINKS, the oldest is dropped."""
        with self._transaction() as database:
            row = database.execute("SELECT code FROM links WHERE address = ?", (address,)).fetchone()
            if row:
                return row[0]
            code = "".join(secrets.choice(_CODE_LETTERS) for _ in range(_CODE_LENGTH))
            database.execute("INSERT OR REPLACE INTO links VALUES (?, ?)", (code, address))
            newest = "SELECT rowid FROM links ORDER BY rowid DESC LIMIT ?"
            database.execute(f"DELETE FROM links WHERE rowid NOT IN ({newest})", (MAX_LINKS,))
            return code

    def linked_address(self, code: str) -> str | None:
        """Return the address for a short code, ignoring case; None if there is none."""
        with self._transaction(writes=False) as database:
            row = database.execute("SELECT address FROM links WHERE code = ?", (code.casefold(),)).fetchone()
        return row[0] if row else None

    def erase(self) -> None:
        """Remove all members with their runs and texts, the shared folder and the settings. Runs must have ended.

        Raises ClassError if some folders could not be removed.
        """
        with self._transaction() as database:
            database.execute("DELETE FROM members")
            for table in ("accounts", "predictions", "answers", "games", "handed_in", "links"):
                database.execute(f"DELETE FROM {table}")
            database.execute("DELETE FROM settings WHERE name = 'class'")
            _set(database, "title", _NO_TITLE)
        self.title = _NO_TITLE
        # No member's folder is created any more, but requests that already started may still write files.
        left = [*member_homes(self.root), self.root / "shared"]
        for _ in range(_ERASE_TRIES):
            for folder in left:
                shutil.rmtree(folder, ignore_errors=True)
            if not (left := [folder for folder in left if folder.exists()]):
                return
            time.sleep(_ERASE_WAIT)
        raise ClassError(
            f"Not everything could be erased: {len(left)} folders are in use. Stop all runs and erase again."
        )

    def _read(self, read: Callable[[sqlite3.Connection], Result], *key: Any) -> Result:
        """Return the result of `read`, cached by `key` until the file is written: a page asks fifty times.

        Callers must not change the result.
        """
        now = written = time.time_ns()
        with suppress(OSError):  # if the file is gone, the read below reports it
            written = self._path.stat().st_mtime_ns
            with self._caching:
                cached = self._cache.get(key)
            if cached and cached[0] == written:
                return cached[1]
        with self._transaction(writes=False) as database:
            value = read(database)
        if now - written > _SETTLED:
            with self._caching:
                self._cache[key] = written, value
        return value

    @contextmanager
    def _transaction(self, *, writes: bool = True) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=10.0, isolation_level=None)) as database:
                if writes:
                    database.execute("PRAGMA secure_delete = ON")  # overwrites erased nicknames in the file
                    database.execute("BEGIN IMMEDIATE")
                yield database
                if writes:
                    database.execute("COMMIT")
        except sqlite3.Error as error:
            raise ClassError(f"The members of the class in {self._path} cannot be read ({error}).") from None


def check_quota(data_dir: Path) -> None:
    """Raise ClassError if a student's runs and texts take more disk space than the class allows."""
    if (settings := settings_of_class(data_dir)) is None:
        return
    most = settings.most_megabytes
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


def check_gallery_open(data_dir: Path) -> None:
    """Raise RunError if the member with this data folder may not open the gallery now."""
    if (settings := settings_of_class(data_dir)) and settings.gallery_is_closed:
        raise GalleryClosed("The gallery is closed until your teacher shows the answers to the question.")


def most_running(data_dir: Path) -> int | None:
    """Return how many runs of one student may train at a time; None if the data folder has no class."""
    return classroom_of(data_dir).settings.most_running if (data_dir / _FILE).exists() else None


def settings_of_class(data_dir: Path) -> ClassSettings | None:
    """Return the settings of the class that a member's data folder belongs to; None for any other data folder."""
    root = class_root(data_dir)
    return None if root == data_dir else classroom_of(root).settings


@lru_cache(maxsize=8)
def classroom_of(root: Path) -> Classroom:
    """Return the class of a data folder, opened once: the supervisor asks four times a second."""
    return Classroom(root)


def _plain_code(code: str) -> str:
    return "".join(letter for letter in unicodedata.normalize("NFKC", code).casefold() if letter.isalnum())


def _get(database: sqlite3.Connection, name: str) -> Any:
    return json.loads(database.execute("SELECT value FROM settings WHERE name = ?", (name,)).fetchone()[0])


def _class_settings(database: sqlite3.Connection) -> ClassSettings:
    row = database.execute("SELECT value FROM settings WHERE name = 'class'").fetchone()
    return ClassSettings.model_validate_json(row[0]) if row else ClassSettings()


def _set(database: sqlite3.Connection, name: str, value: Any) -> None:
    database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, json.dumps(value)))
