"""Prose and code in a row: as a Jupyter notebook, or as a script in which the prose is comments.

The format is Jupyter's own, nbformat 4.5 (https://nbformat.readthedocs.io); it is plain JSON, so nothing of Jupyter
is needed to write it.
"""

import json
import textwrap
from collections.abc import Iterable
from typing import Literal, NamedTuple

_KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


class Cell(NamedTuple):
    """One piece: prose in Markdown, or code in Python."""

    kind: Literal["markdown", "code"]
    source: str


def prose(source: str) -> Cell:
    return Cell("markdown", source.strip())


def code(source: str) -> Cell:
    return Cell("code", source.strip())


def to_notebook(cells: Iterable[Cell]) -> str:
    """A notebook, not run yet, as the text of its file. The same cells give the same bytes."""
    made = []
    for number, cell in enumerate(cells):
        entry = {"cell_type": cell.kind, "id": f"cell-{number}", "metadata": {}}
        entry["source"] = cell.source.splitlines(keepends=True)
        if cell.kind == "code":
            entry |= {"execution_count": None, "outputs": []}
        made.append(entry)
    document = {"cells": made, "metadata": _KERNEL, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def to_script(cells: Iterable[Cell]) -> str:
    """The same as one file of Python: its first prose is the docstring, all further prose comments."""
    first, *others = cells
    text = '"""' + "\n\n".join(_wrapped(first.source)) + '\n"""\n\n'
    for cell in others:
        comment = cell.kind == "markdown"
        apart = "\n\n" if comment or cell.source.startswith(("def ", "class ")) else ""
        text += apart + ("\n#\n".join(_wrapped(cell.source, "# ")) if comment else cell.source) + "\n"
    return text


def _wrapped(markdown: str, indent: str = "") -> list[str]:
    """Its paragraphs, a heading without its sign."""
    paragraphs = [part.lstrip("# ") for part in markdown.split("\n\n")]
    return [textwrap.fill(part, 110, initial_indent=indent, subsequent_indent=indent) for part in paragraphs]
