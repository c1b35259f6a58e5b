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
from explorer.inside.words import heads_in_words
from explorer.ui import card
from explorer.units import worded

MAP_HEIGHT = 380  # pixels
_LENS = (
    "The **logit lens** (nostalgebraist 2020) asks the model to stop early: what stands in its stream after each block "
    "goes straight to the scores of the letters. Each column is a letter of the prompt, each row a stage, and a cell "
    "the letter that would be said next. A stronger shade is surer."
)


def draw(inside: Inside, clock: Clock) -> None:
    """All views of one model, which move together."""
    left, right = st.columns([9, 13] if inside.config.n_head <= 8 else 2)  # so that all heads of a row are in sight
    with left:
        _all_heads(inside, clock)
        next_letters(clock)
    with right:
        _one_head(inside, clock)
    _lens(clock)
    left, right = st.columns(2)
    with left:
        _continuation(clock)
    with right:
        _letters(clock)


def draw_beside(inside: Inside, clock: Clock, other: Clock) -> None:
    """The same views of two models, or of one at two moments, row by row side by side."""
    for view in (_all_heads, _one_head, next_letters, _lens, _continuation, _letters):
        for column, each in zip(st.columns(2), (clock, other), strict=True):
            with column:
                view(inside, each) if view in (_all_heads, _one_head) else view(each)


def next_letters(clock: Clock) -> None:
    """The likeliest next letters."""
    with card("What comes next?", key=_key("card_next", clock)):
        moving_next(clock, key=_key("next_token", clock))


def _all_heads(inside: Inside, clock: Clock) -> None:
    more = heads_in_words(inside.config.causal)
    note = "Each square is one head. Click one to open it."
    with card("All heads", note, more=more, key=_key("card_heads", clock)):
        picked = moving_heads(clock, key=_key("inspect_board", clock))
        layers, heads = inside.config.n_layer, inside.config.n_head
        # A run beside it may have more heads; those are opened there alone, by the browser.
        if picked and picked != clock.head and picked[0] < layers and picked[1] < heads:
            open_head(*picked)


def _one_head(inside: Inside, clock: Clock) -> None:
    with st.container(border=True, key=_key("card_head", clock)):
        title = st.empty()
        layer, head = clock.head
        if clock.side == "a":  # one choice for both
            with st.container(horizontal=True, vertical_alignment="center"):
                layer, head = choose_head(inside)
        which = "earlier letters" if inside.config.causal else "letters"
        title.markdown(worded(f"##### Head {layer + 1}.{head + 1}: which {which} does each letter look at?"))
        moving_head(clock, key=_key("inspect_heatmap", clock))


def _lens(clock: Clock) -> None:
    with card("What would it say after each block?", more=_LENS, key=_key("card_moving_lens", clock)):
        moving_lens(clock, key=_key("inspect_lens", clock))


def _continuation(clock: Clock) -> None:
    note = "Always with its likeliest letter, so that only training changes the text. Stronger is surer."
    with card("How would it go on?", note, key=_key("card_written", clock)):
        moving_text(clock, key=_key("inspect_written", clock))


def _letters(clock: Clock) -> None:
    with card("Which letters does it treat alike?", key=_key("card_moving_map", clock)):
        moving_map(clock, height=MAP_HEIGHT, key=_key("inspect_map", clock))


def _key(name: str, clock: Clock) -> str:
    return name if clock.side == "a" else f"{name}_{clock.side}"
