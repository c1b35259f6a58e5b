"""Self-attention, from the mean of all earlier tokens to queries, keys and values."""

import math
from functools import partial

import streamlit as st
import torch

from core.formatting import decimal, head_name
from core.lessons.self_attention import (
    Attended,
    attend,
    average_by_loop,
    average_by_matrix,
    average_by_softmax,
    averaging_weights,
    head_matrices,
    residual_before_attention,
    softmax_weights,
)
from core.text.token_display import visible
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import attention_heatmap
from explorer.charts.lessons import product_bars
from explorer.charts.text_format import percent
from explorer.learn.gpt.trained import begin_training, the_gpt, typed_ids
from explorer.learn.state import StepState
from explorer.learn.steps import Step, draw_shares, draw_table
from explorer.widgets.layout import card, chart, current_palette

_MAX_AVERAGED = 10  # letters
QUESTION_POSITION = 4  # the question's position, counted from 0


def _draw_averaging(state: StepState) -> None:
    begin_training(state)
    with card(state.label("panel"), key="lesson_result"):
        typed = state.value("word", "attention", st.text_input, "control word", max_chars=_MAX_AVERAGED, width=260)
        ids = typed_ids(state, typed, _MAX_AVERAGED, "the king")
        letters = [state.tokens[id] for id in ids]
        x = torch.tensor([[float(id)] for id in ids])  # (T, 1): each token is represented by its id alone
        ways = average_by_loop(x), average_by_matrix(x), average_by_softmax(x)  # (T, 1) each
        means = [[f"{value:.2f}" for value in way[:, 0].tolist()] for way in ways]
        columns = {"letter": list(map(visible, letters)), "number": ids}
        draw_table(state, "lesson_means", columns | dict(zip(("loop", "matrix", "softmax"), means, strict=True)))
        difference = max(float((way - ways[0]).abs().max()) for way in ways)
        state.write("result", apart=f"{difference:.6f}" if difference else "0")
    with card(state.label("panel weights"), key="lesson_weights"):
        left, right = st.columns([2, 3])
        shown = [f"{place + 1}: {visible(letter)}" for place, letter in enumerate(letters)]
        with left:
            state.write("weights")
            most_attended = shown.index(state.value("letter", shown[0], st.selectbox, "control letter", shown))
            score = state.value("score", 0.0, st.slider, "control score", -4.0, 4.0, step=0.5)
        scores = torch.zeros(len(ids), len(ids))
        scores[:, most_attended] = score
        weights = softmax_weights(scores)
        with right:
            _weights_heatmap(weights, letters, "lesson_softmax")
        state.write(
            "weighted" if score else "even",
            letter=visible(letters[most_attended]),
            last=visible(letters[-1]),
            share=f"{weights[-1, most_attended]:.0%}",
            mean=f"{(weights @ x)[-1, 0]:.2f}",
            before=f"{ways[0][-1, 0]:.2f}",
        )
    state.results["letters"] = letters


def _weights_heatmap(weights: torch.Tensor, letters: list[str], key: str) -> None:
    shown_tokens = [visible(letter) for letter in letters]
    columns = partial(matrix_columns, weights.numpy(), shown_tokens, shown_tokens, ("query", "key", "weight"))
    figure = attention_heatmap(weights.numpy(), letters, current_palette())
    chart(figure, key=key, name="weights", numbers=columns)


def _question_position(state: StepState) -> int:
    return min(QUESTION_POSITION, len(state.results["letters"]) - 1)


AVERAGING = Step(
    "averaging",
    _draw_averaging,
    code=(average_by_loop, averaging_weights, average_by_matrix, softmax_weights, average_by_softmax),
    answer=lambda state: float(averaging_weights(len(state.results["letters"]))[_question_position(state), 0]),
    show=lambda state, response: _weights_heatmap(
        averaging_weights(len(state.results["letters"])), state.results["letters"], "lesson_triangle"
    ),
    tolerance=0.006,
    more=lambda state: {
        "place": _question_position(state) + 1,
        "letter": visible(state.results["letters"][_question_position(state)]),
    },
)


