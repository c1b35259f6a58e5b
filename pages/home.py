"""Home: a generating model, a button that trains another, and the recent runs."""

import streamlit as st

from core.training.hardware import find_hardware
from explorer.components.page import preload_plotly
from explorer.home.living_model import CAPTION, TITLE, draw_living_model
from explorer.home.run_cards import draw_recent, draw_start, open_first_run, recent_runs
from explorer.i18n.formatting import hardware_in_words
from explorer.i18n.language import _
from explorer.widgets.layout import errors_shown, page_header

open_first_run()

page_header(_(TITLE), _(CAPTION))
with errors_shown(end=True):
    draw_start(recent_runs())
draw_living_model()
draw_recent()
with errors_shown():
    st.caption(hardware_in_words(find_hardware()))
preload_plotly()
