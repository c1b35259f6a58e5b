"""Train: choose and start a run, then watch it learn."""

import streamlit as st

from explorer.train.dashboard import draw_board
from explorer.train.setup import draw_setup, open_started_run
from explorer.widgets.address import RUN, parameter
from explorer.widgets.drafts import keep_started_run, note_started_run_drawn

open_started_run()
keep_started_run()
run_id = parameter(RUN)
# Each has its own container, and the other is emptied first; otherwise its remains would move down while drawing.
setup, board = (st.container() if here else st.empty() for here in (not run_id, run_id))
if run_id is None:
    with setup:
        draw_setup()
else:
    with board:
        draw_board(run_id)
    note_started_run_drawn()
