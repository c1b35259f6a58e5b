"""Sweeps: many runs that differ in chosen settings, and their results."""

import streamlit as st

from explorer.i18n.language import _
from explorer.sweeps.scaling_cards import draw_study_form
from explorer.sweeps.sweep_cards import choose_sweep, draw_sweep
from explorer.widgets.address import page_file
from explorer.widgets.layout import empty_state, errors_shown
from explorer.widgets.session import take_notice

with errors_shown(end=True):
    sweep = choose_sweep()
if notice := take_notice():
    st.toast(notice)
draw_study_form()
if sweep is None:
    empty_state(
        _("A sweep trains many runs that differ in chosen settings. Start one on Train, under Sweep over settings."),
        page_file("train"),
        _("Plan a sweep"),
    )
    st.stop()
with errors_shown():
    draw_sweep(sweep)
