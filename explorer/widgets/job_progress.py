"""Jobs on a page: their progress while they run, then their results."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import streamlit as st

from core.interpretability import Progress
from explorer.i18n.language import _
from explorer.services.jobs import MISTAKE, Job, job, known
from explorer.widgets.layout import show_error
from explorer.widgets.session import recall, remember

_TICK = 0.4  # seconds between a page's checks of a job


def result_of(
    key: Hashable,
    make: Callable[[], Iterator[Progress[Any]]],
    what: str,
    meanwhile: Callable[[Any], None] | None = None,
) -> Any:
    """Return a job's result; until then, None and a progress bar for `what`; `meanwhile` draws a partial result."""
    current = known(key) or job(key, make)
    has_left = recall(f"left_{hash(key)}") is current and (current.stopped or not current.ended)
    if current.ended and current.stopped and not has_left:  # because nobody watched it any longer
        current = job(key, make)
    if current.problem or has_left:
        if current.problem:
            show_error(_(MISTAKE) if current.problem == MISTAKE else current.problem)
        else:
            st.caption(_("Stopped before it was done."))
        if st.button(_("Begin again"), key=f"again_{hash(key)}"):
            job(key, make)
            remember(f"left_{hash(key)}", None)
            st.rerun()
        if meanwhile and has_left and current.result is not None:
            meanwhile(current.result)
        return None
    if current.ended:
        return current.result
    _watch(current, what, hash(key), meanwhile)
    return None


@st.fragment(run_every=_TICK)
def _watch(current: Job, what: str, number: int, meanwhile: Callable[[Any], None] | None = None) -> None:
    if current.ended or recall(f"left_{number}") is current:
        st.rerun()
    current.watch()
    with st.container(horizontal=True, vertical_alignment="center"):
        share = f"{current.share:.0%}" if current.begun else _("waiting for an earlier computation")
        st.progress(current.share, text=f"{what} ({share})")
        st.button(_("Stop"), key=f"stop_{number}", on_click=_leave, args=(current, number))
    if meanwhile:
        meanwhile(current.result)


def _leave(current: Job, number: int) -> None:
    remember(f"left_{number}", current)
    current.leave()
