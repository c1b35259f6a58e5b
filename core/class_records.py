"""What a class has: its settings, its members and their answers, the users of its pages, and what it refuses."""

import unicodedata
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from core.errors import ExplorerError, RunError
from core.paths import made_data_dir, member_home

LONGEST_NICKNAME = 24


class ClassError(ExplorerError):
    """A request that this class does not allow, in a sentence for the page."""


class GalleryClosed(RunError):
    """A model of the gallery that a student may not open now."""


class Visitor(NamedTuple):
    """The user of a request or a page: a student of the class, its teacher, or anybody where there is no class."""

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
    closes_gallery: bool = True  # while a question is open: the models of the gallery have losses that answer it
    page: str = ""  # to which the students were brought last
    page_query: dict[str, str] = {}
    page_inputs: dict[str, bool | int | float | str] = {}  # of the page's controls that are not in its address
    page_number: int = 0  # how often they were
    mirrored: bool = False  # the students' pages follow the teacher's, and they start and change nothing meanwhile
    hidden: list[str] = []  # settings of a run, by path or by group, that students keep as their preset has them
    text: str = ""  # that all students train on; "" where each chooses one
    game_text: str = ""  # of Shannon's game that the class plays on one passage; "" for no game
    game_passage: int = 0
    game_letters: int = 30
    game_named: bool = True  # whether the board names the players
    sizes: list[str] = []  # of models, "layers x width", handed out to the students in turns (`core.runs.class_sizes`)
    sizes_text: str = "shakespeare"
    sizes_steps: int = 300
    most_running: int = 1  # of one student
    most_waiting: int = 1
    most_parameters: int = 3_000_000
    most_steps: int = 20_000  # of a run
    most_minutes: float = 15.0  # that a run is expected to take
    most_megabytes: int = 500  # of one student's runs and texts

    @property
    def paused(self) -> bool:
        """Whether students can look only."""
        return self.frozen or self.mirrored

    @property
    def gallery_is_closed(self) -> bool:
        """Whether students may not open the models that come with the app."""
        return bool(self.question) and not self.revealed and self.closes_gallery


class WrongCode(ClassError):
    """A code or key that is not this class's. Those who send many are slowed."""


def nickname_key(nickname: str) -> str:
    """Return a nickname without case and compatibility forms: those with the same key are the same."""
    return unicodedata.normalize("NFKC", nickname).casefold()


def fitting_nickname(name: str, *, another: bool = False) -> str:
    """Return a name as a nickname, without signs that a nickname may not have; `another`: the next one like it."""
    letters = "".join(letter if _is_allowed(letter) else " " for letter in unicodedata.normalize("NFC", name))
    plain = " ".join(letters.split())[:LONGEST_NICKNAME].strip() or "Student"
    if not another:
        return plain
    before, _space, number = plain.rpartition(" ")
    before, number = (before, int(number) + 1) if before and number.isdecimal() else (plain, 2)
    return f"{before[: LONGEST_NICKNAME - len(str(number)) - 1]} {number}"


def checked_nickname(nickname: str) -> str:
    """Return a nickname as it is shown; raises ClassError for an empty or long one, or other signs than a name has."""
    name = " ".join(unicodedata.normalize("NFC", nickname).split())
    if not name or len(name) > LONGEST_NICKNAME:
        raise ClassError(f"A nickname has 1 to {LONGEST_NICKNAME} letters. Choose a short one.")
    if not all(map(_is_allowed, name)):
        raise ClassError("A nickname may have letters, digits, spaces, points and hyphens only. Choose another one.")
    return name


def _is_allowed(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LMN" or letter in " -_."
