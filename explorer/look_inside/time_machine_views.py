"""The views that move with the time machine: drawn in the browser from frames, without reruns of the page."""

from contextlib import AbstractContextManager

import streamlit as st

from explorer.components.time_machine import (
    Clock,
    time_machine_head,
    time_machine_heads,
    time_machine_lens,
    time_machine_map,
    time_machine_next,
    time_machine_settled,
    time_machine_text,
)
from explorer.i18n.language import N_, _
from explorer.i18n.units import worded
from explorer.look_inside.captions import heads_in_words, looks_title
from explorer.look_inside.view import Inspection, choose_head, open_head
from explorer.widgets.layout import card

MAP_HEIGHT = 380  # pixels
_LENS = N_(
    "The **logit lens** (nostalgebraist 2020) asks the model to stop early: what stands in its stream after each block "
    "goes straight to the scores of the letters. Each column is a letter of the prompt, each row a stage, and a cell "
    "the letter that would be said next. A stronger shade is surer; a ring marks from where on the final answer leads."
)


def draw(inspection: Inspection, clock: Clock) -> None:
    """All views of one model, which move together."""
    left, right = st.columns([9, 13] if inspection.config.n_head <= 8 else 2)  # so that all heads of a row are in sight
    with left:
        _all_heads(inspection, clock)
        next_letters(clock)
    with right:
        _one_head(inspection, clock)
    left, right = st.columns(2)
    with left:
        _mind(clock)
        _continuation(clock)
    with right:
        _letters(clock)


def draw_beside(inspection: Inspection, clock: Clock, other: Clock) -> None:
    """The same views of two models, or of one at two moments, row by row side by side."""
    for view in (_all_heads, _one_head, next_letters, _mind, _continuation, _letters):
        for column, each in zip(st.columns(2), (clock, other), strict=True):
            with column:
                view(inspection, each) if view in (_all_heads, _one_head) else view(each)


def next_letters(clock: Clock) -> None:
    """The likeliest next letters."""
    with _card(clock, _("What comes next?"), key="card_next"):
        time_machine_next(clock, key=_key("next_token", clock))


def _all_heads(inspection: Inspection, clock: Clock) -> None:
    more = heads_in_words(inspection.config.causal)
    note = _("Each square is one head. Click one to open it.")
    with _card(clock, _("All heads"), note, more=more, key="card_heads"):
        picked = time_machine_heads(clock, key=_key("inspect_board", clock))
        layers, heads = inspection.config.n_layer, inspection.config.n_head
        # A run beside it may have more heads; those are opened there alone, by the browser.
        if picked and picked != clock.head and picked[0] < layers and picked[1] < heads:
            open_head(*picked)


def _one_head(inspection: Inspection, clock: Clock) -> None:
    with st.container(border=True, key=_key("card_head", clock)):
        title = st.empty()
        layer, head = clock.head
        if clock.side == "a":  # one choice for both
            with st.container(horizontal=True, vertical_alignment="center"):
                layer, head = choose_head(inspection)
        title.markdown(worded(f"##### {looks_title(layer, head, inspection.config.causal)}"))
        time_machine_head(clock, key=_key("inspect_heatmap", clock))


def lens(clock: Clock) -> None:
    """What would be said after each block, at all places of the prompt."""
    with _card(clock, _("What would it say after each block?"), more=_(_LENS), key="card_lens"):
        time_machine_lens(clock, key=_key("inspect_lens", clock))


def _mind(clock: Clock) -> None:
    note = _("The next letter as each block would have it; Predictions shows the same for every letter of the prompt.")
    with _card(clock, _("When does it make up its mind?"), note, more=_(_LENS), key="card_mind"):
        time_machine_settled(clock, key=_key("inspect_mind", clock))


def _continuation(clock: Clock) -> None:
    note = _("Always with its likeliest letter, so that only training changes the text. Stronger is surer.")
    with _card(clock, _("How would it go on?"), note, key="card_written"):
        time_machine_text(clock, key=_key("inspect_written", clock))


def _letters(clock: Clock) -> None:
    with _card(clock, _("Which letters does it treat alike?"), key="card_moving_map"):
        time_machine_map(clock, height=MAP_HEIGHT, key=_key("inspect_map", clock))


def _card(clock: Clock, title: str, note: str = "", *, more: str = "", key: str) -> AbstractContextManager[None]:
    return card(title, note, more=more, key=_key(key, clock))


def _key(name: str, clock: Clock) -> str:
    return name if clock.side == "a" else f"{name}_{clock.side}"
