"""The mean of the past, three ways."""

import streamlit as st
import torch

from core.lessons.self_attention import (
    average_by_loop,
    average_by_matrix,
    average_by_softmax,
    averaging_weights,
    softmax_weights,
)
from core.text.token_display import visible
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import attention_heatmap
from explorer.learn.gpt.trained import begin_training, typed_ids
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette

_MOST = 10  # letters
ASKED = 4  # the place that the question is about, counted from 0


def _draw(lab: Lab) -> None:
    begin_training(lab)
    with card(lab.plain("panel"), key="lesson_result"):
        typed = lab.value("word", "attention", st.text_input, lab.plain("control word"), max_chars=_MOST, width=260)
        ids = typed_ids(lab, typed, _MOST, "the king")
        letters = [lab.tokens[id] for id in ids]
        x = torch.tensor([[float(id)] for id in ids])  # (T, 1): the letter's number is all that is known of it
        ways = average_by_loop(x), average_by_matrix(x), average_by_softmax(x)  # (T, 1) each
        names = [lab.plain(name) for name in ("loop", "matrix", "softmax")]
        means = {name: [f"{value:.2f}" for value in way[:, 0].tolist()] for name, way in zip(names, ways, strict=True)}
        st.dataframe(
            {
                lab.plain("letter"): [visible(letter) for letter in letters],
                lab.plain("number"): ids,
                **means,
            },
            hide_index=True, width="stretch", key="lesson_means",
        )  # fmt: skip
        apart = max(float((way - ways[0]).abs().max()) for way in ways)
        st.markdown(lab.say("result", apart=f"{apart:.6f}" if apart else "0"))
    with card(lab.plain("panel weights"), key="lesson_weights"):
        left, right = st.columns([2, 3])
        shown = [f"{place + 1}: {visible(letter)}" for place, letter in enumerate(letters)]
        with left:
            st.markdown(lab.say("weights"))
            most_attended = shown.index(lab.value("letter", shown[0], st.selectbox, lab.plain("control letter"), shown))
            score = lab.value("score", 0.0, st.slider, lab.plain("control score"), -4.0, 4.0, step=0.5)
        scores = torch.zeros(len(ids), len(ids))
        scores[:, most_attended] = score
        weights = softmax_weights(scores)
        with right:
            _heatmap(lab, weights, letters, "lesson_softmax")
        st.markdown(
            lab.say(
                "weighted" if score else "even", letter=visible(letters[most_attended]), last=visible(letters[-1]),
                share=f"{weights[-1, most_attended]:.0%}", mean=f"{(weights @ x)[-1, 0]:.2f}",
                before=f"{ways[0][-1, 0]:.2f}",
            )
        )  # fmt: skip
    lab.found["letters"] = letters


def _heatmap(lab: Lab, weights: torch.Tensor, letters: list[str], key: str) -> None:
    signs = [visible(letter) for letter in letters]
    chart(
        attention_heatmap(weights.numpy(), letters, current_palette()), key=key, name="weights",
        numbers=lambda: matrix_columns(weights.numpy(), signs, signs, ("looks", "looked at", "weight")),
    )  # fmt: skip


def _asked(lab: Lab) -> int:
    return min(ASKED, len(lab.found["letters"]) - 1)


def weight_asked(lab: Lab) -> float:
    """The weight of each letter in the mean at the place asked about."""
    return float(averaging_weights(len(lab.found["letters"]))[_asked(lab), 0])


def _show_triangle(lab: Lab, given: float) -> None:
    _heatmap(lab, averaging_weights(len(lab.found["letters"])), lab.found["letters"], "lesson_triangle")


STEP = Step(
    "averaging",
    _draw,
    code=(average_by_loop, averaging_weights, average_by_matrix, softmax_weights, average_by_softmax),
    question=Question(
        answer=weight_asked,
        show=_show_triangle,
        tolerance=0.006,
        more=lambda lab: {"place": _asked(lab) + 1, "letter": visible(lab.found["letters"][_asked(lab)])},
    ),
)
