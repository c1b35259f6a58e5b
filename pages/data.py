"""Data: choose the text to learn from, and see it as a model will."""

import streamlit as st

from core.errors import ExplorerError
from explorer import service, state, text_cards
from explorer.language import say
from explorer.ui import literal, page_header, show_error

page_header(
    say("Data"), say("A language model learns from text and nothing else. Choose one, and see it as the model will.")
)

if notice := state.take_notice():
    st.toast(notice)

try:
    corpus, beside = text_cards.choose_corpus()
    st.caption(literal(text_cards.description(corpus)))
    doing = say("Fetching the text, once") if corpus.download else say("Reading the text")
    with st.spinner(doing, show_time=corpus.download):
        facts = text_cards.facts_of(corpus.name, service.home())
    config = state.draft()
except ExplorerError as error:
    show_error(error)
    st.stop()

obstacle = text_cards.obstacle(corpus.name, config.model.block_size, config.data.val_fraction, service.home())
if obstacle:
    show_error(obstacle)

label = say("Train with this text")
if beside.button(label, type="primary", icon=":material/play_arrow:", key="data_train", disabled=obstacle is not None):
    state.open_page("train", config=config)

text_cards.figures(facts, config.data.val_fraction)
left, right = st.columns([2, 3])
with left:
    text_cards.preview_card(facts)
with right:
    text_cards.character_card(facts)
text_cards.token_card(facts)
text_cards.batch_card(facts, config.data.val_fraction)
