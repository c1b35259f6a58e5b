"""Runs: all runs, side by side."""

import streamlit as st

from explorer.i18n.language import _
from explorer.runs import table
from explorer.runs.comparison import draw_comparison
from explorer.services import shared
from explorer.services.visitors import visitor
from explorer.widgets import address, session
from explorer.widgets.import_export import draw_import
from explorer.widgets.layout import empty_state, errors_shown, literal, page_header
from explorer.widgets.run_rows import read_run_rows
from explorer.widgets.trash import draw_trash

caption = _("All runs on this machine. Select runs to compare their curves.")
if not visitor().is_teacher:
    caption = _("Your own runs. Select runs to compare their curves.")
with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center", key="runs_header"):
    with st.container():
        page_header(_("Runs"), caption)
    with st.container(horizontal=True, width="content", gap="small"):
        draw_import()
        draw_trash("runs")
if notice := session.take_notice():
    st.toast(notice)
table.draw_hosts()
with errors_shown(end=True):
    rows = read_run_rows(shared.data_dir())
if not rows:
    empty_state(
        _("Every run gets a row here: its model, its text, its step and its validation loss."),
        address.page_file("train"),
        _("Train a first model"),
    )
    table.draw_gallery()
    if gallery := table.picked_in_gallery():
        draw_comparison([], [], gallery)
    st.stop()

rows = table.without_sweeps(rows)
for row in rows:
    if row.problem:
        st.warning(literal(row.problem), icon=":material/warning:")
picked = table.draw_run_table(rows)
table.draw_actions(picked)
draw_comparison(rows, picked, table.picked_in_gallery())  # next to the table that it follows
table.draw_gallery()
