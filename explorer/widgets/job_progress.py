"""Jobs on a page: their progress while they are at work, then their results."""

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import streamlit as st

from core.interpretability import Progress
from explorer.i18n.language import _
from explorer.services.jobs import MISTAKE, Job, job, known
from explorer.widgets.layout import show_error

_TICK = 0.4  # seconds between two looks of a page at a job


def result_of(
    key: Hashable,
    make: Callable[[], Iterator[Progress[Any]]],
    what: str,
    meanwhile: Callable[[Any], None] | None = None,
) -> Any:
    """Return a job's result; else None and a progress bar for `what`; `meanwhile` draws a partial one."""
    current = known(key) or job(key, make)
    if current.problem or (current.ended and current.stopped):
        if current.problem:
            show_error(_(MISTAKE) if current.problem == MISTAKE else current.problem)
        else:
            st.caption(_("Stopped before it was done."))
        if st.button(_("Begin again"), key=f"again_{hash(key)}"):
            job(key, make)
            st.rerun()
        if meanwhile and current.stopped and current.result is not None:
            meanwhile(current.result)
        return None
    if current.ended:
        return current.result
    _watch(current, what, f"stop_{hash(key)}", meanwhile)
    return None


@st.fragment(run_every=_TICK)
def _watch(current: Job, what: str, name: str, meanwhile: Callable[[Any], None] | None = None) -> None:
    if current.ended:
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        share = f"{current.share:.0%}" if current.begun else _("waiting for an earlier computation")
        st.progress(current.share, text=f"{what} ({share})")
        st.button(_("Stop"), key=name, on_click=current.stop)
    if meanwhile:
        meanwhile(current.result)
