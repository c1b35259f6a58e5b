"""Which token follows which? The bigram's table, beside the one that counting gives."""

from functools import partial

import numpy as np
import streamlit as st

from core.errors import TextError
from core.interpretability.embeddings import Tables, compare_tables
from core.text.token_display import visible
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import difference_heatmap, table_heatmap
from explorer.charts.text_format import percent
from explorer.i18n.language import N_, _
from explorer.look_inside.inspection import Inspection
from explorer.look_inside.run_text import run_text
from explorer.services.shared import result_for
from explorer.widgets.layout import card, chart, choose, current_palette, literal

MOST_ROWS = 96
LEARNED, COUNTED, DIFFERENCE = N_("Learned"), N_("Counted"), N_("Difference")
_HELP = N_(
    "A row is the current token, a column the next one. **Counted** is how often each token follows in the training "
    "text. Training learns rows of rare tokens last."
)


def draw(inspection: Inspection) -> None:
    """Draw the learned table, the counted one, or their difference."""
    model, all_tokens = inspection.model, inspection.tokenizer.tokens
    tokens = list(all_tokens[:MOST_ROWS])
    size = len(tokens)
    with card(_("Bigram table"), more=_(_HELP), key="card_table"):
        values = {LEARNED: model.table()[:size, :size].numpy()}
        caption = []
        try:
            with st.spinner(_("Counting ...")):
                tables = result_for(model, "pairs", lambda: compare_tables(model, run_text(inspection).training))
            values |= {COUNTED: tables.counted[:size, :size], DIFFERENCE: tables.difference[:size, :size]}
            caption.append(tables_in_words(tables, [visible(token) for token in all_tokens]))
        except TextError as error:
            st.info(literal(str(error)))
        which = choose(_("Table"), list(values), key="table_which")
        if left_out := len(all_tokens) - size:
            caption.append(_("Tokens left out: {count}.", count=f"{left_out:,}"))
        if caption:
            st.caption(literal(" ".join(caption)))
        if which == DIFFERENCE:
            figure = difference_heatmap(values[LEARNED], values[COUNTED], tokens, current_palette())
        else:
            figure = table_heatmap(values[which], tokens, current_palette())
        shown, name = [visible(token) for token in tokens], which.lower()
        columns = partial(matrix_columns, values[which], shown, shown, ("token", "next token", name))
        chart(figure, key="inspect_table", name=f"table-{name}", numbers=columns)


def tables_in_words(tables: Tables, shown: list[str]) -> str:
    """Return how far the learned table is from the counted one, in the text's own proportions, and where most."""
    share = tables.row_counts / max(1, tables.row_counts.sum())
    moved = np.abs(tables.difference).sum(axis=1) / 2  # of each row's probability, what lies elsewhere
    frequent = np.where(tables.row_counts >= 100, np.abs(tables.difference).max(axis=1), 0)
    row = int(frequent.argmax())
    column = int(np.abs(tables.difference[row]).argmax())
    return _(
        "Mean difference from the counted table: {share} of the probability. Largest among frequent tokens: '{token}' "
        "after '{before}', {learned} learned, {counted} counted.",
        share=percent(float(share @ moved)), token=shown[column], before=shown[row],
        learned=percent(float(tables.learned[row, column])), counted=percent(float(tables.counted[row, column])),
    )  # fmt: skip
