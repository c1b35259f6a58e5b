"""What a member of a class sees of it on every page: the class, the nickname, and what the teacher says."""

import streamlit as st

from explorer.i18n.language import _
from explorer.services.visitors import JOIN, NotAllowed, classroom, note_page, visitor
from explorer.widgets.layout import literal, show_error

_LOOK_AGAIN = 2.0  # seconds between two looks at what the teacher says


def let_in() -> None:
    """End the page with a sentence for whoever is not in the class any more."""
    try:
        visitor()
    except NotAllowed as error:
        show_error(error)
        st.link_button(_("Join the class"), JOIN, type="primary")
        st.stop()


def draw_notices(page: str) -> None:
    """Draw what the teacher says to all, as soon as it is said; nothing without a class."""
    if (known := classroom()) is None:
        return
    asking = visitor()
    with st.sidebar:
        name = _("Teacher") if asking.is_teacher else asking.nickname
        st.caption(literal(f"{known.title} · {name}"))

    @st.fragment(run_every=_LOOK_AGAIN)
    def draw() -> None:
        let_in()
        note_page(page)
        now = known.settings
        if now.message:
            st.info(literal(now.message), icon=":material/campaign:")
        if now.frozen:
            st.warning(_("The class is paused: you can look, but start and change nothing."), icon=":material/pause:")

    draw()
