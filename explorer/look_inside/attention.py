"""Where does each head look?"""

import streamlit as st

from core.interpretability.attention import attention_patterns, to_bytes
from explorer.charts.attention import attention_heatmap
from explorer.charts.csv_export import matrix_columns
from explorer.components.attention import attention_board, attention_reader
from explorer.i18n.language import _
from explorer.i18n.units import worded
from explorer.look_inside import attention_weights, long_prompt, time_machine_views
from explorer.look_inside.captions import head_in_words, heads_in_words, heads_seen_in_words, looks_title
from explorer.look_inside.predictions import next_card
from explorer.look_inside.snapshot import choose_other
from explorer.look_inside.view import Inspection, choose_head, head_on_view, open_head
from explorer.widgets.layout import card, chart, current_palette, sentence

MOST_GUESSES_BESIDE = 6


def draw(inspection: Inspection) -> None:
    """All heads of a GPT, and one of them large; what can move along the training does."""
    long_prompt.draw(inspection)
    if not inspection.clock:
        _still(inspection)
    elif other := choose_other(inspection.clock):
        time_machine_views.draw_beside(inspection, inspection.clock, other)
    else:
        time_machine_views.draw(inspection, inspection.clock)
    attention_weights.draw(inspection)


def _still(inspection: Inspection) -> None:
    prompt, causal = inspection.prompt, inspection.config.causal
    patterns = attention_patterns(inspection.model, prompt.ids)  # (L, H, T, T)
    bytes_ = to_bytes(patterns)
    layer, head = head_on_view(inspection)
    left, right = st.columns([9, 13])
    with (
        left,
        card(
            _("All heads"),
            _("Each square is one head. Click one to open it."),
            more=heads_in_words(causal),
            key="card_heads",
        ),
    ):
        st.caption(sentence(heads_seen_in_words(patterns)))
        picked = attention_board(bytes_, prompt.shown, selected=(layer, head), key="inspect_board")
        if picked and picked != (layer, head):
            open_head(*picked)
    with left:
        next_card(inspection, MOST_GUESSES_BESIDE)
    with right, st.container(border=True, key="card_head"):
        title = st.empty()
        with st.container(horizontal=True, vertical_alignment="center"):
            layer, head = choose_head(inspection)
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
