"""What a member of a class sees of it on every page: the class, the nickname, and what the teacher says and shows."""

import streamlit as st

from core.classroom import Classroom, ClassSettings
from core.errors import ExplorerError
from core.paths import mark_shared
from core.runs.folder import open_run
from explorer.classroom.poll import draw_poll
from explorer.i18n.language import _
from explorer.services.visitors import FROZEN, JOIN, NotAllowed, classroom, note_page, visitor
from explorer.widgets.address import OTHER_RUN, RUN, page_file
from explorer.widgets.layout import literal, show_error
from explorer.widgets.session import notify, notifying, recall, remember

_LOOK_AGAIN = 2.0  # seconds between two looks at what the teacher says
_BROUGHT, _FROZEN = "class_page_number", "class_frozen"


def let_in() -> None:
    """End the page with a sentence for whoever is not in the class any more."""
    try:
        visitor()
    except NotAllowed as error:
        show_error(error)
        st.link_button(_("Join the class"), JOIN, type="primary")
        st.stop()


def draw_notices(page: str, title: str) -> None:
    """Draw what the teacher says to all, as soon as it is said; nothing without a class."""
    if (known := classroom()) is None:
        return
    asking = visitor()
    with st.sidebar:
        name = _("Teacher") if asking.is_teacher else asking.nickname
        st.caption(literal(f"{known.title} · {name}"))
        if asking.is_teacher and page != "classroom":
            about = _("Every student's browser opens this page as you see it. A run that it shows is shared.")
            bring = {"on_click": _bring, "args": (known, page, dict(st.query_params)), "key": "bring_class"}
            st.button(_("Bring the class here"), icon=":material/co_present:", help=about, **bring)

    @st.fragment(run_every=_LOOK_AGAIN)
    def draw() -> None:
        let_in()
        now = known.settings
        if asking.is_teacher:
            draw_frozen(now)
            return
        note_page(title)
        if (recall(_BROUGHT) or 0) < now.page_number:
            st.rerun()  # the whole page, which `follow` then leaves
        if recall(_FROZEN, now.frozen) != now.frozen:
            remember(_FROZEN, now.frozen)
            st.rerun()  # the page offers more, or less
        remember(_FROZEN, now.frozen)
        draw_poll(known, now)
        if now.message:
            st.info(literal(now.message), icon=":material/campaign:")
        draw_frozen(now)

    draw()


def draw_frozen(now: ClassSettings) -> None:
    """Say that the class is frozen, if it is."""
    if now.frozen:
        st.warning(_(FROZEN), icon=":material/pause:")


def follow() -> None:
    """Open the page to which the teacher has brought the class, once; a browser that joins afterwards stays."""
    if (known := classroom()) is None or visitor().is_teacher:
        return
    now = known.settings
    if recall(_BROUGHT) is None:
        remember(_BROUGHT, now.page_number)
    if recall(_BROUGHT) < now.page_number:
        remember(_BROUGHT, now.page_number)
        st.switch_page(page_file(now.page), query_params=now.page_query)


@notifying()
def _bring(known: Classroom, page: str, query: dict[str, str]) -> None:
    for name in (RUN, OTHER_RUN):
        if run_id := query.get(name):
            try:
                if not (run := open_run(known.root, run_id)).in_gallery:
                    mark_shared(known.root, run.id)
            except ExplorerError:  # deleted, which the page itself says
                continue
    known.change(page=page, page_query=query, page_number=known.settings.page_number + 1)
    notify(_("The class is brought to this page."))
