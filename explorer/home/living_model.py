"""The gallery's first model as it generates, with a slider over its training: drawn before Streamlit has started."""

import json
from functools import lru_cache
from typing import Any

import streamlit as st

from core.classroom import check_gallery_open
from core.runs.folder import RunFolder
from core.runs.gallery import gallery_runs
from core.runs.weights import steps_with_weights
from explorer.components.time_machine import TimeMachineState, prerendered_parts, time_bar, time_machine_view
from explorer.i18n.language import N_, _, in_language
from explorer.look_inside.frames import FrameRequest, frame_now
from explorer.look_inside.model_picture import PictureRequest
from explorer.services import shared
from explorer.widgets.layout import errors_shown
from explorer.widgets.run_rows import run_bytes_per_token

TITLE = N_("Watch a language model learn")
CAPTION = N_("This small GPT has learned from Shakespeare. Move the slider back to step 0, where it knew nothing.")
_PROMPT = "ROMEO:⏎"  # that the model continues
_TOKENS = 14  # drawn at a time
_WRITING = 0.8  # the temperature of the generating model, as in assets/components/time_machine/clock.js
_KEYS = ("home_bar", "home_picture")


def draw_living_model() -> None:
    """Draw the model."""
    with errors_shown():
        check_gallery_open(shared.data_dir())
        folder = gallery_runs()[0]
        state, bar = _state(folder), _bar_of(folder)
        with st.container(border=True, gap="small", key="home_model"):
            time_bar(state, note="", key=_KEYS[0], **bar)
            time_machine_view("model", state, key=_KEYS[1])


@lru_cache(maxsize=4)
def prerendered_picture(language: str) -> dict[str, Any] | None:
    """Return the title, caption and parts that a browser needs to draw it without Streamlit; None without a gallery.

    The first call takes a tenth of a second.
    """
    if not (runs := gallery_runs()):
        return None
    with in_language(language):
        state = _state(runs[0])
        picture = PictureRequest(temperature=_WRITING, rows=_TOKENS)
        frame = json.loads(frame_now(runs[0], FrameRequest(state.step, _PROMPT, state.anchor, language, picture)))
        parts = prerendered_parts(state, frame, keys=_KEYS, **_bar_of(runs[0]))
        return {"title": _(TITLE), "caption": _(CAPTION), "parts": [part._asdict() for part in parts]}


def _state(folder: RunFolder) -> TimeMachineState:
    steps = steps_with_weights(folder)
    return TimeMachineState("home", folder.id, _PROMPT, steps, steps[-1], steps[-1], place="", writes=_TOKENS)


def _bar_of(folder: RunFolder) -> dict[str, Any]:
    return {"steps": folder.status().steps, "bytes_per_token": run_bytes_per_token(folder)}
