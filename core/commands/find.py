"""Which run someone means in a shell."""

from pathlib import Path

from core.errors import RunError
from core.runs.folder import RUN_ID, RunFolder, list_runs


def find_run(wanted: str, home: Path) -> RunFolder:
    """The run that is meant by an id, the beginning of one, a name, the path of a run folder, or `latest`.

    Raises RunError where there is none, or more than one.
    """
    path = Path(wanted)
    if RUN_ID.fullmatch(path.name) and path.name != wanted and path.is_dir():
        return RunFolder(path.absolute())
    runs = list_runs(home)
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
