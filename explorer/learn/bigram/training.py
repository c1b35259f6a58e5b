"""The training loop."""

import math

import streamlit as st
from plotly import graph_objects as go

from core.lessons.bigram import train_bigram
from core.text.batches import random_batch
from explorer.charts.loss import loss_columns, loss_figure
from explorer.components.figure import growing_figure
from explorer.i18n.formatting import number
from explorer.learn.bigram.learned import BATCH_SIZE, LEARNING_RATE, STEPS, Learned, learned
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette

_RATES = (0.0001, 0.0005, 0.001, 0.005, 0.01, LEARNING_RATE, 0.05, 0.1, 0.5, 1.0)
_BATCHES = (1, 4, 16, BATCH_SIZE, 64)
_CLOSE = 0.05  # nats: a difference that nobody would notice in the text it writes


def _draw(lab: Lab) -> bool:
    with card(lab.plain("panel"), key="lesson_result"):
        left, right = st.columns(2)
        with left:
            rate = lab.value(
                "rate", LEARNING_RATE, st.select_slider, lab.plain("control rate"), _RATES, format_func=number
            )
        with right:
            batch = lab.value("batch", BATCH_SIZE, st.select_slider, lab.plain("control batch"), _BATCHES)
        with st.container(height=445, border=False):
            found = learned(lab, rate, batch, meanwhile=_growing)
            if found is None:
                return False
            chart(
                _figure(found, 400), key="lesson_training", name="bigram-loss",
                numbers=lambda: loss_columns(found.rows),
            )  # fmt: skip
        st.markdown(
            lab.say(
                "result", steps=f"{STEPS:,}", first=f"{found.rows[0]['val_loss']:.2f}", last=f"{found.val_loss:.2f}",
                choices=f"{math.exp(found.val_loss):.1f}", counted=f"{found.baselines.bigram:.2f}",
            )
        )  # fmt: skip
    return True


def _growing(found: Learned | None) -> None:
    growing_figure(_figure(found, 350), key="lesson_growing")


def _figure(found: Learned | None, height: int) -> go.Figure:
    rows, baselines = (list(found.rows), vars(found.baselines)) if found else ([], None)
    return loss_figure(rows, baselines, STEPS, current_palette(), height=height)


def against_counting(found: Learned) -> str:
    """Where training ended beside the counted table, on the part kept aside: "below", "close" or "above"."""
    difference = found.val_loss - found.baselines.bigram
    return "close" if abs(difference) <= _CLOSE else "below" if difference < 0 else "above"


def _show_end(lab: Lab, given: str) -> None:
    found = lab.found["learned"]
    st.markdown(lab.say("ends", last=f"{found.val_loss:.3f}", counted=f"{found.baselines.bigram:.3f}"))


STEP = Step(
    "training",
    _draw,
    code=(train_bigram, random_batch),
    question=Question(
        answer=lambda lab: against_counting(lab.found["learned"]),
        options=lambda lab: ["below", "close", "above"],
        named=True,
        show=_show_end,
        more=lambda lab: {
            "last": f"{lab.found['learned'].val_loss:.2f}",
            "counted": f"{lab.found['learned'].baselines.bigram:.2f}",
        },
    ),
)
