"""Look inside: what a model attends to, what it expects, and which letters it treats alike."""

import streamlit as st

from explorer import inside_cards
from explorer.prompt import example_prompt, read_prompt
from explorer.run_choice import open_chosen
from explorer.ui import literal

VIEWS = ("Attention", "Predictions", "Embeddings")

folder, opened = open_chosen(
    "Look inside",
    "Here you open a trained model: where each of its heads looks, letter by letter, what it expects next, and "
    "which letters it has learned to treat alike. It takes a run to look into; the first is trained in half a minute.",
)

if "inspect_prompt" not in st.session_state:
    probe = folder.read_probe()
    st.session_state["inspect_prompt"] = example_prompt(opened.tokenizer, probe.tokens if probe else [])
bigram = opened.model.config.kind == "bigram"
with st.container(horizontal=True, vertical_alignment="bottom"):
    typed = st.text_input("Prompt", key="inspect_prompt", placeholder="Type ⏎ for a new line")
    view = st.segmented_control(
        "View",
        VIEWS,
        default=VIEWS[0],
        required=True,
        key="inspect_view",
        format_func=lambda view: "Table" if bigram and view == "Attention" else view,
        label_visibility="collapsed",
    )

prompt = read_prompt(typed, opened.tokenizer, min(opened.model.block_size, inside_cards.MOST_SEEN))
if view == "Embeddings":
    inside_cards.embedding_cards(opened)
    st.stop()
if view == "Attention" and bigram:
    inside_cards.table_card(opened)
    st.stop()

if prompt.notes:
    st.info(literal(" ".join(prompt.notes)))
if not prompt.ids:
    st.info("Type a few letters that the model knows, and you see what it makes of them.")
elif view == "Predictions":
    inside_cards.prediction_cards(opened, prompt)
else:
    inside_cards.attention_cards(opened, prompt)
