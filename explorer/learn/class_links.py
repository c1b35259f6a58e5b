"""The link with which a teacher hands out a step as it stands."""

import streamlit as st

from explorer.learn.lab import Lab
from explorer.widgets import address


def class_link(lab: Lab) -> None:
    """A popover with the link of this step, its text and values, and a choice of controls to hide."""
    with st.popover(lab.word("link"), icon=":material/link:", type="tertiary", key="lesson_link"):
        st.caption(lab.word("link_idea"))
        hide = st.multiselect(
            lab.word("link_hide"), list(lab.controls), key=f"hide-{lab.lesson}-{lab.step}", format_func=lab.labels.get
        )
        base = st.context.url.split("?")[0].removesuffix("/").removesuffix("/learn") if st.context.url else ""
        query = address.lesson_query(lab.lesson, lab.step, lab.controls, hide)
        st.code(f"{base}/{query}" if base else query, language=None, wrap_lines=True)
