"""The class's notices on every page: the class, the nickname, and the teacher's messages and pages."""

import streamlit as st

from core.classroom import ClassSettings
from explorer.classroom.poll import draw_poll
from explorer.classroom.screen import draw_banner, draw_screen_controls, is_behind
from explorer.i18n.language import _
from explorer.services.visitors import FROZEN, JOIN, NotAllowed, note_page, served_class, visitor
from explorer.widgets.layout import literal, show_error
from explorer.widgets.session import recall, remember

_LOOK_AGAIN = 2.0  # seconds between two updates from the teacher
_DRAWN_FOR = "class_drawn_for"  # in the session: the settings on which a page depends
# Class settings that do not change a page: the fragment below draws them, or `follow_teacher` opens another page.
_OF_NO_PAGE = {
    "message", "question", "choices", "revealed", "closes_gallery", "page", "page_query", "page_inputs", "page_number",
}  # fmt: skip


def require_membership() -> None:
    """End the page with a message if its user is no longer in the class."""
    try:
        visitor()
    except NotAllowed as error:
        show_error(error)
        st.link_button(_("Join the class"), JOIN, type="primary")
        st.stop()


def draw_notices(page: str, title: str) -> None:
    """Draw the teacher's messages as soon as they change; nothing without a class."""
    if (classroom := served_class()) is None:
        return
    asking = visitor()
    with st.sidebar:
        name = _("Teacher") if asking.is_teacher else asking.nickname
        st.caption(literal(f"{classroom.title} · {name}"))
    if asking.is_teacher:
        draw_screen_controls(classroom, page)

    @st.fragment(run_every=_LOOK_AGAIN)
    def draw() -> None:
        try:
            visitor()
        except NotAllowed:
            st.rerun()  # the whole page, which then shows nothing of the class
        now = classroom.settings
        if asking.is_teacher:
            draw_frozen(now)
            return
        note_page(title)
        before = recall(_DRAWN_FOR)
        remember(_DRAWN_FOR, _page_depends_on(now))
        if is_behind(now, page) or before not in (None, _page_depends_on(now)):
            st.rerun()  # the whole page: `follow_teacher` leaves it, or its controls change
        draw_banner(classroom, now, page)
        draw_poll(classroom, now)
        if now.message:
            st.info(literal(now.message), icon=":material/campaign:")
        draw_frozen(now)

    draw()


def _page_depends_on(now: ClassSettings) -> tuple:
    return now.model_dump(exclude=_OF_NO_PAGE), now.gallery_is_closed


def draw_frozen(now: ClassSettings) -> None:
    """Draw a warning if the class is frozen."""
    if now.frozen:
        st.warning(_(FROZEN), icon=":material/pause:")
