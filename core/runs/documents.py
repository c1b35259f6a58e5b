"""A run as a document that somebody takes along: a script, a notebook, a report."""

from collections.abc import Callable
from pathlib import Path

from core.atomic_io import write_file
from core.errors import ExplorerError
from core.import_export.reproduce import recipe_notebook, recipe_script
from core.runs.folder import RunFolder
from core.runs.recipes import lineage, recipe_of
from core.runs.reports import report_of

DOCUMENTS: dict[str, Callable[[RunFolder, Path], str]] = {
    "script": lambda run, data_dir: recipe_script(recipe_of(run, data_dir)),
    "notebook": lambda run, data_dir: recipe_notebook(recipe_of(run, data_dir)),
    "report": report_of,
}
"""What each kind is made by, of a run and the home that holds its text and its parent; raises ExplorerError."""


def write_document(run: RunFolder, kind: str, path: Path, data_dir: Path, force: bool = False) -> None:
    """Write a run's script, notebook or report into a file.

    Raises ExplorerError where the run has none, the file cannot be written, or `force` is needed to replace one.
    """
    write_file(path, DOCUMENTS[kind](run, data_dir).encode(), force)


def why_no_document(run: RunFolder, kind: str, data_dir: Path) -> str:
    """A sentence on why a run has no such document; "" where it has."""
    try:
        if kind != "report":
            lineage(run, data_dir)
    except ExplorerError as error:
        return str(error)
    return ""
