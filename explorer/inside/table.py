"""What a bigram has in the place of attention."""

import streamlit as st

from explorer.charts.attention import table_heatmap
from explorer.inside.view import PLAIN, Inside
from explorer.ui import card, current_palette

MOST_ROWS = 96


def draw(inside: Inside) -> None:
    """What a bigram has in the place of attention."""
    tokens = inside.tokenizer.tokens[:MOST_ROWS]
    probabilities = inside.model.table()[: len(tokens), : len(tokens)].numpy()
    left_out = inside.tokenizer.vocab_size - len(tokens)
    with card(
        "What follows each letter?",
        "A bigram has no attention: this table is the whole model. A row is the letter that stands there, a column "
        "the one that may follow." + (f" The last {left_out:,} of its alphabet are left out." if left_out else ""),
        key="card_table",
    ):
        st.plotly_chart(
            table_heatmap(probabilities, tokens, current_palette()),
            theme=None,
            config=PLAIN,
            key="inspect_table",
        )
