"""A run as a document that somebody takes along: a script, a notebook, a report."""

from collections.abc import Callable
from pathlib import Path

from core.errors import ExplorerError
from core.interop.recipes import recipe_notebook, recipe_script
from core.runs.folder import RunFolder
from core.runs.recipes import lineage, recipe_of
from core.runs.reports import report_of

DOCUMENTS: dict[str, Callable[[RunFolder, Path], str]] = {
    "script": lambda run, home: recipe_script(recipe_of(run, home)),
    "notebook": lambda run, home: recipe_notebook(recipe_of(run, home)),
    "report": report_of,
}
"""What each kind is made by, of a run and the home that holds its text and its parent; raises ExplorerError."""


def write_document(run: RunFolder, kind: str, path: Path, home: Path) -> None:
    """Write a run's script, notebook or report into a file.

    Raises ExplorerError where the run has none, or the file cannot be written.
    """
    text = DOCUMENTS[kind](run, home)
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise ExplorerError(f"The {kind} cannot be written to {path.name} ({error.strerror}).") from None


def why_no_document(run: RunFolder, kind: str, home: Path) -> str:
    """A sentence on why a run has no such document; "" where it has."""
    try:
        if kind != "report":
            lineage(run, home)
    except ExplorerError as error:
        return str(error)
    return ""
