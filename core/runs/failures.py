"""How a run that could not go on is written down: in a sentence, where its user can do something about it."""

import logging

import torch

from core.atomic_io import FULL
from core.errors import DiskFullError, ExplorerError, OutOfMemory, Problem, RunError
from core.runs.folder import RunFolder
from core.runs.records import State

# How torch says it on a processor, and on Apple's GPU.
_OUT_OF_MEMORY = ("can't allocate memory", "cannot allocate memory", "not enough memory", "out of memory")

log = logging.getLogger(__name__)


def write_end(folder: RunFolder, state: State, reason: str, problem: Problem = "") -> None:
    """Write how it ended; where even that cannot be written (disk full, run deleted), the log has to do."""
    changes = {"state": state, "reason": reason, "problem": problem}
    changes |= {"pid": None, "pid_started": None, "seconds_left": None, "notice": ""}
    try:
        folder.write_status(folder.status().model_copy(update=changes))
    except RunError as error:
        log.error("%s", error)


def explain(error: Exception) -> ExplorerError | None:
    """The error in a sentence, where it is one that a user can do something about."""
    if isinstance(error, ExplorerError):
        return error
    if _was_out_of_memory(error):
        return OutOfMemory(
            "There was not enough memory. Choose a smaller batch, a shorter context or a smaller model, or end other "
            "programs. The last save is kept."
        )
    if isinstance(error, OSError) and error.errno in FULL:
        return DiskFullError("The disk is full. Make room, for instance by deleting old runs, then resume this one.")
    if isinstance(error, OSError):
        return RunError(
            f"The system refused what training needs ({error.strerror or type(error).__name__}). "
            "Check the disk and the permissions of the run's folder, then resume this run."
        )
    return None


def _was_out_of_memory(error: Exception) -> bool:
    """torch has a type of its own for a GPU's memory only."""
    if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
        return any(words in str(error).lower() for words in _OUT_OF_MEMORY)
    return isinstance(error, torch.OutOfMemoryError | MemoryError)
