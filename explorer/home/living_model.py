"""Home's first picture: a model of the gallery that writes, at every step of its training."""

import streamlit as st

from core.runs.gallery import gallery_runs
from core.runs.weights import steps_with_weights
from explorer.components.time_machine import TimeMachineState, time_bar, time_machine_view

_PROMPT = "ROMEO:⏎"
_TOKENS = 14  # drawn at a time


def draw_living_model() -> None:
    """Draw the first model of the gallery as it writes, under a slider over its training."""
    folder = gallery_runs()[0]
    steps = steps_with_weights(folder)
    state = TimeMachineState("home", folder.id, _PROMPT, steps, steps[-1], steps[-1], place="", writes=_TOKENS)
    with st.container(border=True, gap="small", key="home_model"):
        time_bar(state, steps=folder.status().steps, note="", key="home_bar")
        time_machine_view("model", state, key="home_picture")
