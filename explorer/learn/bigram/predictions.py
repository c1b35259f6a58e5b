"""The table of the bigram model, counted and learned, and the loss of its predictions."""

import math
from functools import partial

import numpy as np
import streamlit as st
import torch
from torch import Tensor

from core.formatting import decimal, digits
from core.lessons import bigram
from core.model import Bigram
from core.text.token_display import kind_of, visible
from core.training.evaluation import whole_split_loss
from explorer.charts.bars import prediction_bars
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import table_heatmap
from explorer.charts.lessons import closing_curve, cross_entropy_bars, cross_entropy_curve
from explorer.charts.text_format import percent
from explorer.learn.bigram.training import trained_bigram
from explorer.learn.state import StepState
from explorer.learn.steps import Step
from explorer.widgets.layout import card, chart, current_palette

_SHOWN_ROWS = 26  # most frequent characters in each table


def _frequent_ids(state: StepState) -> list[int]:
    return sorted(state.id_of[letter] for letter, _unused in bigram.most_frequent(state.text)[:_SHOWN_ROWS])


def _draw_table(state: StepState) -> None:
    counts = bigram.count_pairs(state.train_ids, state.vocab_size)
    counted = bigram.as_probabilities(counts)
    with card(state.label("panel"), key="lesson_result"):
        with st.container(height="content"):
            trained = trained_bigram(state)
        steps = list(trained.tables)
        now = state.value("at", steps[-1], st.select_slider, "control", steps)
        shown = _frequent_ids(state)
        for column, name, table in zip(
            st.columns(2), ("counted", "learned"), (counted, trained.tables[now]), strict=True
        ):  # fmt: skip
            with column:
                st.markdown(f"**{state.label(name, step=f'{now:,}')}**")
                _heatmap(state, table, shown, name)
        distances = [bigram.distance(table, counted, counts) for table in trained.tables.values()]
        state.results |= {"counted": counted, "counts": counts}
        state.write("result", step=f"{now:,}", elsewhere=percent(distances[steps.index(now)]))
        figure = closing_curve(steps, distances, now, current_palette())
        columns = {"step": steps, "distance": distances}
        chart(figure, key="lesson_closing", name="learned-and-counted", numbers=lambda: columns)


def _heatmap(state: StepState, table: Tensor, shown_ids: list[int], name: str) -> None:
    values = table[shown_ids][:, shown_ids].numpy()
    tokens = [state.tokens[id] for id in shown_ids]
    axis = {"fixedrange": True, "tickfont": {"size": 11}}
    figure = table_heatmap(values, tokens, current_palette()).update_layout(height=520, xaxis=axis, yaxis=axis)
    shown = [visible(token) for token in tokens]
    columns = partial(matrix_columns, values, shown, shown, ("character", "next character", "probability"))
    chart(figure, key=f"lesson_{name}", name=f"table-{name}", numbers=columns)


def _most_predictable(state: StepState) -> int:
    shown = np.isin(np.arange(state.vocab_size), _frequent_ids(state))
    answered = shown & shown[state.results["trained"].model.table().argmax(dim=1).numpy()]  # and the answer's column
    often = state.results["counts"].sum(dim=1).numpy() >= 100
    letters = np.array([token.isalpha() for token in state.tokens])
    choices = (answered & often & letters, answered & letters, answered, shown)
    rows = next(rows for rows in choices if rows.any())
    return int(np.where(rows, state.results["counted"].max(dim=1).values.numpy(), -1).argmax())


def _row(state: StepState) -> np.ndarray:
    return state.results["trained"].model.table()[_most_predictable(state)].numpy()


def draw_next_characters(state: StepState, probabilities: np.ndarray, key: str, name: str, count: int) -> None:
    """Draw the most likely next characters of probabilities (V,) as bars."""
    kinds = [kind_of(token) for token in state.tokens]
    figure = prediction_bars(probabilities, state.shown_tokens, kinds, current_palette(), count=count)
    columns = {"next character": state.shown_tokens, "probability": probabilities}
    chart(figure, key=key, name=name, numbers=lambda: columns)


def _question_numbers(state: StepState) -> dict:
    return {"letter": state.shown_tokens[_most_predictable(state)], "share": percent(float(_row(state).max()))}


def _row_options(state: StepState) -> list[str]:
    right = state.tokens[int(_row(state).argmax())]  # shown among three other frequent letters
    letters = [letter for letter, _unused in bigram.most_frequent(state.text) if letter.isalpha() and letter != right]
    return [visible(letter) for letter in sorted([right, *letters[:3]])]


