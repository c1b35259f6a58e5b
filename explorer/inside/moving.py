"""The views that move with the time machine: drawn in the browser from frames, without reruns of the page."""

import streamlit as st

from explorer.components.time_machine import (
    Clock,
    moving_head,
    moving_heads,
    moving_lens,
    moving_map,
    moving_next,
    moving_text,
)
from explorer.inside.view import Inside, choose_head, open_head
from explorer.ui import card

MAP_HEIGHT = 380  # pixels
_LENS = (
    "The **logit lens** (nostalgebraist 2020) asks the model to stop early: what stands in its stream after each block "
    "goes straight to the scores of the letters. Each column is a letter of the prompt, each row a stage, and a cell "
    "the letter that would be said next. A stronger shade is surer."
)


def all_heads(inside: Inside, clock: Clock, more: str) -> None:
    """Every head on one board; a click opens one."""
    with card("All heads", "Each square is one head. Click one to open it.", more=more, key="card_heads"):
        picked = moving_heads(clock, key="inspect_board")
        if picked and picked != clock.head:
            open_head(*picked)


def one_head(inside: Inside, clock: Clock) -> None:
    """The head chosen, large."""
    with st.container(border=True, key="card_head"):
        title = st.empty()
        with st.container(horizontal=True, vertical_alignment="center"):
            layer, head = choose_head(inside)
        which = "earlier letters" if inside.config.causal else "letters"
        title.markdown(f"##### Head {layer + 1}.{head + 1}: which {which} does each letter look at?")
        moving_head(clock, key="inspect_heatmap")


def next_letters(clock: Clock) -> None:
    """The likeliest next letters."""
    with card("What comes next?", key="card_next"):
        moving_next(clock, key="next_token")


def lens(clock: Clock) -> None:
    """What would be said after each block."""
    with card("What would it say after each block?", more=_LENS, key="card_lens"):
        moving_lens(clock, key="inspect_lens")


def continuation(clock: Clock) -> None:
    """How it would go on."""
    with card(
        "How would it go on?",
        "Always with its likeliest letter, so that only training changes the text. Stronger is surer.",
        key="card_written",
    ):
        moving_text(clock, key="inspect_written")


def letters(clock: Clock) -> None:
    """The map of the embeddings."""
    with card("Which letters does it treat alike?", key="card_moving_map"):
        moving_map(clock, height=MAP_HEIGHT, key="inspect_map")
