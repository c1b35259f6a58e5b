"""Queries, keys and values on a sentence of one's own, cell by cell."""

import math

import streamlit as st

from core.formatting import decimal
from core.lessons.self_attention import Attended, attend, head_matrices, residual_before_attention
from core.text.token_display import visible
from explorer.charts.csv_export import matrix_columns
from explorer.charts.gpt_lesson import product_bars, share_pairs
from explorer.charts.heatmaps import attention_heatmap
from explorer.charts.text_format import percent
from explorer.learn.gpt.trained import the_gpt, typed_ids
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette

_MOST = 20  # letters


def _draw(lab: Lab) -> bool:
    with card(lab.plain("panel"), key="lesson_result"):
        left, right = st.columns([3, 2])
        with left:
            typed = lab.value("sentence", "To be, or not to be", st.text_input, lab.plain("control"), max_chars=_MOST)
        model = the_gpt(lab)
        if model is None:
            return False
        ids = typed_ids(lab, typed, _MOST, "the king and the")
        letters = [lab.tokens[id] for id in ids]
        heads = [(layer, head) for layer in range(model.config.n_layer) for head in range(model.config.n_head)]
        names = {f"{layer + 1}.{head + 1}": (layer, head) for layer, head in heads}
        with right:
            name = lab.value(
                "head", next(iter(names)), st.selectbox, lab.plain("control head"), list(names),
                format_func=lambda name: lab.plain("head name", layer=names[name][0] + 1, head=names[name][1] + 1),
            )  # fmt: skip
            chosen = names[name]
        seen = attend(residual_before_attention(model, ids, chosen[0]), *head_matrices(model, *chosen))
        signs = [visible(letter) for letter in letters]
        chart(
            attention_heatmap(seen.weights.numpy(), letters, current_palette()), key="lesson_pattern", name="weights",
            numbers=lambda: matrix_columns(seen.weights.numpy(), signs, signs, ("looks", "looked at", "weight")),
        )  # fmt: skip
        st.markdown(lab.say("result", width=model.config.n_embd, size=seen.queries.shape[1]))
    with card(lab.plain("panel cell"), key="lesson_cell"):
        _draw_cell(lab, seen, signs)
    return True


def _draw_cell(lab: Lab, seen: Attended, signs: list[str]) -> None:
    places = [f"{place + 1}: {sign}" for place, sign in enumerate(signs)]
    left, right = st.columns(2)
    with left:
        row = places.index(lab.value("looks", places[-1], st.selectbox, lab.plain("control looks"), places))
    with right:
        past = places[: row + 1]
        column = past.index(lab.value("looked at", past[max(0, row - 1)], st.selectbox, lab.plain("control at"), past))
    products = (seen.queries[row] * seen.keys[column]).tolist()
    st.markdown(lab.say("products", looks=signs[row], at=signs[column]))
    chart(
        product_bars(products, current_palette()), key="lesson_products", name="query-times-key",
        numbers=lambda: {
            "query": seen.queries[row].tolist(), "key": seen.keys[column].tolist(), "product": products,
        },
    )  # fmt: skip
    st.markdown(
        lab.say(
            "sum", total=decimal(sum(products)), size=len(products), root=f"{math.sqrt(len(products)):.2f}",
            score=decimal(float(seen.scores[row, column])), weight=percent(float(seen.weights[row, column])),
            at=signs[column],
        )
    )  # fmt: skip
    shares = seen.weights[row, : row + 1].tolist()
    chart(
        share_pairs(
            signs[: row + 1], {lab.plain("weight of"): shares}, {lab.plain("weight of"): current_palette().accent},
            current_palette(), height=210,
        ),
        key="lesson_row", name="weights-of-a-row", numbers=lambda: {"letter": signs[: row + 1], "weight": shares},
    )  # fmt: skip
    st.markdown(lab.say("values", looks=signs[row], size=len(products)))
    lab.found["row"], lab.found["seen"], lab.found["signs"] = row, seen, signs


def most_attended(lab: Lab) -> str:
    """The letter before the last one, or that one, at which the last letter of the sentence looks most."""
    weights = lab.found["seen"].weights[-1]
    return _place(lab, int(weights.argmax()))


def _place(lab: Lab, place: int) -> str:
    return f"{place + 1}: {lab.found['signs'][place]}"


def _candidates(lab: Lab) -> list[str]:
    """The four places that the last letter looks at most, in the order of the sentence."""
    best = lab.found["seen"].weights[-1].argsort(descending=True)[:4].tolist()
    return [_place(lab, place) for place in sorted(best)]


def _show_scores(lab: Lab, given: str) -> None:
    seen, signs = lab.found["seen"], lab.found["signs"]
    st.markdown(lab.say("scores of", last=signs[-1]))
    scores = seen.scores[-1].tolist()
    st.dataframe(
        {
            lab.plain("letter"): [_place(lab, place) for place in range(len(signs))],
            lab.plain("score"): [round(score, 2) for score in scores],
            lab.plain("weight of"): [percent(share) for share in seen.weights[-1].tolist()],
        },
        hide_index=True, width=420, key="lesson_scores",
    )  # fmt: skip


STEP = Step(
    "attention",
    _draw,
    code=(attend,),
    question=Question(
        answer=most_attended,
        options=_candidates,
        show=_show_scores,
        more=lambda lab: {"last": lab.found["signs"][-1]},
    ),
)