TABLE = Step(
    "table",
    _draw_table,
    code=(bigram.count_pairs, bigram.as_probabilities, bigram.train_bigram, bigram.distance),
    answer=lambda state: state.shown_tokens[int(_row(state).argmax())],
    options=_row_options,
    show=lambda state, response: draw_next_characters(state, _row(state), "lesson_row", "row", 6),
    more=_question_numbers,
)


_LINE_LENGTH = 32  # characters of the line whose losses are drawn
UNTRAINED, TRAINED = "untrained", "trained"


def choose_model(state: StepState) -> str:
    """Draw the control for the untrained or the trained model, and return the choice."""
    models = [UNTRAINED, TRAINED]
    return state.value("model", TRAINED, st.segmented_control, "control model", models, format_func=state.label)


def _draw_loss(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        trained = trained_bigram(state)
        untrained = bigram.new_bigram(state.vocab_size, state.seed)
        state.results["untrained"] = whole_split_loss(untrained, state.val_ids)
        which = choose_model(state)
        model = untrained if which == UNTRAINED else trained.model
        shown_tokens = {visible(token): id for id, token in enumerate(state.tokens)}
        first, second = _frequent_pair(state)
        left, right = st.columns(2)
        before = state.value("first", first, left.selectbox, "control first", list(shown_tokens))
        came = state.value("second", second, right.selectbox, "control second", list(shown_tokens))
        with torch.no_grad():
            logits = model(torch.tensor([[shown_tokens[before]]]))[0][0, -1]  # (V,)
        computed = bigram.cross_entropy_steps(logits, shown_tokens[came])
        state.write(
            "result",
            first=before,
            second=came,
            score=decimal(computed.score, 3),
            power=digits(computed.power),
            total=digits(computed.total),
            probability=digits(computed.probability),
            loss=decimal(computed.loss),
            share=percent(computed.probability),
        )
    with card(state.label("panel line"), key="lesson_line"):
        _draw_line(state, model)


def _draw_line(state: StepState, model: Bigram) -> None:
    ids = state.val_ids[: _LINE_LENGTH + 1]
    with torch.no_grad():
        logits, mean = model(ids[None, :-1], ids[None, 1:])
    shares = logits[0].softmax(dim=-1)[torch.arange(len(ids) - 1), ids[1:]].tolist()
    shown_tokens = [state.shown_tokens[id] for id in ids[1:].tolist()]
    uniform = math.log(state.vocab_size)
    labels = state.label("mean"), state.label("uniform")
    columns = {"letter": shown_tokens, "probability": shares, "loss": [-math.log(share) for share in shares]}
    figure = cross_entropy_bars(shown_tokens, shares, uniform, labels, current_palette())
    chart(figure, key="lesson_surprise", name="loss", numbers=lambda: columns)
    state.write("line", mean=f"{mean.item():.2f}", choices=f"{math.exp(mean.item()):.1f}")


def _frequent_pair(state: StepState) -> tuple[str, str]:
    ids = state.train_ids
    counts = torch.bincount(ids[:-1] * state.vocab_size + ids[1:], minlength=state.vocab_size**2)
    letters = torch.tensor([token.isalpha() for token in state.tokens])
    both = (letters[:, None] & letters[None, :]).flatten()
    place = int(torch.where(both, counts, -1).argmax())
    return state.shown_tokens[place // state.vocab_size], state.shown_tokens[place % state.vocab_size]


def _show_loss_curve(state: StepState, response: float) -> None:
    V = state.vocab_size
    marks = {f"1 / {V}: ln {V} = {math.log(V):.2f}": 1 / V, "1/2: 0.69": 0.5, "1: 0": 1.0}
    marks = dict(sorted(marks.items(), key=lambda entry: entry[1]))
    columns = {"probability": list(marks.values()), "loss": [-math.log(p) for p in marks.values()]}
    chart(cross_entropy_curve(marks, current_palette()), key="lesson_curve", name="loss-curve", numbers=lambda: columns)


LOSS = Step(
    "loss",
    _draw_loss,
    code=(bigram.cross_entropy_steps,),
    answer=lambda state: state.results["untrained"],
    show=_show_loss_curve,
    tolerance=0.03,
    more=lambda state: {"uniform": f"{math.log(state.vocab_size):.2f}"},
)
