"""Writes what a page shows into its address without another entry in the browser's history."""

from collections.abc import Mapping
from urllib.parse import urlencode

import streamlit as st

from explorer.components.bundle import component

_replace = component("replace_address", "page/replace_address.js")


def replace_address(query: Mapping[str, str]) -> None:
    """Let the browser replace the parameters of the address; the next rerun finds them in `st.query_params`.

    Streamlit itself adds an entry to the history for every change, so that a page opened by its bare address would
    have to be left twice by Back.
    """
    before = urlencode(st.query_params.to_dict())
    _replace(key="replace_address", data={"before": before, "query": urlencode(query)}, height=1)
