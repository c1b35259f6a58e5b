"""What takes longer than a moment, computed beside the pages: one thread, a bar of progress, a way to stop.

A job is known by a key. Whoever asks for the same key, in any session, gets the same job, and later its result.
"""

import logging
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import streamlit as st
from cachetools import LRUCache

from core.errors import ExplorerError
from core.interpretability import Progress
from explorer.i18n.language import N_, _
from explorer.widgets.layout import show_error

MOST_KEPT = 64  # jobs with their results
_TICK = 0.4  # seconds between two looks of a page at a job
_MISTAKE = N_("This could not be computed, by a mistake of ours; the terminal of the server tells more.")

_log = logging.getLogger(__name__)
_thread = ThreadPoolExecutor(1, thread_name_prefix="inspection")  # one: training, in lessons, uses torch's own dice
_lock = threading.Lock()


class Job:
    """One computation, waiting, at work or ended."""

    def __init__(self, make: Callable[[], Iterator[Progress[Any]]]):
        self._make: Callable[[], Iterator[Progress[Any]]] | None = make
        self._stop = threading.Event()
        self.progress: Progress[Any] | None = None
        self.problem = ""  # a sentence
        self.begun = self.ended = self._complete = False

    @property
    def result(self) -> Any:
        """What was found so far; None before anything was. Complete once the job has ended and was not stopped."""
        return self.progress.result if self.progress else None

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.progress.done / max(1, self.progress.total) if self.progress else 0.0

    @property
    def stopped(self) -> bool:
        return self._stop.is_set() and not self._complete

    def stop(self) -> None:
        """End after the piece under way; what was found so far stays."""
        self._stop.set()

    def run(self) -> None:
        self.begun = True
        make, self._make = self._make, None  # it may hold a whole model, and the result is kept for long
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
            self.problem = _MISTAKE
        finally:
            self.ended = True


class _Jobs(LRUCache):
    """The jobs by their keys; one that has to make room is stopped."""

    def popitem(self) -> tuple[Hashable, Job]:
        key, oldest = super().popitem()
        oldest.stop()
        return key, oldest


_jobs = _Jobs(MOST_KEPT)


def job(key: Hashable, make: Callable[[], Iterator[Progress[Any]]]) -> Job:
    """The job of that key; begun now if nobody has asked for it before, or the last one was stopped."""
    with _lock:
        found = _jobs.get(key)
        if found is None or (found.ended and (found.stopped or found.problem)):
            found = _jobs[key] = Job(make)
            _thread.submit(found.run)
        return found


def known(key: Hashable) -> Job | None:
    """The job of that key, if there is one."""
    with _lock:
        return _jobs.get(key)


def result_of(
    key: Hashable,
    make: Callable[[], Iterator[Progress[Any]]],
    what: str,
    meanwhile: Callable[[Any], None] | None = None,
) -> Any:
    """A job's result for a page: None while it is at work, with a bar and a button to stop it in its place.

    The page is drawn anew once it has ended. Give the panel enough room to stay where it is meanwhile.

    Args:
        what: is being done, for the bar ("Switching off one head after another").
        meanwhile: draws, below the bar, what was found so far: None before anything was. It is called again and again,
            while the job goes on, and for what a stopped one has left.
    """
    found = known(key) or job(key, make)
    if found.problem or (found.ended and found.stopped):
        if found.problem:
            show_error(_(_MISTAKE) if found.problem == _MISTAKE else found.problem)
        else:
            st.caption(_("Stopped before it was done."))
        if st.button(_("Begin again"), key=f"again_{hash(key)}"):
            job(key, make)
            st.rerun()
        if meanwhile and found.stopped and found.result is not None:
            meanwhile(found.result)
        return None
    if found.ended:
        return found.result
    _watch(found, what, f"stop_{hash(key)}", meanwhile)
    return None


@st.fragment(run_every=_TICK)
def _watch(found: Job, what: str, name: str, meanwhile: Callable[[Any], None] | None = None) -> None:
    if found.ended:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        share = f"{found.share:.0%}" if found.begun else _("waits for what was asked for before")
        st.progress(found.share, text=f"{what} ({share})")
        st.button(_("Stop"), key=name, on_click=found.stop)
    if meanwhile:
        meanwhile(found.result)
