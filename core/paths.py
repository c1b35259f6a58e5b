"""The data folder, which has all files that the app writes."""

import os
from pathlib import Path

from core.errors import ExplorerError


def data_dir() -> Path:
    """Return the folder named by GPT_EXPLORER_HOME, else `~/.gpt-explorer`, made if missing; raises ExplorerError."""
    named = os.environ.get("GPT_EXPLORER_HOME")
    try:
        folder = (Path(named).expanduser() if named else Path.home() / ".gpt-explorer").absolute()
    except RuntimeError:  # HOME is not set and this user is unknown to the system, or there is no user of that name
        what = f"of the user that {named} names" if named else "of this user"
        raise ExplorerError(
            f"GPT Explorer does not know the home folder {what}. Set GPT_EXPLORER_HOME to a folder you can write to."
        ) from None
    check_path(folder)
    try:
        for name in ("runs", "texts", "downloads"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExplorerError(_sentence(folder, error.strerror)) from None
    if not os.access(folder / "runs", os.W_OK | os.X_OK):
        raise ExplorerError(_sentence(folder, "no permission to write"))
    return folder


def gallery_dir() -> Path:
    """Return the folder of the trained models that come with the app (`core.runs.gallery`), which are only read."""
    return Path(__file__).parents[1] / "assets" / "gallery"


def check_path(folder: Path) -> None:
    """Raise ExplorerError where a folder's path is not UTF-8: weights in it could be written, but not read again."""
    try:
        os.fspath(folder).encode()
    except UnicodeEncodeError:
        raise ExplorerError(
            f"The path {os.fsencode(folder)!r} is not UTF-8, so nothing can be kept there. Choose or rename the folder."
        ) from None


def _sentence(folder: Path, why: str | None) -> str:
    return (
        f"GPT Explorer keeps its runs in {folder}, but cannot write there ({why or 'unknown reason'}). "
        "Set GPT_EXPLORER_HOME to a folder you can write to."
    )
