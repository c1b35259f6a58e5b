"""What every page does in the browser without a picture of its own."""

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlencode

import streamlit as st

from explorer.charts.csv_export import Columns, table_of
from explorer.components.modules import Component

_page = Component("page")


def page_change(page: str, parameters: Sequence[str]) -> None:
    """Scroll another page to its top and, on a phone, fold the sidebar away; the first also for other `parameters`."""
    _page("pageChange", {"page": page, "parameters": parameters}, key="page_change", height=1)


def replace_address(before: Mapping[str, str], query: Mapping[str, str]) -> None:
    """Let the browser replace the parameters of the address; the next rerun finds them in `st.query_params`."""
    # Streamlit itself adds an entry to the history for every change, so that a page opened by its bare address would
    # have to be left twice by Back.
    _page("replaceAddress", {"before": urlencode(before), "query": urlencode(query)}, key="replace_address", height=1)


def report_changes(runs: list[str] | None, drawn: str) -> None:
    """Rerun the page when one of these runs (None: any) changes from the digest as `drawn`."""
    _page("watchRuns", {"runs": runs, "drawn": drawn}, key="watch_runs", height=1, triggers=["changed"])


def preload_plotly() -> None:
    """Put this at the end of a page from which a run may be started; its loss chart is then drawn sooner."""
    _page("preloadPlotly", {}, key="preload_plotly", height=1)


def chart_buttons(chart: str, numbers: Callable[[], Columns]) -> None:
    """Draw the buttons of the plotly chart of that key that show its numbers as a table and save it.

    It is drawn with `explorer.widgets.layout.plotly_config`.
    """
    requested = f"{chart}_table_requested"
    table = table_of(numbers()) if st.session_state.pop(requested, False) else None
    clicked = {"on_table_change": lambda: st.session_state.update({requested: True})}
    _page("chartButtons", {"chart": chart, "table": table}, key=f"{chart}_svg", width="content", **clicked)
