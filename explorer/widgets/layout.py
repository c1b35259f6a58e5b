"""The few pieces of layout that every page shares. Titles and sentences passed here are ours, never a user's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st
from plotly import graph_objects as go

from core.classroom import GalleryClosed
from core.errors import ExplorerError
from core.interpretability.activations import PartError
from core.palette import Palette
from explorer.charts.csv_export import Columns, csv_of
from explorer.charts.theme import palette_for
from explorer.components.page import chart_buttons
from explorer.i18n.language import _, in_units


def page_header(title: str, caption: str = "") -> None:
    """Draw the title of a page and one sentence under it."""
    st.title(title, anchor=False)
    if caption:
        st.caption(caption)


@contextmanager
def card(
    title: str,
    note: str = "",
    *,
    more: str = "",
    key: str | None = None,
    height: str = "content",
    corner: Callable[[], None] | None = None,
) -> Iterator[None]:
    """Draw a bordered panel; `more` (Markdown) is behind a question mark, `corner` draws beside the title."""
    with st.container(border=True, key=key, height=height):
        if corner:
            with st.container(horizontal=True, horizontal_alignment="distribute"):
                st.markdown(f"## {in_units(title)}", help=in_units(more) or None, width="content")
                with st.container(width="content"):
                    corner()
        else:
            st.markdown(f"## {in_units(title)}", help=in_units(more) or None)
        if note:
            st.caption(in_units(note))
        yield


def chart(figure: go.Figure, *, key: str, numbers: Callable[[], Columns], name: str, **options: Any) -> Any:
    """Draw a plotly chart with three unobtrusive buttons: its `numbers` as a table, and files `name`.svg and .csv."""
    drawn = st.plotly_chart(figure, theme=None, config=plotly_config(name), key=key, **options)
    _download_buttons(numbers, key, name, _("The numbers of this chart, for a spreadsheet."), drawing=True)
    return drawn


def table_download(columns: Callable[[], Columns], *, key: str, name: str) -> None:
    """Draw the unobtrusive button that saves a table as CSV; Streamlit's own would leave formulas in it."""
    _download_buttons(columns, key, name, _("This table, for a spreadsheet."), drawing=False)


def _download_buttons(columns: Callable[[], Columns], key: str, name: str, help: str, *, drawing: bool) -> None:
    with st.container(horizontal=True, horizontal_alignment="right", gap="small", key=f"{key}_take"):
        if drawing:
            chart_buttons(key, columns)
        file = {"file_name": f"{name}.csv", "mime": "text/csv", "key": f"{key}_csv"}
        st.download_button(_("↓ CSV"), lambda: csv_of(columns()), **file, help=help, on_click="ignore", type="tertiary")


def plotly_config(name: str) -> dict[str, Any]:
    """Return the plotly config that saves a chart as SVG with this name, like the button below the chart."""
    return {
        "displayModeBar": "hover",
        "displaylogo": False,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"format": "svg", "filename": name},
        "locale": "en",
        "locales": {"en": {"dictionary": {"Download plot": _("Save as SVG")}}},
    }


def choose(label: str, options: Sequence[str], *, key: str, format_func: Callable[[str], str] = _) -> str:
    """Draw a choice of a few options without its label; return the chosen one, initially the first."""
    return st.segmented_control(
        label, options, default=options[0], required=True, key=key, format_func=format_func,
        label_visibility="collapsed",
    )  # fmt: skip


def show_error(error: ExplorerError | str) -> None:
    """Show an error, or its sentence, exactly as it is: it may quote what a user typed."""
    st.error(literal(str(error)), icon=":material/error:")


@contextmanager
def errors_shown(*, end: bool = False) -> Iterator[None]:
    """Show an ExplorerError raised inside, in place of the rest of the block; `end`: also end the page."""
    try:
        yield
    except (PartError, GalleryClosed) as error:  # nobody's mistake
        st.info(literal(str(error)))
    except ExplorerError as error:
        show_error(error)
        if end:
            st.stop()


def literal(text: str) -> str:
    """Return Markdown that shows exactly this text: no formatting, no links, no images."""
    return "".join("\\" + letter if letter in "\\`*_{}[]()<>#+-.!|$~:&^=" else letter for letter in text)


def sentence(text: str) -> str:
    """Return literal Markdown of our sentence, which may quote tokens, in the unit that the model reads."""
    return literal(in_units(text))


def empty_state(text: str, page: str, label: str) -> None:
    """Draw what will be here, and the button that opens the page where it is made."""
    with st.container(border=True, horizontal_alignment="center", gap="medium", key="empty_state"):
        st.space("small")
        st.markdown(text, width="content", text_alignment="center")
        if st.button(label, type="primary", key="empty_state_go"):
            st.switch_page(page)
        st.space("small")


def current_palette() -> Palette:
    """Return the palette of the visitor's current theme."""
    return palette_for(st.context.theme.type)
