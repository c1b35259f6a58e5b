"""The text of the lessons in every language, as Markdown in `core/lessons/text/<language>`.

A step's file starts with `# Title`. The text before the first `## name` is the part "idea"; each `## name` starts
another part. `{name}` is filled with a number that the step has computed, and `[[term]]` or `[[term|shown text]]`
links to the glossary. If a language lacks a file, a part or a word, the English one is used.
"""

import re
from collections.abc import Callable
from functools import cache
from numbers import Integral
from pathlib import Path
from typing import NamedTuple

from core.errors import ExplorerError
from core.text.token_display import isolated

ENGLISH = "en"
_FOLDER = Path(__file__).with_name("text")
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_TERM = re.compile(r"\[\[([^\[\]|]+)(?:\|([^\[\]]+))?\]\]")
PATHS = (45, 90)  # lengths of a lesson in minutes; a guide has a path for each
_STAGE = re.compile(r"- (\d+) \[([\w, ]*)\] (.+)")


class Prose(NamedTuple):
    """The text of one step: its title, and its parts by name ("idea", "question", ...) as Markdown."""

    title: str
    parts: dict[str, str]


class LessonPart(NamedTuple):
    """One part of a lesson in class."""

    minutes: int
    steps: list[str]  # of the lesson; empty while the class talks
    words: str


class Guide(NamedTuple):
    """The teacher's guide to a lesson. A step's parts "expect" and "objection" are for the teacher, too."""

    title: str
    idea: str
    paths: dict[int, list[LessonPart]]  # by the minutes of the whole lesson


def languages() -> list[str]:
    """Return every language that has a folder, English first."""
    names = sorted(folder.name for folder in _FOLDER.iterdir() if folder.is_dir())
    return [ENGLISH, *(name for name in names if name != ENGLISH)]


def load_prose(lesson: str, step: str, language: str = ENGLISH) -> Prose:
    """Return the text of one step. Raises ExplorerError if no language has it."""
    own, english = _read(f"{lesson}/{step}.md", language), _read(f"{lesson}/{step}.md", ENGLISH)
    return Prose(own.title or english.title, _translated(english.parts, own.parts))


def load_guide(lesson: str, language: str = ENGLISH) -> Guide:
    """Return the teacher's guide of a lesson. A line of a path is `- minutes [step, step] words`."""
    prose = load_prose(lesson, "guide", language)
    paths = {
        minutes: [
            LessonPart(int(stage[1]), stage[2].split(", ") if stage[2] else [], stage[3])
            for stage in map(_STAGE.fullmatch, prose.parts[f"{minutes} minutes"].splitlines())
            if stage
        ]
        for minutes in PATHS
    }
    return Guide(prose.title, prose.parts["idea"], paths)


def fill(part: str, /, **numbers: object) -> str:
    """Return a part with its placeholders filled, integers as in 4,000, and `{{` as a brace.

    Raises ExplorerError for a placeholder without a number.
    """

    def replacement(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] not in numbers:
            raise ExplorerError(f"The text asks for {{{match[1]}}}, which is none of {', '.join(sorted(numbers))}.")
        number = numbers[match[1]]
        return isolated(f"{number:,}" if isinstance(number, Integral) else str(number))

    return _PLACEHOLDER.sub(replacement, part)


def placeholders(part: str) -> set[str]:
    """Return the names of the numbers that a part asks for."""
    return {name for name in _PLACEHOLDER.findall(part) if name}


def glossary(language: str = ENGLISH) -> dict[str, str]:
    """Return the meaning of every term, in alphabetical order."""
    parts = _translated(_read("glossary.md", ENGLISH).parts, _read("glossary.md", language).parts)
    terms = {term: text for term, text in parts.items() if term != "idea"}
    return dict(sorted(terms.items(), key=lambda entry: entry[0].lower()))


def terms_in(part: str) -> list[str]:
    """Return the terms that a part links to, as the glossary calls them."""
    return [match[1] for match in _TERM.finditer(part)]


def links(text: str, to_url: Callable[[str], str], language: str = ENGLISH) -> str:
    """Return text with each `[[term]]` as a link titled with its meaning; raises ExplorerError for an unknown term."""
    meanings = glossary(language)

    def link(match: re.Match[str]) -> str:
        term, shown = match[1], match[2] or match[1]
        if term not in meanings:
            raise ExplorerError(f"The glossary does not have the term {term!r}.")
        meaning = _TERM.sub(lambda inner: inner[2] or inner[1], meanings[term])
        meaning = re.sub(r"[*_`]", "", " ".join(meaning.split())).replace('"', "'")
        return f'[{shown}]({to_url(term)} "{meaning}")'

    return _TERM.sub(link, text)


def without_links(text: str) -> str:
    """Return a text with `[[term]]` in italics, for readers without the glossary page."""
    return _TERM.sub(lambda term: f"*{term[2] or term[1]}*", text)


def word(name: str, language: str = ENGLISH) -> str:
    """Return one of the app's own texts on a lesson page, such as a button label."""
    words = _translated(_read("words.md", ENGLISH).parts, _read("words.md", language).parts)
    if name not in words:
        raise ExplorerError(f"The lessons have no word called {name!r}.")
    return words[name]


def parse_prose(text: str) -> Prose:
    """Return a file's title and parts."""
    title, _, rest = text.strip().partition("\n")
    sections = re.split(r"^## +(.+?) *$", rest, flags=re.MULTILINE)
    parts = {"idea": sections[0].strip()}
    parts |= {name: part.strip() for name, part in zip(sections[1::2], sections[2::2], strict=True)}
    return Prose(title.removeprefix("#").strip(), parts)


def _translated(english: dict[str, str], own: dict[str, str]) -> dict[str, str]:
    """Return the English parts, replaced by translations without extra placeholders: a slip must not break a page."""
    return english | {
        name: part for name, part in own.items() if part and placeholders(part) <= placeholders(english.get(name, part))
    }


@cache
def _read(path: str, language: str) -> Prose:
    if language not in languages():
        language = ENGLISH
    for folder in dict.fromkeys((language, ENGLISH)):
        file = _FOLDER / folder / path
        if file.is_file():
            return parse_prose(file.read_text(encoding="utf-8"))
    raise ExplorerError(f"The lessons have no text called {path}.")
