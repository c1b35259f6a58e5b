"""Records of a class: settings, members and their answers, visitors of its pages, and its errors."""

import unicodedata
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel

from core.errors import ExplorerError, RunError
from core.paths import made_data_dir, member_home

LONGEST_NICKNAME = 24


class ClassError(ExplorerError):
    """A request that the class does not allow; the page shows the message."""


class GalleryClosed(RunError):
    """A refusal to open the gallery's models, which are closed to students now."""


class Visitor(NamedTuple):
    """The user of a request or a page: a student of the class, its teacher, or anybody if there is no class."""

    member: str = ""  # a student's id
    nickname: str = ""
    is_teacher: bool = True  # may see and do everything, like the only user of an app without a class

    def home(self, root: Path) -> Path:
        """Return the visitor's own data folder."""
        return root if self.is_teacher else made_data_dir(member_home(root, self.member))


class Member(NamedTuple):
    """A student of the class."""

    id: str
    nickname: str
    joined: float  # seconds since 1970
    may_return: bool  # may join again under the same nickname, from another browser


class Answer(NamedTuple):
    """A student's last answer to a question in a lesson."""

    member: str
    question: str  # lesson and step
    response: str
    expected: str  # the correct answer, for the text and the seed that the student chose
    is_right: bool
    tries: int


class ClassSettings(BaseModel):
    """The teacher's settings for the class."""

    frozen: bool = False  # students can look, but not start or change anything
    message: str = ""  # shown on all pages
    question: str = ""  # the class predicts its answer before the runs finish
    choices: list[str] = []
    revealed: bool = False
    closes_gallery: bool = True  # while a question is open, because the losses of the gallery's models answer it
    page: str = ""  # the page that the teacher last sent the students to
    page_query: dict[str, str] = {}
    page_inputs: dict[str, bool | int | float | str] = {}  # values of the page's controls that are not in its address
    page_number: int = 0  # how often the teacher has sent the students to a page
    mirrored: bool = False  # the students' pages follow the teacher's, and students cannot start or change anything
    hidden: list[str] = []  # run settings, by path or group, that students cannot change from their preset's values
    text: str = ""  # the text that all students train on; "" if each chooses one
    game_text: str = ""  # the text of Shannon's game, which the class plays on one passage; "" for no game
    game_passage: int = 0
    game_letters: int = 30
    game_named: bool = True  # whether the board names the players
    sizes: list[str] = []  # model sizes, "layers x width", assigned to the students in turn (`core.runs.class_sizes`)
    sizes_text: str = "shakespeare"
    sizes_steps: int = 300
    most_running: int = 1  # runs per student
    most_waiting: int = 1
    most_parameters: int = 3_000_000
    most_steps: int = 20_000  # per run
    most_minutes: float = 15.0  # expected duration of a run
    most_megabytes: int = 500  # one student's runs and texts

    @property
    def paused(self) -> bool:
        """Whether students can only look."""
        return self.frozen or self.mirrored

    @property
    def gallery_is_closed(self) -> bool:
        """Whether students may not open the models that come with the app."""
        return bool(self.question) and not self.revealed and self.closes_gallery


class WrongCode(ClassError):
    """A code or key that is not this class's. Clients that send many of them are slowed down."""


def nickname_key(nickname: str) -> str:
    """Return a nickname casefolded and NFKC-normalized: nicknames with the same key count as the same."""
    return unicodedata.normalize("NFKC", nickname).casefold()


def fitting_nickname(name: str, *, another: bool = False) -> str:
    """Return a name as a valid nickname, without disallowed characters; `another` appends or increments a number."""
    letters = "".join(letter if _is_allowed(letter) else " " for letter in unicodedata.normalize("NFC", name))
    plain = " ".join(letters.split())[:LONGEST_NICKNAME].strip() or "Student"
    if not another:
        return plain
    before, _space, number = plain.rpartition(" ")
    before, number = (before, int(number) + 1) if before and number.isdecimal() else (plain, 2)
    return f"{before[: LONGEST_NICKNAME - len(str(number)) - 1]} {number}"


def checked_nickname(nickname: str) -> str:
    """Return a nickname as it is shown; raises ClassError if it is empty, too long or has disallowed characters."""
    name = " ".join(unicodedata.normalize("NFC", nickname).split())
    if not name or len(name) > LONGEST_NICKNAME:
        raise ClassError(f"A nickname has 1 to {LONGEST_NICKNAME} letters. Choose a short one.")
    if not all(map(_is_allowed, name)):
        raise ClassError(
            "A nickname may contain only letters, digits, spaces, periods and hyphens. Choose another one."
        )
    return name


def _is_allowed(letter: str) -> bool:
    return unicodedata.category(letter)[0] in "LMN" or letter in " -_."
