"""Generate: let a model write, and see its confidence in every letter."""

import streamlit as st

from explorer.generate import cards
from explorer.i18n.language import _, units_of
from explorer.widgets import session
from explorer.widgets.prompt import opening_prompt, questions_of
from explorer.widgets.run_picker import open_chosen

folder, opened = open_chosen(_("Generate"))
text = opened.record.config.data.corpus


def opening() -> str:
    """Return the first question of a task, or the beginning of the model's text."""
    questions, probe = questions_of(text), folder.read_probe()
    return questions[0] if questions else opening_prompt(opened.tokenizer, probe.tokens if probe else [])


session.fit_input("generate_prompt", text, opening)
cards.fit_length(text)
left, right = st.columns([4, 10])
with left:
    typed, settings = cards.ask(folder)
with right, units_of(opened.tokenizer):
    cards.written_card(folder, typed, settings)
    cards.distribution_card(opened, typed, settings)
