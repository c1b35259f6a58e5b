"""The views that move with the time machine: drawn in the browser from frames, without reruns of the page.

To add one: compute its part of a frame in `frames.py`, give it a row here, and draw it in
`assets/components/time_machine/view.js`.
"""

from typing import Any, NamedTuple

import streamlit as st

from core.formatting import head_name
from core.interpretability.ablation import Part
from explorer.components.time_machine import TimeMachineState, time_machine_view
from explorer.i18n.language import N_, _
from explorer.look_inside.ablation import draw_head_buttons, draw_head_effect
from explorer.look_inside.inspection import Inspection, choose_head, open_head
from explorer.widgets.layout import card

MAP_HEIGHT = 380  # pixels
_LENS = N_(
    "The output layer reads the residual stream after each block. A cell is the most likely next token, shaded by its "
    "probability. From the ring on, the final prediction leads."
)


class TimeMachineView(NamedTuple):
    """One view: its drawing function, its part of the frame, its keys, and the texts of its card."""

    name: str  # in assets/components/time_machine/view.js
    part: str  # of `frames.PARTS`
    key: str  # of its component
    card: str  # key of its card
    title: str
    note: str = ""  # the question that it answers
    help: str = ""


HEADS = TimeMachineView(
    "heads",
    "attention",
    "inspect_board",
    "card_heads",
    N_("Attention patterns of all heads"),
    N_("Each square is one head. Click one to open it."),
    N_(
        "A row is a query, a column a key, a stronger shade more attention. A diagonal: each token attends to the "
        "previous one. A column: all attend to this one."
    ),
)
HEAD = TimeMachineView(
    "head",
    "attention",
    "inspect_heatmap",
    "card_head",
    N_("Attention pattern, head {place}"),
)
NEXT = TimeMachineView("nextToken", "next", "next_token", "card_next", N_("Next-token probabilities"))
LENS = TimeMachineView(
    "lens", "lens", "inspect_lens", "card_lens", N_("Logit lens"), N_("What does the model predict after each block?"),
    _LENS,
)  # fmt: skip
LENS_AT_END = TimeMachineView(
    "byBlock", "lens", "inspect_lens_at_end", "card_lens_at_end", N_("Logit lens at the last token"),
    N_("The next token as predicted after each block. Predictions shows it for every token of the prompt."), _LENS,
)  # fmt: skip
CONTINUATION = TimeMachineView(
    "text", "written", "inspect_written", "card_written", N_("Greedy continuation"),
    N_("The most likely token each time, so that only training changes the text. Darker: more probable."),
)  # fmt: skip
EMBEDDINGS = TimeMachineView(
    "map", "map", "inspect_map", "card_moving_map", N_("Token embeddings"), N_("Nearby tokens have similar vectors."),
)  # fmt: skip
VIEWS = (HEADS, HEAD, NEXT, LENS, LENS_AT_END, CONTINUATION, EMBEDDINGS)


def draw(inspection: Inspection) -> None:
    """Draw all views of one model, which move together."""
    state = inspection.time_machine
    left, right = st.columns([9, 13] if inspection.config.n_head <= 8 else 2)  # so that all heads of a row are visible
    with left:
        _draw_heads(inspection, state)
        draw_view(NEXT, state)
    with right:
        _draw_head(inspection, state)
    left, right = st.columns(2)
    with left:
        draw_view(LENS_AT_END, state)
        draw_view(CONTINUATION, state)
    with right:
        draw_view(EMBEDDINGS, state, height=MAP_HEIGHT)


def draw_second_run(inspection: Inspection, other: TimeMachineState) -> None:
    """Draw the same views of two models, or of one at two steps, row by row side by side."""
    for view in (HEADS, HEAD, NEXT, LENS_AT_END, CONTINUATION, EMBEDDINGS):
        for column, state in zip(st.columns(2), (inspection.time_machine, other), strict=True):
            with column:
                if view is HEADS:
                    _draw_heads(inspection, state)
                elif view is HEAD:
                    _draw_head(inspection, state)
                else:
                    draw_view(view, state, height=MAP_HEIGHT)


def draw_view(view: TimeMachineView, state: TimeMachineState, **data: Any) -> Any:
    """Draw a view in its card, and return what its component reports."""
    note, more = (_(text) if text else "" for text in (view.note, view.help))
    with card(_(view.title), note, more=more, key=_key(view.card, state)):
        return time_machine_view(view.name, state, key=_key(view.key, state), **data)


def _draw_heads(inspection: Inspection, state: TimeMachineState) -> None:
    clicked = draw_view(HEADS, state).head
    layers, heads = inspection.config.n_layer, inspection.config.n_head
    # The compared run may have more heads; the browser opens those only on their own side.
    if clicked and tuple(clicked) != state.head and clicked[0] < layers and clicked[1] < heads:
        open_head(*map(int, clicked))


def _draw_head(inspection: Inspection, state: TimeMachineState) -> None:
    with st.container(border=True, key=_key(HEAD.card, state)):
        title = st.empty()
        layer, head = state.head
        if state.side == "a":  # one choice for both
            with st.container(horizontal=True, vertical_alignment="center"):
                layer, head = choose_head(inspection)
                draw_head_buttons(inspection, Part("head", layer, head))
            draw_head_effect(inspection, Part("head", layer, head))
        title.markdown(f"## {_(HEAD.title, place=head_name(layer, head))}")
        st.caption(_("Which earlier tokens does each token attend to? A row is a query, a column a key."))
        time_machine_view(HEAD.name, state, key=_key(HEAD.key, state))


def _key(name: str, state: TimeMachineState) -> str:
    return name if state.side == "a" else f"{name}_{state.side}"
