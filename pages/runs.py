"""Runs: all of them, side by side."""

import streamlit as st

from core.errors import ExplorerError
from explorer import run_table, service, state
from explorer.exchange_cards import draw_import
from explorer.language import say
from explorer.run_rows import read_rows
from explorer.ui import empty_state, page_header, show_error

with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="runs_header"):
    with st.container():
        page_header(say("Runs"), say("Everything that was trained here. Tick runs to compare their curves."))
    draw_import()
if notice := state.take_notice():
    st.toast(notice)
try:
    rows = read_rows(service.home())
except ExplorerError as error:
    show_error(error)
    st.stop()
if not rows:
    empty_state(
        say("Here every run will have its line: its model, its text, how far it came and how well it learned."),
        state.page_file("train"),
        say("Train a first model"),
    )
    st.stop()

run_table.draw_damaged(rows)
picked = run_table.draw_table(rows)
run_table.draw_actions(picked)
run_table.draw_comparison(rows, picked)
