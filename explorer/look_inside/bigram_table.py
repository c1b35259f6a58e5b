"""What a bigram has in the place of attention, beside what counting gives."""

import numpy as np
import streamlit as st

from core.errors import TextError
from core.interpretability.embeddings import Tables, compare_tables
from core.text.token_display import visible
from explorer.charts.attention import table_heatmap
from explorer.charts.csv_export import matrix_columns
from explorer.charts.embedding_directions import difference_heatmap
from explorer.charts.text_format import percent
from explorer.i18n.language import N_, _
from explorer.look_inside.run_text import training_ids
from explorer.look_inside.view import Inspection
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette, literal

MOST_ROWS = 96
LEARNED, COUNTED, DIFFERENCE = N_("Learned"), N_("Counted"), N_("Difference")
_MORE = N_(
    "A bigram has no attention: this table is the whole model. A row is the letter that stands there, a column the one "
    "that may follow. **Counted** is what the training text holds: how often each letter truly follows. Training with "
    "gradients finds the same table, slowly; rows of rare letters are learned last."
)


def draw(inspection: Inspection) -> None:
    """The table that was learned, the one that counting gives, or how they differ."""
    tokens = list(inspection.tokenizer.tokens[:MOST_ROWS])
    size, left_out = len(tokens), inspection.tokenizer.vocab_size - len(tokens)
    with card(_("What follows each letter?"), more=_(_MORE), key="card_table"):
        try:
            with st.spinner(_("Counting ...")):
                tables = kept(
                    inspection.model, "pairs", lambda: compare_tables(inspection.model, training_ids(inspection))
                )
        except TextError as error:
            tables = None
            st.info(literal(str(error)))
        choices = [LEARNED, COUNTED, DIFFERENCE] if tables else [LEARNED]
        which = st.segmented_control(
            _("Table"), choices, default=LEARNED, required=True, key="table_which", format_func=_,
            label_visibility="collapsed",
        )  # fmt: skip
        told = []
        if tables:
            told.append(tables_in_words(tables, [visible(token) for token in inspection.tokenizer.tokens]))
        if left_out:
            told.append(_("The last {count} of its alphabet are left out.", count=f"{left_out:,}"))
        if told:
            st.caption(literal(" ".join(told)))
        learned = inspection.model.table()[:size, :size].numpy()
        values = {LEARNED: learned}
        if tables:
            values |= {COUNTED: tables.counted[:size, :size], DIFFERENCE: tables.difference[:size, :size]}
        figure = (
            difference_heatmap(learned, values[COUNTED], tokens, current_palette())
            if which == DIFFERENCE
            else table_heatmap(values[which], tokens, current_palette())
        )
        shown = [visible(token) for token in tokens]
        chart(
            figure,
            key="inspect_table",
            numbers=lambda: matrix_columns(values[which], shown, shown, ("letter", "next letter", which.lower())),
            name=f"table-{which.lower()}",
        )


def tables_in_words(tables: Tables, shown: list[str]) -> str:
    """How far the learned table is from the counted one, in the text's own proportions, and where most."""
    share = tables.seen / max(1, tables.seen.sum())
    moved = np.abs(tables.difference).sum(axis=1) / 2  # of each row's belief, what lies elsewhere
    seen = np.where(tables.seen >= 100, np.abs(tables.difference).max(axis=1), 0)
    row = int(seen.argmax())
    column = int(np.abs(tables.difference[row]).argmax())
    return _(
        "Of what the learned table expects, {share} lies elsewhere than counting says. Among letters seen often, they "
        "differ most on '{letter}' after '{before}': {learned} learned, {counted} counted.",
        share=percent(float(share @ moved)),
        letter=shown[column],
        before=shown[row],
        learned=percent(float(tables.learned[row, column])),
        counted=percent(float(tables.counted[row, column])),
    )
