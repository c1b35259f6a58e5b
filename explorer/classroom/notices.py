"""What a member of a class sees of it on every page: the class, the nickname, and what the teacher says and shows."""

import streamlit as st

from core.classroom import ClassSettings
from explorer.classroom.poll import draw_poll
from explorer.classroom.screen import draw_banner, draw_screen_controls, is_behind
from explorer.i18n.language import _
from explorer.services.visitors import FROZEN, JOIN, NotAllowed, note_page, served_class, visitor
from explorer.widgets.layout import literal, show_error
from explorer.widgets.session import recall, remember

_LOOK_AGAIN = 2.0  # seconds between two looks at what the teacher says
_DRAWN_FOR = "class_drawn_for"  # in the session: the settings on which a page depends
# Of the settings of a class, those that the fragment below draws, or `follow` opens another page for.
_OF_NO_PAGE = {
    "message", "question", "choices", "revealed", "closes_gallery", "page", "page_query", "page_inputs", "page_number",
}  # fmt: skip


def let_in() -> None:
    """End the page with a sentence where its user is not in the class any more."""
    try:
        visitor()
    except NotAllowed as error:
        show_error(error)
        st.link_button(_("Join the class"), JOIN, type="primary")
        st.stop()


def draw_notices(page: str, title: str) -> None:
    """Draw what the teacher says to all, as soon as it is said; nothing without a class."""
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
            st.rerun()  # the whole page, which then has nothing of the class
        now = classroom.settings
        if asking.is_teacher:
            draw_frozen(now)
            return
        note_page(title)
        before = recall(_DRAWN_FOR)
        remember(_DRAWN_FOR, _page_depends_on(now))
        if is_behind(now, page) or before not in (None, _page_depends_on(now)):
            st.rerun()  # the whole page: `follow` leaves it, or it offers more, or less
        draw_banner(classroom, now, page)
        draw_poll(classroom, now)
        if now.message:
            st.info(literal(now.message), icon=":material/campaign:")
        draw_frozen(now)

    draw()


def _page_depends_on(now: ClassSettings) -> tuple:
    return now.model_dump(exclude=_OF_NO_PAGE), now.gallery_is_closed


def draw_frozen(now: ClassSettings) -> None:
    """Say that the class is frozen, if it is."""
    if now.frozen:
        st.warning(_(FROZEN), icon=":material/pause:")
