"""One at a time: who reads how runs fare and changes it by what was read has to be alone with them meanwhile."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.atomic_io import lock
from core.errors import RunError

_LOCK = "supervisor.lock"


@contextmanager
def one_at_a_time(runs: Path) -> Iterator[None]:
    """Be the only supervisor of a folder of runs, among threads and processes; wait until that can be.

    Raises RunError where the folder is gone, cannot be written to, or cannot be locked.
    """
    try:
        file = (runs / _LOCK).open("ab")
    except OSError as error:
        raise RunError(
            f"The runs in {runs} cannot be looked after ({error.strerror}). "
            "Check that the folder is there and can be written to."
        ) from None
    with file:
        lock(file)
        yield


@contextmanager
def beside_supervisors(runs: Path) -> Iterator[None]:
    """The same for a worker or a shell, which leave no trace where no supervisor has ever been."""
    if not (runs / _LOCK).exists():
        yield
        return
    with one_at_a_time(runs):
        yield
