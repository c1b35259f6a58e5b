"""The data folder, which contains all files that the app writes."""

import os
from pathlib import Path

from core.errors import ExplorerError

# Subfolders of a class's data folder: its members' data folders, and an empty marker file for each shared run or text.
_MEMBERS, _SHARED = "members", "shared"


def data_dir() -> Path:
    """Return the folder GPT_EXPLORER_HOME, else `~/.gpt-explorer`, created if missing; raises ExplorerError."""
    named = os.environ.get("GPT_EXPLORER_HOME")
    try:
        folder = (Path(named).expanduser() if named else Path.home() / ".gpt-explorer").absolute()
    except RuntimeError:  # HOME is not set and this user is unknown to the system, or there is no user of that name
        what = f"of the user that {named} names" if named else "of this user"
        raise ExplorerError(
            f"GPT Explorer does not know the home folder {what}. Set GPT_EXPLORER_HOME to a folder you can write to."
        ) from None
    check_path(folder)
    return made_data_dir(folder)


def made_data_dir(folder: Path) -> Path:
    """Return a data folder, created if missing; raises ExplorerError if it is not writable."""
    try:
        for name in ("runs", "texts", "downloads"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExplorerError(_sentence(folder, error.strerror)) from None
    if not os.access(folder / "runs", os.W_OK | os.X_OK):
        raise ExplorerError(_sentence(folder, "no permission to write"))
    return folder


def member_home(root: Path, member: str) -> Path:
    """Return the data folder of one class member, with the member's own runs and texts, inside the class's folder."""
    return root / _MEMBERS / member


def class_root(folder: Path) -> Path:
    """Return the class's data folder for a member's data folder; any other folder is returned unchanged."""
    return folder.parents[1] if folder.parent.name == _MEMBERS else folder


def member_homes(folder: Path) -> list[Path]:
    """Return the data folders of a class's members; empty if `folder` does not belong to a class."""
    try:
        return sorted(path for path in (folder / _MEMBERS).iterdir() if path.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def all_homes(folder: Path) -> list[Path]:
    """Return a data folder and, if it belongs to a class, its members' data folders."""
    return [folder, *member_homes(folder)]


def mark_shared(root: Path, name: str, *, shared: bool = True) -> None:
    """Share the run or text called `name` with all members of a class, or stop sharing it; raises ExplorerError."""
    mark = root / _SHARED / name
    try:
        mark.parent.mkdir(exist_ok=True)
        mark.touch() if shared else mark.unlink(missing_ok=True)
    except OSError as error:
        raise ExplorerError(f"This cannot be shared: {error.strerror}.") from None


def is_shared(root: Path, name: str) -> bool:
    """Return whether all members of a class may read the run or text called `name`."""
    return (root / _SHARED / name).exists()


def shared_names(root: Path) -> list[str]:
    """Return the names of all runs and texts that are shared in a class, newest run first."""
    folder = root / _SHARED
    return sorted((mark.name for mark in folder.iterdir()), reverse=True) if folder.is_dir() else []


def gallery_dir() -> Path:
    """Return the read-only folder of the trained models that come with the app (`core.runs.gallery`)."""
    return Path(__file__).parents[1] / "assets" / "gallery"


def check_path(path: Path) -> None:
    """Raise ExplorerError if a path is not UTF-8: weights there could be written, but not read back."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        raise ExplorerError(
            f"The path {os.fsencode(path)!r} is not UTF-8, so nothing can be kept there. Choose or rename the folder."
        ) from None


def _sentence(folder: Path, why: str | None) -> str:
    return (
        f"GPT Explorer keeps its runs in {folder}, but cannot write there ({why or 'unknown reason'}). "
        "Set GPT_EXPLORER_HOME to a folder you can write to."
    )
