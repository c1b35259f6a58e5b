"""Background jobs: one worker thread, progress, and a way to stop.

A job is known by a key. Whoever asks for the same key, in any session, gets the same job, and later its result.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cachetools import LRUCache

from core.errors import ExplorerError
from core.interpretability import Progress
from explorer.i18n.language import N_
from explorer.services.visitors import for_visitor

MOST_JOBS = 64  # jobs with their results
MISTAKE = N_("This could not be computed because of a bug; the server's terminal shows details.")

_log = logging.getLogger(__name__)
_thread = ThreadPoolExecutor(1, thread_name_prefix="inspection")  # one: lessons train with torch's own generator
_lock = threading.Lock()


class Job:
    """One computation, waiting, at work or ended."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self.progress: Progress[Any] | None = None
        self.problem = ""  # a sentence
        self.begun = self.ended = self._complete = False

    @property
    def result(self) -> Any:
        """Return what was computed so far; None before. It is complete once the job has ended and was not stopped."""
        return self.progress.result if self.progress else None

    @property
    def share(self) -> float:
        """Return how much is done, from 0 to 1."""
        return self.progress.done / max(1, self.progress.total) if self.progress else 0.0

    @property
    def stopped(self) -> bool:
        return self._stop.is_set() and not self._complete

    def stop(self) -> None:
        """End after the piece under way; what was computed so far stays."""
        self._stop.set()

    def run(self, make: Callable[[], Iterator[Progress[Any]]]) -> None:
        self.begun = True
        try:
            for progress in make():
                self.progress = progress
                if self.stopped:
                    return
            self._complete = True
        except ExplorerError as error:
            self.problem = str(error)
        except Exception:
            _log.exception("a computation failed")
            self.problem = MISTAKE
        finally:
            self.ended = True


class _Jobs(LRUCache):
    """The jobs by their keys; one that has to make room is stopped."""

    def popitem(self) -> tuple[Hashable, Job]:
        key, oldest = super().popitem()
        oldest.stop()
        return key, oldest


_jobs = _Jobs(MOST_JOBS)


def job(key: Hashable, make: Callable[[], Iterator[Progress[Any]]]) -> Job:
    """Return the job of that key; begun now if nobody has asked for it before, or the last one was stopped."""
    with _lock:
        current = _jobs.get(key)
        if current is None or (current.ended and (current.stopped or current.problem)):
            current = _jobs[key] = Job()
            _thread.submit(for_visitor(current.run), make)
        return current


def known(key: Hashable) -> Job | None:
    """Return the job of that key, if there is one."""
    with _lock:
        return _jobs.get(key)
