"""Home: what this is, one button that starts a GPT, and the runs so far."""

import streamlit as st

from explorer.components.page import load_ahead
from explorer.home.run_cards import RECENT, draw_beginning, draw_recent, draw_start, lead_to_first_run
from explorer.i18n.formatting import hardware_in_words
from explorer.i18n.language import _
from explorer.services import shared
from explorer.widgets import address
from explorer.widgets.layout import errors_shown, page_header
from explorer.widgets.run_rows import read_rows

lead_to_first_run()

page_header(_("Watch a language model learn"))
st.markdown(
    _(
        "Choose a text, press Train, and watch a GPT learn it on this machine. Then look inside: which letters "
        "it attends to, which have similar embeddings, and what text it generates."
    ),
    width=720,
)
with errors_shown(end=True):
    rows = read_rows(shared.data_dir(), RECENT)
    draw_start(rows)
    st.caption(hardware_in_words(shared.hardware()))
    learn = _("Or learn how it works, step by step")
    if st.button(learn, icon=":material/school:", type="tertiary", key="home_learn"):
        address.open_page("learn")

if rows:
    draw_recent(rows)
else:
    draw_beginning()
load_ahead()
