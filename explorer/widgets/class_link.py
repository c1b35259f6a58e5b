"""A link to the current page for a class: as text, as a QR code, and in a class as a short code to type."""

import io
from collections.abc import Callable

import segno
import streamlit as st

from explorer.i18n.language import _
from explorer.services.visitors import LINK, address_for_others, is_local, served_class, visitor
from explorer.widgets.layout import literal

_PICTURE = 170  # px, of a QR code


def qr_code(link: str, width: int) -> None:
    """Draw a QR code of a link, dark on white in every theme."""
    drawing = io.BytesIO()
    segno.make(link, micro=False).save(drawing, kind="svg", scale=4, border=3, light="#fff")
    st.image(drawing.getvalue().decode(), width=width)


def link_popover(label: str, key: str, address: Callable[[], str], draw: Callable[[], object]) -> None:
    """Draw a popover with a link to an address relative to the app, below what `draw` draws.

    Draw nothing for a student of a class. Once it is open, it shows a QR code, and in a class a short code.
    """
    if not visitor().is_teacher:
        return
    popover = st.popover(label, icon=":material/link:", type="tertiary", key=key, on_change="rerun")
    with popover:
        draw()
        base, path = address_for_others(), address()
        link = f"{base}/{path}" if base else path
        st.code(link, language=None, wrap_lines=True)
        if popover.open and base:
            _draw_codes(base, path)


def _draw_codes(base: str, path: str) -> None:
    classroom = served_class()
    short = f"{base}/{LINK}/{classroom.link_code(path)}" if classroom else ""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        qr_code(short or f"{base}/{path}", _PICTURE)
        if short:
            with st.container(width="content", gap="xsmall"):
                st.caption(_("Or type this address, once in the class:"))
                st.markdown(f"### {literal(short.partition('://')[2])}")
    if is_local(base):
        st.caption(_("Only this machine can open this link: the app accepts no connections from others."))
