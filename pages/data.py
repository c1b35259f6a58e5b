"""Data: choose the training text, and see it as a model does."""

import streamlit as st

from core.text.tasks import task_of
from explorer.data import corpus_cards as cards
from explorer.data import tokenizer_cards
from explorer.i18n.language import _
from explorer.services import shared
from explorer.widgets import address, drafts, session
from explorer.widgets.layout import errors_shown, literal, page_header, show_error
from explorer.widgets.prompt import number_key

page_header(_("Data"), _("A language model learns only from text. Choose one, and see it as the model does."))

if notice := session.take_notice():
    st.toast(notice)

with errors_shown(end=True):
    corpus, corner = cards.choose_corpus()
    st.caption(literal(f"{cards.description(corpus)} {number_key(corpus.name)}"))
    doing = _("Downloading the text (only once)") if corpus.download else _("Reading the text")
    with st.spinner(doing, show_time=corpus.download):
        facts = cards.facts_of(corpus.name, shared.data_dir())
    config = tokenizer_cards.choose_tokenizer(drafts.draft())
    with st.spinner(_("Tokenizing the text"), show_time=True):
        tokens = tokenizer_cards.tokens_of(config.data, shared.data_dir())

if tokens is None:  # a progress bar is drawn
    st.stop()

obstacle = cards.obstacle(config, shared.data_dir())
if obstacle:
    show_error(obstacle)

elif not task_of(corpus.name) and (notice := cards.size_notice(len(facts.ids))):
    st.info(notice)

label = _("Train with this text")
if corner.button(label, type="primary", icon=":material/play_arrow:", key="data_train", disabled=obstacle is not None):
    address.open_page("train", config=config)

cards.figures(facts, tokens, config.data.val_fraction)
left, right = st.columns([2, 3])
with left:
    cards.preview_card(facts)
with right:
    cards.frequency_card(corpus, facts, tokens)
tokenizer_cards.token_card(tokens)
tokenizer_cards.film_card(tokens, config)
tokenizer_cards.vocabulary_card(tokens)
tokenizer_cards.batch_card(tokens, config.data.val_fraction)
