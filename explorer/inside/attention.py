"""Where does each head look?"""

import streamlit as st

from core.inspection.attention import attention_patterns, to_bytes
from explorer.charts.attention import attention_heatmap
from explorer.components.attention_board import attention_board
from explorer.components.attention_reader import attention_reader
from explorer.components.time_machine import Clock
from explorer.inside import moving
from explorer.inside.predictions import next_card
from explorer.inside.view import PLAIN, Inside, choose_head, head_on_view, open_head
from explorer.inside.words import head_in_words
from explorer.ui import card, current_palette

MOST_GUESSES_BESIDE = 6


def draw(inside: Inside) -> None:
    """All heads of a GPT, and one of them large; what can move along the training does."""
    if inside.clock:
        _moving(inside, inside.clock)
    else:
        _still(inside)


def _moving(inside: Inside, clock: Clock) -> None:
    left, right = st.columns([9, 13])
    with left:
        moving.all_heads(inside, clock, heads_in_words(inside.config.causal))
        moving.next_letters(clock)
    with right:
        moving.one_head(inside, clock)
    moving.lens(clock)
    left, right = st.columns(2)
    with left:
        moving.continuation(clock)
    with right:
        moving.letters(clock)


def _still(inside: Inside) -> None:
    prompt, causal = inside.prompt, inside.config.causal
    patterns = attention_patterns(inside.model, prompt.ids)  # (L, H, T, T)
    bytes_ = to_bytes(patterns)
    layer, head = head_on_view(inside)
    left, right = st.columns([9, 13])
    with (
        left,
        card(
            "All heads",
            "Each square is one head. Click one to open it.",
            more=heads_in_words(causal),
            key="card_heads",
        ),
    ):
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
        which = "earlier letters" if causal else "letters"
        title.markdown(f"##### Head {layer + 1}.{head + 1}: which {which} does each letter look at?")
        st.caption(head_in_words(pattern, causal))
        attention_reader(bytes_[layer, head], prompt.shown, row=len(prompt.ids) - 1, key="inspect_reader")
        st.plotly_chart(
            attention_heatmap(pattern, prompt.tokens, current_palette(), causal=causal),
            theme=None,
            config=PLAIN,
            key="inspect_heatmap",
        )


def heads_in_words(causal: bool) -> str:
    """How to read the squares; a model that is not causal sees what comes after a letter too."""
    hidden = "The upper right half is empty because the future is hidden. " if causal else ""
    return (
        f"In every layer several **heads** look {'back ' if causal else ''}side by side. In a square, a row is a "
        "letter that looks, a column a letter looked at, and a stronger shade means more of its attention. "
        f"{hidden}A diagonal line means *look at the letter just before*, a column means *everyone looks at this one*."
    )
