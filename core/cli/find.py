"""Which run someone means in a shell."""

import argparse
from pathlib import Path

from core.cli.assignments import is_step
from core.errors import RunError
from core.runs.folder import RUN_ID, RunFolder, list_runs, runs_folder

_MEANS = "id, the beginning of one, name or path of a run, or: latest"


def add_run(parser: argparse.ArgumentParser, *, at_step: bool = False) -> None:
    """Add the argument that `find_run` reads, or `find_run_at`."""
    if at_step:
        parser.add_argument(
            "wanted", metavar="RUN[@STEP]", help=f"{_MEANS}; with the weights that it kept at a step (default: newest)"
        )
    else:
        parser.add_argument("wanted", metavar="RUN", help=_MEANS)


def find_run_at(wanted: str, data_dir: Path) -> tuple[RunFolder, int | None]:
    """Return the run that is meant by `RUN` or `RUN@STEP`, and the step. Raises RunError as `find_run` does."""
    name, at, step = wanted.rpartition("@")
    return (find_run(name, data_dir), int(step)) if at and is_step(step) else (find_run(wanted, data_dir), None)


def find_run(wanted: str, data_dir: Path) -> RunFolder:
    """The run that is meant by an id, the beginning of one, a name, the path of a run folder, or `latest`.

    Raises RunError where there is none, or more than one.
    """
    path = Path(wanted)
    if RUN_ID.fullmatch(path.name) and path.name != wanted and path.is_dir():
        listed = runs_folder(data_dir) / path.name
        return RunFolder(listed if listed.is_dir() and listed.samefile(path) else path.absolute())
    runs = list_runs(data_dir)
    if not runs:
        raise RunError("There are no runs yet. Start one: python -m core train")
    if wanted == "latest":
        return runs[0]
    found = [run for run in runs if wanted and run.id.startswith(wanted)] or [run for run in runs if run.name == wanted]
    if not found:
        raise RunError(f"There is no run {wanted[:80]!r}. List them: python -m core runs")
    if len(found) > 1:
        some = ", ".join(run.id for run in found[:5])
        raise RunError(f"{wanted!r} may mean {len(found)} runs: {some}{', ...' if len(found) > 5 else ''}. Say which.")
    return found[0]
