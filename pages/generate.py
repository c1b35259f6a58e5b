"""Generate: let a model write, and see how sure it was of every letter."""

import streamlit as st

from explorer.generate import cards
from explorer.i18n.language import _, speaking_of
from explorer.widgets import session
from explorer.widgets.prompt import opening_prompt
from explorer.widgets.run_picker import open_chosen

folder, opened = open_chosen(_("Generate"))

if "generate_prompt" not in st.session_state:
    before, probe = session.recall("writing"), folder.read_probe()
    questions = cards.questions_of(folder)
    opening = questions[0] if questions else opening_prompt(opened.tokenizer, probe.tokens if probe else [])
    st.session_state["generate_prompt"] = before["typed"] if before else opening
left, right = st.columns([4, 10])
with left:
    typed, settings = cards.ask(folder)
with right, speaking_of(opened.tokenizer):
    cards.written_card(folder, typed, settings)
    cards.distribution_card(opened, typed, settings)
