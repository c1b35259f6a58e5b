"""A run as a short script or notebook that trains it again next to `core`.

It holds the settings, their changes during training, and the hash of the text, but no weights.
"""

import re
from pathlib import Path
from pprint import pformat
from typing import Any, NamedTuple

from core.config import RunConfig
from core.import_export.notebooks import Cell, code, markdown, to_notebook, to_script

_TEMPLATE = Path(__file__).parent / "templates" / "reproduce.py"
_CELL = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


class Stage(NamedTuple):
    """One training: a fork's recipe begins with its parent's."""

    config: RunConfig  # as it began
    sha256: str  # of the text
    setting_changes: tuple[tuple[int, str, Any], ...]  # step, setting and value, in the order of effect
    until: int  # the last step
    measured: dict[int, float]  # validation losses of the run, by step
    precision: str  # float32 or bfloat16
    threads: int  # of the processor


class Recipe(NamedTuple):
    """What is needed to train a run again."""

    name: str  # any text
    stages: tuple[Stage, ...]  # the last one is the run itself
    made_with: dict[str, str]  # the machine and the libraries, on which the last digits depend
    given: bool = False  # it begins with weights from the run's own folder


_SCRIPT = {
    "how": "Put this file next to the folder `core` of GPT Explorer, and run it with the same Python. Where the text "
    "is not known there, give its file: the name of this script, then the name of the file.",
}
_NOTEBOOK = {
    "how": "Put this notebook next to the folder `core` of GPT Explorer, and run all its cells with the same Python. "
    "Where the text is not known there, write the name of its file into `TEXT_FILES`.",
    "HERE": "Path.cwd()",
    "TEXT_FILES": '[]  # for example ["my_diary.txt"]',
}
_START = (
    "It began with weights that cannot be trained again from here. Put `start.safetensors` and `tokenizer.json` next "
    "to this file; both are in the run's own folder, which Download on the page Runs has."
)


def recipe_script(recipe: Recipe) -> str:
    """Return a Python file that trains the run again and compares its losses."""
    return to_script(_cells(recipe, _SCRIPT))


def recipe_notebook(recipe: Recipe) -> str:
    """Return the same as a Jupyter notebook."""
    return to_notebook(_cells(recipe, _NOTEBOOK))


def _cells(recipe: Recipe, form: dict[str, str]) -> list[Cell]:
    """Return the template's cells with the run's own values."""
    stages = [stage._asdict() | {"config": stage.config.model_dump(mode="json")} for stage in recipe.stages]
    values = {"NAME": literal(recipe.name), "MADE_WITH": literal(recipe.made_with), "STAGES": literal(stages)}
    values |= {name: value for name, value in form.items() if name.isupper()}
    if recipe.given:
        values["START"] = 'HERE / "start.safetensors"'
    _, *split = _CELL.split(_TEMPLATE.read_text("utf-8"))
    cells = []
    for is_markdown, source in zip(split[::2], split[1::2], strict=True):
        if is_markdown:
            cells.append(markdown(re.sub(r"^# ?", "", source.strip(), flags=re.MULTILINE)))
        else:
            cells.append(code(_assigned(source, values)))
    cells[0] = markdown(f"{cells[0].source}\n\n{form['how']}" + f"\n\n{_START}" * recipe.given)
    return cells


def _assigned(source: str, values: dict[str, str]) -> str:
    """Replace what the template assigns to some names."""
    for name, value in values.items():
        source = re.sub(
            rf"^{name} = .*$", lambda match, name=name, value=value: f"{name} = {value}", source, flags=re.M
        )
    return source


def literal(value: Any) -> str:
    """Return plain data as Python source that evaluates to it."""
    return pformat(value, width=108, compact=True, sort_dicts=False)
