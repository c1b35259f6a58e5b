"""Where does each head look in a prompt that is too long to draw every token of it?"""

import numpy as np
import streamlit as st

from core.interpretability.attention import coarse_patterns, to_bytes
from explorer.charts.attention import coarse_heatmap, coarse_names
from explorer.charts.csv_export import matrix_columns
from explorer.charts.text_format import percent
from explorer.components.attention import attention_board
from explorer.i18n.language import N_, _
from explorer.look_inside.view import Inspection, head_on_view, open_head
from explorer.services.jobs import result_of
from explorer.widgets.layout import card, chart, current_palette, sentence

MOST_SQUARES = 64  # in a row
_MORE = N_(
    "The model reads all of it at once, but no screen shows a million squares for each head. So neighbouring letters "
    "are drawn as one: a square tells how much of their attention those of its row give, on average, to all of those "
    "of its column together. Every row adds up to 100%. The pictures below read the last letters alone."
)


def draw(inspection: Inspection) -> None:
    """All heads on as much of the prompt as the model can read, coarsened; nothing where it fits below anyway."""
    ids = inspection.prompt.whole[-inspection.model.block_size :]
    if len(ids) <= len(inspection.prompt.ids) or not inspection.config.causal:
        return
    size = -(-len(ids) // MOST_SQUARES)
    layer, head = head_on_view(inspection)
    title = _("Where does head {place} look in the whole prompt?", place=f"{layer + 1}.{head + 1}")
    with card(title, more=_(_MORE), key="card_whole"):
        found = result_of(
            ("whole", *inspection.key, *ids), lambda: coarse_patterns(inspection.model, ids, size),
            _("Reading the whole prompt"),
        )  # fmt: skip
        if found is None:
            return
        names = coarse_names(size, len(ids))
        st.caption(sentence(whole_in_words(found[layer, head], size, len(ids), len(inspection.prompt.whole))))
        left, right = st.columns(2)
        with left:
            picked = attention_board(to_bytes(found), names, selected=(layer, head), key="whole_board")
            if picked and picked != (layer, head):
                open_head(*picked)
        with right:
            chart(
                coarse_heatmap(found[layer, head], size, len(ids), current_palette()),
                key="whole_head",
                numbers=lambda: matrix_columns(found[layer, head], names, names, ("looking", "looked at", "share")),
                name=f"attention-{layer + 1}-{head + 1}-whole",
            )


def whole_in_words(pattern: np.ndarray, size: int, length: int, typed: int) -> str:
    """How coarse it is, and whether the head stays close by."""
    near = float(np.mean([pattern[row, max(0, row - 1) : row + 1].sum() for row in range(1, len(pattern))]))
    told = {
        "length": f"{length:,}",
        "size": size,
        "near": percent(near),
        "first": percent(float(pattern[1:, 0].mean())),
    }
    if typed > length:
        return _(
            "The last {length} of your {typed} letters are read, and drawn {size} by {size} in one square: {near} of "
            "the attention stays within its own {size} letters and the {size} before, {first} goes to the first "
            "{size}.",
            typed=f"{typed:,}", **told,
        )  # fmt: skip
    return _(
        "All {length} letters are read, and drawn {size} by {size} in one square: {near} of the attention stays within "
        "its own {size} letters and the {size} before, {first} goes to the first {size}.",
        **told,
    )
