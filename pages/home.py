"""Home: what this is, one button that starts a GPT, and the runs so far."""

import streamlit as st

from core.errors import ExplorerError
from explorer import service, state
from explorer.components.live import get_ready
from explorer.language import say
from explorer.run_cards import RECENT, draw_beginning, draw_recent, draw_start
from explorer.run_rows import read_rows
from explorer.ui import page_header, show_error
from explorer.words import hardware_in_words

if run_id := state.recall("go_to_run"):
    state.remember("go_to_run", None)
    state.open_page("train", run_id)

page_header(say("Watch a language model learn"))
st.markdown(
    say(
        "Pick a text, press Train, and a GPT learns to write it on this machine, letter by letter, while you watch. "
        "Then open it up: see which letters it looks at, which it treats alike, and what it writes."
    ),
    width=720,
)
try:
    rows = read_rows(service.home(), RECENT)
    draw_start(rows)
    st.caption(hardware_in_words(service.hardware()))
    learn = say("Or learn how it works, step by step")
    if st.button(learn, icon=":material/school:", type="tertiary", key="home_learn"):
        state.open_page("learn")
except ExplorerError as error:
    show_error(error)
    st.stop()

if rows:
    draw_recent(rows)
else:
    draw_beginning()
get_ready()
