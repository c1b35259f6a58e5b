"""Jupyter notebooks and scripts in cells: for the lessons, and for training a run again next to `core`.

A lesson's notebook has the text of its pages, the source of the functions of `core.lessons`, and the code of
`core/lessons/notebooks`. Writing it does not import torch. A run's notebook holds its settings, their changes during
training, and the hash of its text, but no weights.
"""

import ast
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from pprint import pformat
from typing import Any, Literal, NamedTuple

from core.atomic_io import write_files
from core.config import RunConfig
from core.lessons import LESSONS
from core.lessons.experiments import EXPERIMENTS
from core.lessons.lesson_text import ENGLISH, fill, glossary, load_prose, placeholders, terms_in, without_links
from core.text import split_point
from core.text.corpora import load_corpus

NOTEBOOKS = {
    "bigram": "BigramLanguageModel.ipynb",
    "gpt": "GPT_Language_Model.ipynb",
    "tokens": "From_Characters_to_Tokens.ipynb",
    "sudden": "Sudden_Abilities.ipynb",
    "scaling": "Scaling_Laws.ipynb",
    "break": "Breaking_a_GPT.ipynb",
}
"""The file name of each lesson's notebook."""

_ROOT = Path(__file__).parents[2]
_PART = re.compile(r"^# %% (\w+)(.*)$", re.MULTILINE)
_READ = 200_000  # characters of the text, as on the page
_ON_A_PAGE = re.compile(r"\s*\b(?:Click|Point|Drag|Move|Switch|Choose)\b[^.:]*[.:]")  # what only a page can do
FIND_CORE = """
import sys
from pathlib import Path

for folder in (Path.cwd(), *Path.cwd().parents):
    if (folder / "core" / "config.py").is_file():
        sys.path.insert(0, str(folder))
        break
"""
_HOW = (
    "Put this notebook next to the folder `core` of GPT Explorer, and run its cells from top to bottom with the same "
    "Python as GPT Explorer. Every function is its real source: change it, run its cell again, and compare."
)


class Cell(NamedTuple):
    """Markdown or Python code."""

    kind: Literal["markdown", "code"]
    source: str


def markdown(source: str) -> Cell:
    return Cell("markdown", source.strip())


def code(source: str) -> Cell:
    return Cell("code", source.strip())


def to_notebook(cells: Iterable[Cell]) -> str:
    """Return a notebook without outputs as the text of its file. The same cells give the same bytes."""
    from nbformat import v4, writes  # takes a third of a second, and few pages need it

    make = {"markdown": v4.new_markdown_cell, "code": v4.new_code_cell}
    made = [make[cell.kind](cell.source, id=f"cell-{number}") for number, cell in enumerate(cells)]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return writes(v4.new_notebook(cells=made, metadata={"kernelspec": kernel})) + "\n"


def to_script(cells: Iterable[Cell]) -> str:
    """Return the cells as one Python file: the first Markdown is its docstring, the rest are comments."""
    first, *others = cells
    text = '"""' + "\n\n".join(_wrapped(first.source)) + '\n"""\n\n'
    for cell in others:
        comment = cell.kind == "markdown"
        apart = "\n\n" if comment or cell.source.startswith(("def ", "class ")) else ""
        text += apart + ("\n#\n".join(_wrapped(cell.source, "# ")) if comment else cell.source) + "\n"
    return text


def _wrapped(source: str, indent: str = "") -> list[str]:
    paragraphs = [part.lstrip("# ") for part in source.split("\n\n")]
    return [textwrap.fill(part, 110, initial_indent=indent, subsequent_indent=indent) for part in paragraphs]


def lesson_notebook(lesson: str, language: str = ENGLISH) -> str:
    """Return the text of a lesson's notebook, without outputs; raises ExplorerError if a step has no text."""
    return to_notebook(_lesson_cells(lesson, language))


def write_notebooks(folder: Path, force: bool = False) -> list[Path]:
    """Write the notebooks of all lessons into a folder; raises ExplorerError like `write_files`."""
    files = {name: lesson_notebook(lesson).encode() for lesson, name in NOTEBOOKS.items()}
    write_files(folder, files, force)
    return [folder / name for name in files]


