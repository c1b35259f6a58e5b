"""The counted table beside the learned one."""

import numpy as np
import streamlit as st
from torch import Tensor

from core.lessons.bigram import as_probabilities, count_pairs, distance, most_frequent, train_bigram
from core.text.token_display import kind_of, visible
from explorer.charts.bars import prediction_bars
from explorer.charts.bigram_lesson import closing_curve
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import table_heatmap
from explorer.charts.text_format import percent
from explorer.learn.bigram.learned import learned
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette

_SHOWN = 26  # rows and columns: the most frequent characters, so that two tables fit side by side


def frequent_ids(lab: Lab, count: int = _SHOWN) -> list[int]:
    """The most frequent characters' numbers, in the order of the alphabet."""
    return sorted(lab.tokens.index(letter) for letter, _unused in most_frequent(lab.text)[:count])


def _draw(lab: Lab) -> bool:
    counts = count_pairs(lab.train_ids, lab.vocab_size)
    counted = as_probabilities(counts)
    with card(lab.plain("panel"), key="lesson_result"):
        with st.container(height="content"):
            found = learned(lab)
        if found is None:
            return False
        steps = list(found.tables)
        now = lab.value("at", steps[-1], st.select_slider, lab.plain("control"), steps)
        shown = frequent_ids(lab)
        for column, name, table in zip(
            st.columns(2), ("counted", "learned"), (counted, found.tables[now]), strict=True
        ):  # fmt: skip
            with column:
                st.markdown(f"**{lab.plain(name, step=f'{now:,}')}**")
                _heatmap(lab, table, shown, name)
        distances = [distance(table, counted, counts) for table in found.tables.values()]
        lab.found |= {"counted": counted, "counts": counts}
        st.markdown(lab.say("result", step=f"{now:,}", elsewhere=percent(distances[steps.index(now)])))
        chart(
            closing_curve(steps, distances, now, current_palette()), key="lesson_closing", name="learned-and-counted",
            numbers=lambda: {"step": steps, "believed elsewhere": distances},
        )  # fmt: skip
    return True


def _heatmap(lab: Lab, table: Tensor, shown: list[int], name: str) -> None:
    values = table[shown][:, shown].numpy()
    tokens = [lab.tokens[id] for id in shown]
    figure = table_heatmap(values, tokens, current_palette())
    figure.update_layout(height=520)
    figure.update_xaxes(fixedrange=True, tickfont_size=11)
    figure.update_yaxes(fixedrange=True, tickfont_size=11)
    signs = [visible(token) for token in tokens]
    chart(
        figure, key=f"lesson_{name}", name=f"table-{name}",
        numbers=lambda: matrix_columns(values, signs, signs, ("letter", "next letter", "probability")),
    )  # fmt: skip


def surest_letter(lab: Lab) -> int:
    """The letter that leaves least doubt about what follows it: among those seen often whose row the tables show."""
    shown = np.isin(np.arange(lab.vocab_size), frequent_ids(lab))
    answered = shown & shown[lab.found["learned"].model.table().argmax(dim=1).numpy()]  # the cell asked for, too
    often = lab.found["counts"].sum(dim=1).numpy() >= 100
    letters = np.array([token.isalpha() for token in lab.tokens])
    choices = (answered & often & letters, answered & letters, answered, shown)
    rows = next(rows for rows in choices if rows.any())
    return int(np.where(rows, lab.found["counted"].max(dim=1).values.numpy(), -1).argmax())


def _row(lab: Lab) -> np.ndarray:
    return lab.found["learned"].model.table()[surest_letter(lab)].numpy()


def _show_row(lab: Lab, given: str) -> None:
    signs = [visible(token) for token in lab.tokens]
    kinds = [kind_of(token) for token in lab.tokens]
    chart(
        prediction_bars(_row(lab), signs, kinds, current_palette(), count=6), key="lesson_row", name="row",
        numbers=lambda: {"next letter": signs, "probability": _row(lab)},
    )  # fmt: skip


def _letter(lab: Lab) -> dict:
    return {"letter": visible(lab.tokens[surest_letter(lab)]), "share": percent(float(_row(lab).max()))}


def _options(lab: Lab) -> list[str]:
    """The right one among characters that are frequent anywhere, in the order of the alphabet."""
    right = lab.tokens[int(_row(lab).argmax())]
    letters = [letter for letter, _unused in most_frequent(lab.text) if letter != right and letter.isalpha()][:3]
    return [visible(letter) for letter in sorted([right, *letters])]


STEP = Step(
    "table",
    _draw,
    code=(count_pairs, as_probabilities, train_bigram, distance),
    question=Question(
        answer=lambda lab: visible(lab.tokens[int(_row(lab).argmax())]),
        options=_options,
        show=_show_row,
        more=_letter,
    ),
)
