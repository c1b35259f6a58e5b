"""The class: its shared results; for its teacher also the invitation, the students, and the settings for all."""

import streamlit as st

from explorer.classroom.cards import draw_class_settings, draw_end, draw_invitation, draw_roster
from explorer.classroom.hand_in import draw_handed_in
from explorer.classroom.poll import draw_poll_form
from explorer.classroom.sizes import draw_sizes
from explorer.classroom.wall import draw_wall
from explorer.i18n.language import _, language
from explorer.learn.lessons import draw_papers
from explorer.play.class_board import draw_class_game
from explorer.services.visitors import served_class, visitor
from explorer.widgets.layout import page_header
from explorer.widgets.session import take_notice

classroom = served_class()
if classroom is None:
    page_header(_("Class"))
    st.info(_("No class is served here. Start one with: python -m explorer --class TITLE"))
    st.stop()
if not visitor().is_teacher:
    page_header(classroom.title, _("What has the class trained, and what made a difference?"))
    draw_wall(classroom)
    draw_class_game(classroom)
    draw_sizes(classroom)
    st.stop()
page_header(classroom.title, _("Who is here, what does each student train, and what may they change?"))
if notice := take_notice():
    st.toast(notice)
left, right = st.columns([1.15, 1], gap="small")
with left:
    draw_class_settings(classroom)
with right:
    draw_invitation(classroom)
draw_roster(classroom)
draw_poll_form(classroom)
draw_wall(classroom)
draw_class_game(classroom)
draw_sizes(classroom)
draw_handed_in(classroom)
draw_papers(language())
draw_end(classroom)
