"""The class, for its teacher: how students join, who does what, and what holds for all."""

import streamlit as st

from explorer.classroom.cards import draw_class_settings, draw_end, draw_invitation, draw_roster
from explorer.i18n.language import _
from explorer.services.visitors import classroom, visitor
from explorer.widgets.layout import page_header

known = classroom()
if known is None or not visitor().is_teacher:
    page_header(_("Class"))
    st.info(_("This page is for the teacher of a class. Start one with: python -m explorer --class TITLE"))
    st.stop()
page_header(known.title, _("Who is here, what do they train, and what holds for all?"))
left, right = st.columns([0.62, 0.38], gap="medium")
with left:
    draw_roster(known)
with right:
    draw_invitation(known)
    draw_class_settings(known)
    draw_end(known)
