"""The one folder under which everything that is written lies."""

import os
from pathlib import Path

from core.errors import ExplorerError


def home() -> Path:
    """The folder named by GPT_EXPLORER_HOME, else `.gpt-explorer` in the user's own folder; made if missing.

    Raises ExplorerError, in a sentence, where it cannot be made or written to.
    """
    folder = Path(os.environ.get("GPT_EXPLORER_HOME") or Path.home() / ".gpt-explorer").expanduser().absolute()
    try:
        for name in ("runs", "texts", "downloads"):
            (folder / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ExplorerError(_sentence(folder, error.strerror)) from None
    if not os.access(folder / "runs", os.W_OK | os.X_OK):
        raise ExplorerError(_sentence(folder, "no permission to write"))
    return folder


def _sentence(folder: Path, why: str | None) -> str:
    return (
        f"GPT Explorer keeps its runs in {folder}, but cannot write there ({why or 'unknown reason'}). "
        "Set GPT_EXPLORER_HOME to a folder you can write to."
    )
