"""The lessons as Jupyter notebooks: their own words, the source of what they run, and a piece to run and change.

A step's words are those of its page, its code is that of `core.lessons`; what a notebook does with them step by step
is written down in `core/lessons/notebooks`. Torch is not needed to make one, so it takes a moment.
"""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from core.atomic_io import write_files
from core.import_export.notebooks import Cell, code, prose, to_notebook
from core.import_export.source_code import source_with_imports
from core.lessons.lesson_text import ENGLISH, fill, glossary, load_prose, placeholders, terms_in, without_links
from core.lessons.outline import LESSONS
from core.text import split_point
from core.text.corpora import load_corpus

NOTEBOOKS = {
    "bigram": "BigramLanguageModel.ipynb",
    "gpt": "GPT_Language_Model.ipynb",
    "break": "Breaking_a_GPT.ipynb",
}
"""The notebook of each lesson."""

_WALKS = Path(__file__).parents[1] / "lessons" / "notebooks"
_STEP = re.compile(r"^# %% (\w+)(.*)$", re.MULTILINE)
_READ = 200_000  # characters of the text, as on the page
_ON_A_PAGE = re.compile(r"\s*\b(?:Click|Point|Drag|Move|Switch|Choose)\b[^.:]*[.:]")  # what only a page can do
_BEGINNING = """
import sys
from pathlib import Path

for place in (Path.cwd(), *Path.cwd().parents):  # the lab: the folder that holds `core`
    if (place / "core" / "config.py").is_file():
        sys.path.insert(0, str(place))
        break
"""
_HOW = (
    "Put this notebook next to the folder `core` of GPT Explorer, and run its cells from top to bottom with the Python "
    "of that lab. Every function is the lab's own source: change it, run its cell again, and see what becomes of it."
)


def lesson_notebook(lesson: str, language: str = ENGLISH) -> str:
    """The notebook of a lesson, not run yet, as the text of its file.

    Raises ExplorerError where the lesson has no steps, or a step no words.
    """
    return to_notebook(_cells(lesson, language))


def write_notebooks(folder: Path, force: bool = False, language: str = ENGLISH) -> list[Path]:
    """Write the notebooks of all lessons into a folder, which is made if it is missing.

    Raises ExplorerError where that cannot be done, or where `force` is needed to replace others of the same names.
    """
    files = {name: lesson_notebook(lesson, language).encode() for lesson, name in NOTEBOOKS.items()}
    write_files(folder, files, force)
    return [folder / name for name in files]


class Piece(NamedTuple):
    """What a walk does at one step."""

    source: str
    numbers: dict[str, str]  # that fill the placeholders of the step's words


def walk(lesson: str) -> dict[str, Piece]:
    """The pieces of a lesson's walk, by step."""
    _, *found = _STEP.split((_WALKS / f"{lesson}.py").read_text("utf-8"))
    return {
        name: Piece(source.strip(), dict(word.split("=", 1) for word in given.split()))
        for name, given, source in zip(found[::3], found[1::3], found[2::3], strict=True)
    }


def _cells(lesson: str, language: str) -> Iterator[Cell]:
    opening = load_prose(lesson, "lesson", language)
    yield prose(f"# {opening.title}\n\n{_words(opening.parts['idea'], {})}\n\n{_HOW}")
    yield code(_BEGINNING)
    pieces, terms, shown = walk(lesson), set(), set()
    for number, step in enumerate(LESSONS[lesson], 1):
        words, piece = load_prose(lesson, step, language), pieces[step]
        idea, further = words.parts["idea"], words.parts.get("read on", "")
        terms.update(terms_in(idea + further))
        yield prose(f"## {number}. {words.title}\n\n{_words(idea, _text_numbers() | piece.numbers)}")
        rest, sources = _taken_apart(piece.source, shown)
        yield from map(code, sources)
        yield code(rest)
        if further:
            yield prose(f"*Read on:* {_words(further, {})}")
    meanings = glossary(language)
    listed = [f"**{term}**: {_words(meanings[term], {})}" for term in sorted(terms, key=str.lower)]
    yield prose("## Words\n\n" + "\n\n".join(listed))


def _taken_apart(source: str, shown: set[str]) -> tuple[str, list[str]]:
    """A piece without its imports from `core.lessons`, and the source of what they would have brought."""
    lines, sources = source.splitlines(), []
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("core.lessons."):
            lines[node.lineno - 1 : node.end_lineno] = [None] * (node.end_lineno - node.lineno + 1)
            sources.append(source_with_imports(node.module, [alias.name for alias in node.names], shown))
    rest = "\n".join(line for line in lines if line is not None)
    return re.sub(r"\n{3,}", "\n\n", rest), [part for part in sources if part]


def _words(part: str, numbers: dict[str, str]) -> str:
    """Prose without links; a sentence that asks for a number nobody has, or for a page's own controls, is left out."""
    sentences = re.split(r"(?<=[.!?:])(?=\s)", _ON_A_PAGE.sub("", part))
    known = "".join(sentence for sentence in sentences if placeholders(sentence) <= {*numbers})
    return without_links(fill(known, **numbers)).strip()


@cache
def _text_numbers() -> dict[str, str]:
    """What the words tell of the text that the walks begin with."""
    text = load_corpus("shakespeare", Path())[:_READ]
    train = split_point(len(text), 0.1)
    lengths = {
        "length": len(text),
        "train_length": train,
        "val_length": len(text) - train,
        "vocab_size": len(set(text)),
    }
    return {name: f"{value:,}" for name, value in lengths.items()}