def notebook_parts(lesson: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Return a notebook's code by step, from `core/lessons/notebooks`, and the numbers to fill the step's text."""
    _, *split = _PART.split((_ROOT / "core" / "lessons" / "notebooks" / f"{lesson}.py").read_text("utf-8"))
    return {
        name: (source.strip(), dict(word.split("=", 1) for word in numbers.split()))
        for name, numbers, source in zip(split[::3], split[1::3], split[2::3], strict=True)
    }


def _lesson_cells(lesson: str, language: str) -> Iterator[Cell]:
    opening = load_prose(lesson, "lesson", language)
    yield markdown(f"# {opening.title}\n\n{_words(opening.parts['idea'], {})}\n\n{_HOW}")
    yield code(FIND_CORE)
    parts, terms, shown = notebook_parts(lesson), set(), set()
    for number, step in enumerate(LESSONS[lesson], 1):
        words = load_prose(lesson, step, language)
        if step not in parts:  # an experiment like the others
            choices = "".join(f", {choice}={value!r}" for choice, value in EXPERIMENTS[step].choices.items())
            parts[step] = f'break_it("{step}"{choices})', {}
        source, numbers = parts[step]
        idea, further = words.parts["idea"], words.parts.get("read on", "")
        terms.update(terms_in(idea + further))
        yield markdown(f"## {number}. {words.title}\n\n{_words(idea, _text_numbers() | numbers)}")
        rest, sources = _with_sources(source, shown)
        yield from map(code, sources)
        yield code(rest)
        if further:
            yield markdown(f"*Read on:* {_words(further, {})}")
    meanings = glossary(language)
    listed = [f"**{term}**: {_words(meanings[term], {})}" for term in sorted(terms, key=str.lower)]
    yield markdown("## Words\n\n" + "\n\n".join(listed))


def _with_sources(source: str, shown: set[str]) -> tuple[str, list[str]]:
    """Return code without its imports from `core.lessons`, and the source of what they import."""
    sources: list[str] = []
    imported: set[int] = set()  # numbers of lines
    for node in ast.parse(source).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("core.lessons."):
            imported.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
            sources.append(source_with_imports(node.module, [alias.name for alias in node.names], shown))
    rest = "\n".join(line for number, line in enumerate(source.splitlines(), 1) if number not in imported)
    return re.sub(r"\n{3,}", "\n\n", rest), [part for part in sources if part]


def _words(part: str, numbers: dict[str, str]) -> str:
    """Return prose without links and without sentences that need an unknown number or the controls of a page."""
    sentences = re.split(r"(?<=[.!?:])(?=\s)", _ON_A_PAGE.sub("", part))
    text = "".join(sentence for sentence in sentences if placeholders(sentence) <= {*numbers})
    return without_links(fill(text, **numbers)).strip()


@cache
def _text_numbers() -> dict[str, str]:
    text = load_corpus("shakespeare", Path())[:_READ]
    train = split_point(len(text), 0.1)
    lengths = (len(text), train, len(text) - train, len(set(text)))
    names = ("length", "train_length", "val_length", "vocab_size")
    return {name: f"{value:,}" for name, value in zip(names, lengths, strict=True)}


def source_with_imports(module: str, names: list[str], shown: set[str]) -> str:
    """Return the source of some names in one of our modules, with the imports and other names of it that they need.

    Names in `shown`, as `module.name`, are left out; those returned are added. Raises KeyError for an unknown name.
    """
    imports, sources, uses = _read_module(module)
    wanted: set[str] = set()
    queue = list(names)
    while queue:
        name = queue.pop()
        if name not in wanted and f"{module}.{name}" not in shown:
            wanted.add(name)
            queue += [used for used in uses[name] if used in sources]
    shown.update(f"{module}.{name}" for name in wanted)
    used = {name for wanted_one in wanted for name in uses[wanted_one]}
    needed = _import_lines({imports[name] for name in used if name in imports})
    shown_sources = [source for name, source in sources.items() if name in wanted]
    return "\n\n\n".join([part for part in [needed, *shown_sources] if part])


@cache
def _read_module(module: str) -> tuple[dict[str, tuple[str, str]], dict[str, str], dict[str, frozenset[str]]]:
    """Return what a module imports (name -> module, what), and the source and the names in each definition."""
    text = (_ROOT / Path(*module.split("."))).with_suffix(".py").read_text("utf-8")
    imports: dict[str, tuple[str, str]] = {}
    sources: dict[str, str] = {}
    uses: dict[str, frozenset[str]] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Import):
            imports |= {alias.asname or alias.name.split(".")[0]: ("", ast.unparse(alias)) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imports |= {alias.asname or alias.name: (node.module, ast.unparse(alias)) for alias in node.names}
        elif name := _defined_name(node):
            begin = min([node.lineno, *(decorator.lineno for decorator in getattr(node, "decorator_list", []))])
            sources[name] = "\n".join(text.splitlines()[begin - 1 : node.end_lineno])
            uses[name] = frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name))
    return imports, sources, uses


def _defined_name(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
    return target.id if isinstance(target, ast.Name) else ""


def _import_lines(imports: set[tuple[str, str]]) -> str:
    lines = [f"import {name}" for module, name in sorted(imports) if not module]
    modules = sorted({module for module, _ in imports if module}, key=lambda name: (name.startswith("core."), name))
    lines += [f"from {module} import {', '.join(sorted(n for m, n in imports if m == module))}" for module in modules]
    return "\n".join(lines)


_TEMPLATE = Path(__file__).parent / "templates" / "reproduce.py"
_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


class Stage(NamedTuple):
    """One training; a fork's recipe starts with its parent's stages."""

    config: RunConfig  # at the start
    sha256: str  # of the text
    setting_changes: tuple[tuple[int, str, Any], ...]  # step, setting and value, in the order they take effect
    until: int  # the last step
    measured: dict[int, float]  # validation losses of the run, by step
    precision: str  # float32 or bfloat16
    threads: int  # of the CPU


class Recipe(NamedTuple):
    """What is needed to train a run again."""

    name: str  # any text
    stages: tuple[Stage, ...]  # the last one is the run itself
    made_with: dict[str, str]  # the machine and the libraries, on which the last digits depend
    has_start: bool = False  # whether it starts from weights in the run's own folder


_SCRIPT = {
    "how": (
        "Put this file next to the folder `core` of GPT Explorer, and run it with the same Python. If the text is "
        "not known there, give the name of its file after the name of this script."
    ),
}
_NOTEBOOK = {
    "how": (
        "Put this notebook next to the folder `core` of GPT Explorer, and run all its cells with the same Python. If "
        "the text is not known there, write the name of its file into `TEXT_FILES`."
    ),
    "HERE": "Path.cwd()",
    "TEXT_FILES": '[]  # for example ["my_diary.txt"]',
}
_START = (
    "It started from weights that this file cannot train. Put `start.safetensors` and `tokenizer.json` next to this "
    "file; both are in the run's own folder, which Download on the page Runs has."
)


def recipe_text(recipe: Recipe, *, as_notebook: bool) -> str:
    """Return a Jupyter notebook, or a Python file, that trains the run again and compares its losses."""
    form = _NOTEBOOK if as_notebook else _SCRIPT
    stages = [stage._asdict() | {"config": stage.config.model_dump(mode="json")} for stage in recipe.stages]
    values = {
        "NAME": python_literal(recipe.name),
        "MADE_WITH": python_literal(recipe.made_with),
        "STAGES": python_literal(stages),
    }
    values |= {name: value for name, value in form.items() if name.isupper()}
    if recipe.has_start:
        values["START"] = 'HERE / "start.safetensors"'
    _, *split = _CELL.split(_TEMPLATE.read_text("utf-8"))
    cells = []
    for is_markdown, source in zip(split[::2], split[1::2], strict=True):
        if is_markdown:
            cells.append(markdown(re.sub(r"^# ?", "", source.strip(), flags=re.MULTILINE)))
        else:
            for name, value in values.items():
                source = re.sub(rf"^({name} = ).*$", lambda match, value=value: match[1] + value, source, flags=re.M)
            cells.append(code(source))
    cells[0] = markdown(f"{cells[0].source}\n\n{form['how']}" + f"\n\n{_START}" * recipe.has_start)
    return to_notebook(cells) if as_notebook else to_script(cells)


def python_literal(value: Any) -> str:
    """Return plain data as Python source that evaluates to it."""
    return pformat(value, width=108, compact=True, sort_dicts=False)