_MAX_TOKENS = 20  # letters


def _draw_attention(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        left, right = st.columns([3, 2])
        typed = state.value("sentence", "To be, or not to be", left.text_input, "control", max_chars=_MAX_TOKENS)
        model = the_gpt(state)
        ids = typed_ids(state, typed, _MAX_TOKENS, "the king and the")
        letters = [state.tokens[id] for id in ids]
        heads = [(layer, head) for layer in range(model.config.n_layer) for head in range(model.config.n_head)]
        names = {head_name(layer, head): (layer, head) for layer, head in heads}
        name = state.value(
            "head", next(iter(names)), right.selectbox, "control head", list(names),
            format_func=lambda name: state.label("head name", layer=names[name][0] + 1, head=names[name][1] + 1),
        )  # fmt: skip
        chosen = names[name]
        attended = attend(residual_before_attention(model, ids, chosen[0]), *head_matrices(model, *chosen))
        shown_tokens = [visible(letter) for letter in letters]
        _weights_heatmap(attended.weights, letters, "lesson_pattern")
        state.write("result", width=model.config.n_embd, size=attended.queries.shape[1])
    with card(state.label("panel cell"), key="lesson_cell"):
        _draw_cell(state, attended, shown_tokens)


def _draw_cell(state: StepState, attended: Attended, shown_tokens: list[str]) -> None:
    positions = [f"{position + 1}: {sign}" for position, sign in enumerate(shown_tokens)]
    left, right = st.columns(2)
    looks = state.value("looks", positions[-1], left.selectbox, "control looks", positions)
    row = positions.index(looks)
    earlier = positions[max(0, row - 1)]
    looked_at = state.value("looked at", earlier, right.selectbox, "control at", positions[: row + 1])
    column = positions.index(looked_at)
    products = (attended.queries[row] * attended.keys[column]).tolist()
    state.write("products", looks=shown_tokens[row], at=shown_tokens[column])
    vectors = {"query": attended.queries[row].tolist(), "key": attended.keys[column].tolist(), "product": products}
    figure = product_bars(products, current_palette())
    chart(figure, key="lesson_products", name="query-times-key", numbers=lambda: vectors)
    state.write(
        "sum",
        total=decimal(sum(products)),
        size=len(products),
        root=f"{math.sqrt(len(products)):.2f}",
        score=decimal(float(attended.scores[row, column])),
        weight=percent(float(attended.weights[row, column])),
        at=shown_tokens[column],
    )
    shares = attended.weights[row, : row + 1].tolist()
    draw_shares(
        shown_tokens[: row + 1], {state.label("weight of"): shares}, [current_palette().accent], ("letter", "weight"),
        key="lesson_row", name="weights-of-a-row", height=210,
    )  # fmt: skip
    state.write("values", looks=shown_tokens[row], size=len(products))
    state.results["row"], state.results["attended"], state.results["shown_tokens"] = row, attended, shown_tokens


def _position_name(state: StepState, position: int) -> str:
    return f"{position + 1}: {state.results['shown_tokens'][position]}"


def _most_attended_positions(state: StepState) -> list[str]:
    best = state.results["attended"].weights[-1].argsort(descending=True)[:4].tolist()
    return [_position_name(state, position) for position in sorted(best)]


def _show_scores(state: StepState, response: str) -> None:
    attended, shown_tokens = state.results["attended"], state.results["shown_tokens"]
    state.write("scores of", last=shown_tokens[-1])
    columns = {
        "letter": [_position_name(state, position) for position in range(len(shown_tokens))],
        "score": [round(score, 2) for score in attended.scores[-1].tolist()],
        "weight of": [percent(share) for share in attended.weights[-1].tolist()],
    }
    draw_table(state, "lesson_scores", columns, 420)


ATTENTION = Step(
    "attention",
    _draw_attention,
    code=(attend,),
    answer=lambda state: _position_name(state, int(state.results["attended"].weights[-1].argmax())),
    options=_most_attended_positions,
    show=_show_scores,
    more=lambda state: {"last": state.results["shown_tokens"][-1]},
)
