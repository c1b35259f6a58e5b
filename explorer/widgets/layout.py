"""The few pieces of layout that every page shares. Titles and sentences given here are ours, never a user's."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import streamlit as st
from plotly import graph_objects as go

from core.errors import ExplorerError
from core.palette import Palette
from explorer.charts.csv_export import Columns, csv_of
from explorer.charts.theme import palette_for
from explorer.components.page import save_drawing
from explorer.i18n.language import _
from explorer.i18n.units import worded


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
    """A bordered panel that answers the one question which is its title.

    Args:
        title: the question.
        note: at most one sentence under it.
        more: a longer explanation (Markdown), behind a question mark.
        key: names the panel as `.st-key-<key>`.
        height: "content", or "stretch" to be as high as what stands beside it.
        corner: draws what stands at the other end of the title's line.
    """
    with st.container(border=True, key=key, height=height):
        if corner:
            with st.container(horizontal=True, horizontal_alignment="distribute"):
                st.markdown(f"##### {worded(title)}", help=worded(more) or None, width="content")
                with st.container(width="content"):
                    corner()
        else:
            st.markdown(f"##### {worded(title)}", help=worded(more) or None)
        if note:
            st.caption(worded(note))
        yield


def chart(figure: go.Figure, *, key: str, numbers: Callable[[], Columns], name: str, **options: Any) -> Any:
    """A plotly chart that can be taken along: by two quiet buttons below it: as SVG, and its numbers as CSV.

    Args:
        figure: already in the app's look (`explorer.charts.theme.style`).
        key: as of any widget.
        numbers: gives the columns of the CSV; asked only when somebody wants them.
        name: of the files, without an ending.
        options: further ones of `st.plotly_chart`.

    Returns:
        what `st.plotly_chart` does.
    """
    drawn = st.plotly_chart(figure, theme=None, config=plotly_config(name), key=key, **options)
    with st.container(horizontal=True, horizontal_alignment="right", gap="small", key=f"{key}_take"):
        save_drawing(key)
        _csv_button(numbers, key, name, _("The numbers of this chart, for a spreadsheet."))
    return drawn


def table_download(columns: Callable[[], Columns], *, key: str, name: str) -> None:
    """The quiet button below a table that saves it as CSV; Streamlit's own would leave formulas in it."""
    with st.container(horizontal=True, horizontal_alignment="right", gap="small", key=f"{key}_take"):
        _csv_button(columns, key, name, _("This table, for a spreadsheet."))


def _csv_button(columns: Callable[[], Columns], key: str, name: str, help: str) -> None:
    st.download_button(
        _("↓ CSV"),
        lambda: csv_of(columns()),
        file_name=f"{name}.csv",
        mime="text/csv",
        key=f"{key}_csv",
        help=help,
        on_click="ignore",
        type="tertiary",
    )


def plotly_config(name: str) -> dict[str, Any]:
    """Plotly's settings that save a chart as a drawing (SVG) of that name; the button below it presses its one."""
    return {
        "displayModeBar": "hover",
        "displaylogo": False,
        "modeBarButtons": [["toImage"]],
        "toImageButtonOptions": {"format": "svg", "filename": name},
        "locale": "en",
        "locales": {"en": {"dictionary": {"Download plot": _("Save as SVG")}}},
    }


def choose(label: str, options: Sequence[str], *, key: str, format_func: Callable[[str], str] = _) -> str:
    """Draw one of a few ways to draw something, without its label, and return the one chosen, at first the first."""
    return st.segmented_control(
        label, options, default=options[0], required=True, key=key, format_func=format_func,
        label_visibility="collapsed",
    )  # fmt: skip


def show_error(error: ExplorerError | str) -> None:
    """What happened, why, and what to do: the error, or its sentence where that was kept, as it is.

    Its text may quote what a user typed, so Markdown in it is switched off.
    """
    st.error(literal(str(error)), icon=":material/error:")


def literal(text: str) -> str:
    """Text as Markdown that shows exactly this text: no formatting, no links, no images."""
    return "".join("\\" + letter if letter in "\\`*_{}[]()<>#+-.!|$~:&^=" else letter for letter in text)


def sentence(text: str) -> str:
    """A sentence of ours, which may quote tokens: exactly as it is, but for the word for what the model reads."""
    return literal(worded(text))


def empty_state(text: str, page: str, label: str, *, query: dict[str, str] | None = None) -> None:
    """Where there is nothing to show yet: what will be here, and the one button that gets you there.

    Args:
        text: what will be here.
        page: the file of the page to go to, such as "pages/train.py".
        label: of the button.
        query: query parameters that the page is opened with.
    """
    with st.container(border=True, horizontal_alignment="center", gap="medium", key="empty_state"):
        st.space("small")
        st.markdown(text, width="content", text_alignment="center")
        if st.button(label, type="primary", key="empty_state_go"):
            st.switch_page(page, query_params=query)
        st.space("small")


def current_palette() -> Palette:
    """The palette that fits the theme the visitor sees now."""
    return palette_for(st.context.theme.type)
