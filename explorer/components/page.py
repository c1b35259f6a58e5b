"""Browser components of every page that draw no picture."""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

import streamlit as st

from explorer.charts.csv_export import Columns, table_of
from explorer.components.modules import Component

_page = Component("page")


def page_change(page: str, parameters: Sequence[str]) -> None:
    """On a new page, scroll to the top and fold a phone's sidebar; on new values of `parameters`, only scroll."""
    _page("pageChange", {"page": page, "parameters": parameters}, key="page_change", height=1)


def replace_address(before: Mapping[str, str], query: Mapping[str, str]) -> None:
    """Let the browser replace the parameters of the address; the next rerun finds them in `st.query_params`."""
    # Streamlit adds a history entry for every change, so Back would have to be pressed twice to leave a page that was
    # opened by its bare address.
    _page("replaceAddress", {"before": urlencode(before), "query": urlencode(query)}, key="replace_address", height=1)


def report_changes(runs: list[str] | None, drawn: str) -> None:
    """Rerun the page when the digest of these runs (None: all runs) differs from `drawn`."""
    _page("watchRuns", {"runs": runs, "drawn": drawn}, key="watch_runs", height=1, triggers=["changed"])


def preload_plotly() -> None:
    """Load plotly in advance, at the end of a page that can start a run, so that the loss chart appears sooner."""
    _page("preloadPlotly", {}, key="preload_plotly", height=1)


def chart_buttons(chart: str, numbers: Callable[[], Columns]) -> None:
    """Draw the buttons that show a plotly chart's numbers as a table and save it; `chart` is its key.

    The chart must be drawn with `explorer.widgets.layout.plotly_config`.
    """
    requested = f"{chart}_table_requested"
    table = table_of(numbers()) if st.session_state.pop(requested, False) else None
    clicked = {"on_table_change": lambda: st.session_state.update({requested: True})}
    _page("chartButtons", {"chart": chart, "table": table}, key=f"{chart}_svg", width="content", **clicked)
