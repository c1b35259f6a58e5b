"""Background jobs that run one at a time in slices of a fraction of a second, with progress and a way to stop.

Every session that asks for the same key gets the same job, and later its result. Running jobs take turns, so that all
of them show progress soon. A job ends early once all sessions that watched it have left.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import torch
from cachetools import LRUCache
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.errors import ExplorerError
from core.interpretability import Progress
from core.text.tokenizers import OnProgress
from explorer.i18n.language import N_
from explorer.services.visitors import for_visitor

MAX_JOBS = 64  # jobs with their results
SLICE = 0.2  # seconds before the next job's turn; a longer piece of work is not interrupted
AWAY = 60.0  # seconds without a look after which a session no longer counts as a watcher
MISTAKE = N_("This could not be computed because of a bug; the server's terminal shows details.")

_PARTS = 1000  # units of the progress of a `reported` computation

_log = logging.getLogger(__name__)
_lock = threading.Lock()


class _Turns:
    """The turns of the jobs' threads, in the order of their requests."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[threading.Event] = deque()
        self._taken = False

    def take(self) -> None:
        """Wait for a turn."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Event()
            self._waiting.append(mine)
        mine.wait()

    def end(self) -> None:
        """Pass the turn to the next waiting thread."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False

    def let_others(self) -> None:
        """Let all waiting threads have a turn first, without a change to this one's random numbers of torch."""
        if self._waiting:
            state = torch.get_rng_state()
            self.end()
            self.take()
            torch.set_rng_state(state)


_turns = _Turns()


class Job:
    """One computation that waits, runs or has ended."""

    def __init__(self) -> None:
        self._stop, self._watchers = threading.Event(), dict[str, float]()
        self.progress: Progress[Any] | None = None
        self.problem = ""  # a sentence
        self.begun = self.ended = self._complete = False

    @property
    def result(self) -> Any:
        """The result so far, or None. It is complete once the job has ended without being stopped."""
        return self.progress.result if self.progress else None

    @property
    def share(self) -> float:
        """The share that is done, from 0 to 1."""
        return self.progress.done / max(1, self.progress.total) if self.progress else 0.0

    @property
    def stopped(self) -> bool:
        return self._stop.is_set() and not self._complete

    def watch(self) -> None:
        """Note that the current session watches the job."""
        self._watchers[_session()] = time.monotonic()

    def leave(self) -> None:
        """Stop the job unless other sessions watch it; the result so far stays."""
        self._watchers.pop(_session(), None)
        if not self._watchers:
            self.stop()

    def stop(self) -> None:
        """Stop after the current piece of work; the result so far stays."""
        self._stop.set()

    def run(self, make: Callable[[], Iterator[Progress[Any]]]) -> None:
        """Compute the whole job, in turns with other jobs."""
        _turns.take()
        self.begun = True
        try:
            since = time.monotonic()
            if self.stopped:  # while it waited
                return
            for progress in make():
                self.progress = progress
                if self._watchers and max(self._watchers.values()) < time.monotonic() - AWAY:
                    self.stop()
                if self.stopped:
                    return
                if time.monotonic() - since > SLICE:
                    _turns.let_others()
                    since = time.monotonic()
            self._complete = True
        except ExplorerError as error:
            self.problem = str(error)
        except Exception:
            _log.exception("a computation failed")
            self.problem = MISTAKE
        finally:
            self.ended = True
            _turns.end()


def _session() -> str:
    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context else ""


class _Jobs(LRUCache):
    """The jobs by key; an evicted job is stopped."""

    def popitem(self) -> tuple[Hashable, Job]:
        key, oldest = super().popitem()
        oldest.stop()
        return key, oldest


_jobs = _Jobs(MAX_JOBS)


def job(key: Hashable, make: Callable[[], Iterator[Progress[Any]]]) -> Job:
    """Return the job with this key; start it if there is none, or if the last one was stopped or failed."""
    with _lock:
        current = _jobs.get(key)
        if current is None or (current.ended and (current.stopped or current.problem)):
            current = _jobs[key] = Job()
            # A separate thread: torch's settings for a thread, such as no_grad, must not affect another job.
            threading.Thread(target=for_visitor(current.run), args=(make,), name="job", daemon=True).start()
        return current


def known(key: Hashable) -> Job | None:
    """Return the job with this key, if there is one."""
    with _lock:
        return _jobs.get(key)


class _Closed(Exception):
    pass


def reported(compute: Callable[[OnProgress], Any]) -> Iterator[Progress[Any]]:
    """Yield the progress of a computation that reports its share by a call; if closed, stop it at its next call."""
    shares, closed = SimpleQueue[float | None](), threading.Event()

    def report(share: float) -> None:
        if closed.is_set():
            raise _Closed
        shares.put(share)

    with ThreadPoolExecutor(1) as thread:
        future = thread.submit(compute, report)
        future.add_done_callback(lambda _done: shares.put(None))
        try:
            while (share := shares.get()) is not None:
                yield Progress(int(_PARTS * share), _PARTS, None)
        finally:
            closed.set()
        yield Progress(_PARTS, _PARTS, future.result())
