"""Background jobs, one at work at a time in slices of a fraction of a second, with progress and a way to stop.

A job is known by a key. Whoever asks for the same key, in any session, gets the same job, and later its result. Jobs
that are at work take turns, so that everybody sees progress soon. A job ends early once all who watched it have left.
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

MOST_JOBS = 64  # jobs with their results
SLICE = 0.2  # seconds of one job before the next one's; a piece of work that takes longer is not cut
AWAY = 60.0  # seconds without a look after which whoever watched a job has left
MISTAKE = N_("This could not be computed because of a bug; the server's terminal shows details.")

_PARTS = 1000  # that the share of a `reported` computation is counted in

_log = logging.getLogger(__name__)
_lock = threading.Lock()


class _Turns:
    """Whose turn it is among the threads of jobs: they come in the order in which they asked."""

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
        """Give the turn to the next one that waits."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False

    def let_others(self) -> None:
        """Let all who wait have a turn first. torch's own random numbers go on as if nobody had."""
        if self._waiting:
            state = torch.get_rng_state()
            self.end()
            self.take()
            torch.set_rng_state(state)


_turns = _Turns()


class Job:
    """One computation, waiting, at work or ended."""

    def __init__(self) -> None:
        self._stop, self._watchers = threading.Event(), dict[str, float]()
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

    def watch(self) -> None:
        """Note that the session which runs this looks at the job."""
        self._watchers[_session()] = time.monotonic()

    def leave(self) -> None:
        """End the job, unless other sessions look at it; what was computed so far stays."""
        self._watchers.pop(_session(), None)
        if not self._watchers:
            self.stop()

    def stop(self) -> None:
        """End after the piece under way; what was computed so far stays."""
        self._stop.set()

    def run(self, make: Callable[[], Iterator[Progress[Any]]]) -> None:
        """Compute in turns with other jobs, to the end."""
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
            # A thread of its own: what torch sets for a thread, such as no_grad, must not reach another job.
            threading.Thread(target=for_visitor(current.run), args=(make,), name="job", daemon=True).start()
        return current


def known(key: Hashable) -> Job | None:
    """Return the job of that key, if there is one."""
    with _lock:
        return _jobs.get(key)


class _Closed(Exception):
    pass


def reported(compute: Callable[[OnProgress], Any]) -> Iterator[Progress[Any]]:
    """Yield how far a computation is that reports its share by a call; closed, it ends it at the next call."""
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
