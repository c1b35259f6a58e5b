"""A text from a dataset on Hugging Face's hub, by its name."""

from collections.abc import Callable

import streamlit as st

from core.errors import TextError
from core.text.hub_datasets import Dataset, columns_of_dataset, fetch_dataset, find_dataset
from core.text.own_text import MAX_BYTES
from explorer.i18n.language import _
from explorer.widgets.layout import errors_shown, literal

_KNOWN = ("roneneldan/TinyStories", "Salesforce/wikitext")
_MINUTES = 10  # for which an answer of the hub is remembered


@st.cache_data(ttl=60 * _MINUTES, max_entries=64, show_spinner=False)
def _dataset(name: str) -> Dataset:
    return find_dataset(name)


@st.cache_data(ttl=60 * _MINUTES, max_entries=64, show_spinner=False)
def _columns(dataset: Dataset, part: str) -> list[str]:
    return columns_of_dataset(dataset, part)


def draw_hub_dataset(take: Callable[[str, str, str], None]) -> None:
    """Draw the choice of a dataset, its part, column and size; `take` gets the text, the name and the license."""
    name = st.text_input(_("Dataset"), key="hub_dataset", placeholder=_("owner/name on huggingface.co"), max_chars=200)
    if not name:
        st.caption(_("Needs a network. For example {examples}.", examples=" · ".join(_KNOWN)))
        return
    with errors_shown():
        left, right = st.columns(2)
        with st.spinner(_("Asking the hub ...")):
            dataset = _dataset(name.strip())
            part = left.selectbox(_("Part"), dataset.parts, key=f"hub_part_{name}")
            columns = _columns(dataset, part)
        column = right.selectbox(_("Column"), columns, key=f"hub_column_{name}_{part}")
        megabytes = st.slider(_("At most, in MB"), 1, MAX_BYTES >> 20, 5, key="hub_size")
        st.caption(literal(_("License: {license}.", license=dataset.license)))
        if st.button(_("Download"), key="hub_go"):
            take(_fetched(dataset, part, column, megabytes << 20), name, dataset.license)


def _fetched(dataset: Dataset, part: str, column: str, most_bytes: int) -> str:
    """Return the text, with a bar meanwhile; a press of Stop, as of anything else, ends the download."""
    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text=_("Downloading the text (only once)"))
        st.button(_("Stop"), key="hub_stop")
    text = ""
    for fetched in fetch_dataset(dataset, part, column, most_bytes):
        bar.progress(min(1.0, fetched.bytes / most_bytes), text=_("{size} MB", size=f"{fetched.bytes / 2**20:.1f}"))
        text = fetched.text
    if not text:
        raise TextError(f"The column {column!r} of {dataset.name!r} is empty.")
    return text
