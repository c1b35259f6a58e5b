"""Where does each head look?"""

import streamlit as st

from core.inspection.attention import attention_patterns, to_bytes
from explorer.charts.attention import attention_heatmap
from explorer.charts.numbers import matrix_columns
from explorer.components.attention_board import attention_board
from explorer.components.attention_reader import attention_reader
from explorer.inside import arithmetic, moving, whole
from explorer.inside.moment import choose_other
from explorer.inside.predictions import next_card
from explorer.inside.view import Inside, choose_head, head_on_view, open_head
from explorer.inside.words import head_in_words, heads_in_words, heads_seen_in_words, looks_title
from explorer.language import say
from explorer.ui import card, chart, current_palette, sentence
from explorer.units import worded

MOST_GUESSES_BESIDE = 6


def draw(inside: Inside) -> None:
    """All heads of a GPT, and one of them large; what can move along the training does."""
    whole.draw(inside)
    if not inside.clock:
        _still(inside)
    elif other := choose_other(inside.clock):
        moving.draw_beside(inside, inside.clock, other)
    else:
        moving.draw(inside, inside.clock)
    arithmetic.draw(inside)


def _still(inside: Inside) -> None:
    prompt, causal = inside.prompt, inside.config.causal
    patterns = attention_patterns(inside.model, prompt.ids)  # (L, H, T, T)
    bytes_ = to_bytes(patterns)
    layer, head = head_on_view(inside)
    left, right = st.columns([9, 13])
    with (
        left,
        card(
            say("All heads"),
            say("Each square is one head. Click one to open it."),
            more=heads_in_words(causal),
            key="card_heads",
        ),
    ):
        st.caption(sentence(heads_seen_in_words(patterns)))
        picked = attention_board(bytes_, prompt.shown, selected=(layer, head), key="inspect_board")
        if picked and picked != (layer, head):
            open_head(*picked)
    with left:
        next_card(inside, MOST_GUESSES_BESIDE)
    with right, st.container(border=True, key="card_head"):
        title = st.empty()
        with st.container(horizontal=True, vertical_alignment="center"):
            layer, head = choose_head(inside)
        pattern = patterns[layer, head]
        title.markdown(worded(f"##### {looks_title(layer, head, causal)}"))
        st.caption(sentence(head_in_words(pattern, causal)))
        attention_reader(bytes_[layer, head], prompt.shown, row=len(prompt.ids) - 1, key="inspect_reader")
        chart(
            attention_heatmap(pattern, prompt.tokens, current_palette(), causal=causal),
            key="inspect_heatmap",
            numbers=lambda: matrix_columns(
                pattern, prompt.tokens, prompt.tokens, ("looking", "looked at", "attention")
            ),
            name=f"attention-{layer + 1}-{head + 1}",
        )
