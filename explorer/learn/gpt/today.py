"""From this GPT to GPT-2 and on to today's: each difference is a switch."""

from typing import Any

import streamlit as st

from core.lessons.quick_train import small_gpt
from core.model.gpt import MLP, rms_norm, rotate, swiglu
from core.training.work import exact_parameters
from explorer.charts.gpt_lesson import curves
from explorer.learn.gpt.trained import courses
from explorer.learn.lab import Lab
from explorer.learn.questions import Question
from explorer.learn.step import Step
from explorer.widgets.layout import card, chart, current_palette

SWITCHES = ("position", "norm", "activation", "bias")
OURS: dict[str, Any] = {"position": "learned", "norm": "layer", "activation": "relu", "bias": False}
GPT2: dict[str, Any] = {"position": "learned", "norm": "layer", "activation": "gelu_tanh", "bias": True}
TODAY: dict[str, Any] = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False}


def _draw(lab: Lab) -> bool:
    palette = current_palette()
    with card(lab.plain("panel"), key="lesson_result"):
        chosen: dict[str, Any] = {}
        columns = st.columns(2) + st.columns(2)
        choices = {
            "position": ["learned", "rope"], "norm": ["layer", "rms"],
            "activation": ["relu", "gelu_tanh", "swiglu"], "bias": ["without", "with"],
        }  # fmt: skip
        for column, switch in zip(columns, SWITCHES, strict=True):
            with column:
                first = TODAY[switch] if switch != "bias" else "without"
                value = lab.value(
                    switch, first, st.segmented_control, lab.plain(switch), choices[switch], format_func=lab.plain
                )
                chosen[switch] = value == "with" if switch == "bias" else value
        st.markdown(lab.say("switches"))
        models = {"ours": OURS, "GPT-2": GPT2, "chosen": chosen}
        found = courses(lab, models)
        if found is None:
            return False
        names = {name: lab.plain(name) for name in models}
        colors = dict(zip(names.values(), (palette.lines, palette.runs[3], palette.accent), strict=True))
        lines = {names[name]: (course.steps[1:], course.val[1:]) for name, course in found.items()}
        figure = curves(lines, colors, (lab.plain("axis step"), lab.plain("axis loss")), palette)
        figure.update_yaxes(rangemode="normal")
        chart(
            figure, key="lesson_today", name="from-ours-to-today",
            numbers=lambda: {"step": found["ours"].steps[1:], **{name: line for name, (_, line) in lines.items()}},
        )  # fmt: skip
        st.dataframe(
            {
                lab.plain("model"): list(names.values()),
                lab.plain("loss"): [f"{course.val[-1]:.3f}" for course in found.values()],
                lab.plain("parameters"): [f"{_parameters(lab, changes):,}" for changes in models.values()],
                **{
                    lab.plain(switch): [_word(lab, changes[switch]) for changes in models.values()]
                    for switch in SWITCHES
                },
            },
            hide_index=True, width="stretch", key="lesson_models",
        )  # fmt: skip
        losses = {f"loss_{name}": f"{course.val[-1]:.2f}" for name, course in found.items()}
        st.markdown(lab.say("result", **losses))
    return True


def _word(lab: Lab, value: Any) -> str:
    return lab.plain(("with" if value else "without") if isinstance(value, bool) else value)


def _parameters(lab: Lab, changes: dict[str, Any]) -> int:
    return exact_parameters(small_gpt(lab.seed, **changes).model, lab.vocab_size)


def saved(lab: Lab) -> int:
    """How many parameters fewer our GPT has with rotary positions instead of a learned table."""
    return _parameters(lab, OURS) - _parameters(lab, OURS | {"position": "rope"})


def _shape(lab: Lab) -> dict[str, int]:
    model = small_gpt(lab.seed).model
    return {"context": model.block_size, "width": model.n_embd}


def _show_counts(lab: Lab, given: float) -> None:
    st.dataframe(
        {
            lab.plain("position"): [lab.plain("learned"), lab.plain("rope")],
            lab.plain("parameters"): [
                f"{_parameters(lab, OURS | {'position': position}):,}" for position in ("learned", "rope")
            ],
        },
        hide_index=True, width=420, key="lesson_counts",
    )  # fmt: skip


STEP = Step(
    "today",
    _draw,
    code=(rms_norm, swiglu, rotate, MLP),
    question=Question(answer=saved, show=_show_counts, more=_shape),
)
