"""The parts of a GPT, added one at a time and compared with those of GPT-2 and today's models."""

import math
from functools import partial
from itertools import pairwise
from typing import Any

import streamlit as st
from plotly import graph_objects as go

from core.formatting import decimal, format_setting
from core.lessons.quick_train import MODERN_PARTS, RUNGS, RungLoss, rung_configs, small_gpt, train_ladder
from core.model.gpt import MLP, Block
from core.model.layers import rms_norm, swiglu
from core.model.self_attention import rotate
from core.presets import preset
from core.training.work import exact_parameters
from explorer.charts.lessons import drop_bars, ladder_chart
from explorer.components.time_machine import growing_figure
from explorer.learn.gpt.trained import draw_losses, quick_runs
from explorer.learn.state import StepState
from explorer.learn.steps import Step, choose_unit, draw_table
from explorer.widgets.address import draft_address
from explorer.widgets.layout import card, chart, current_palette


def _draw_ladder(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        state.results["unit"] = choose_unit(state)
        make = partial(train_ladder, state.train_ids, state.val_ids, state.vocab_size, state.seed)
        rungs = state.compute(("ladder",), make, state.label("coming"), partial(_draw_growing, state))
        state.results["rungs"] = rungs
        lines = [(rung.name, rung.loss, rung.train_loss) for rung in rungs]
        columns = dict(zip(("rung", "validation loss", "training loss"), zip(*lines, strict=True), strict=True))
        chart(_ladder_figure(state, rungs), key="lesson_ladder", name="ladder", numbers=lambda: columns)
        best, counted = rungs[-1].loss, rungs[2].loss
        state.write(
                "result", steps=next(iter(rung_configs(state.seed).values())).train.steps, best=f"{best:.2f}",
                bigram=f"{counted:.2f}", letters=f"{math.exp(best):.1f}", from_letters=f"{math.exp(counted):.1f}",
            )  # fmt: skip
    with card(state.label("panel parts"), key="lesson_parts"):
        _draw_parts(state, rungs)
    with card(state.label("panel modern"), key="lesson_modern"):
        _draw_modern(state)


def _draw_modern(state: StepState) -> None:
    state.write("modern idea")
    whole = rung_configs(state.seed)["full"]
    before = exact_parameters(whole.model, state.vocab_size)
    for name, changes in MODERN_PARTS.items():
        more = exact_parameters(whole.replace(changes).model, state.vocab_size) - before
        ((path, value),) = changes.items()
        size = f"{more:+,} {state.label('parameters')}, ".replace("-", "−") if more else ""
        link = draft_address(preset("gpt-tiny").replace(changes))
        about = state.markdown(f"about {name}")
        st.markdown(f"**[{state.label(name)}]({link})** ({size}`{path}={format_setting(value, path)}`): {about}")


def _draw_growing(state: StepState, rungs: list[RungLoss] | None) -> None:
    if rungs:
        growing_figure(_ladder_figure(state, rungs), key="lesson_rising")


def _ladder_figure(state: StepState, rungs: list[RungLoss]) -> go.Figure:
    names = [rung.name for rung in rungs]
    remaining = [rung.name for rung in RUNGS if rung.name not in names]
    labels = (list(map(state.label, part)) for part in (names, remaining))
    named, expected = labels
    return ladder_chart(named, rungs, expected, current_palette(), state.results["unit"])


def _draw_parts(state: StepState, rungs: list[RungLoss]) -> None:
    losses = {rung.name: rung.loss for rung in rungs}
    configs = rung_configs(state.seed)
    below = "bigram"
    for rung in RUNGS:
        numbers = exact_parameters(configs[rung.name].model, state.vocab_size)
        change = losses[rung.name] - losses[below]
        shown_change = decimal(change, plus=True)
        about = state.markdown(f"about {rung.name}")
        st.markdown(f"**{state.label(rung.name)}** ({shown_change}, {numbers:,} {state.label('parameters')}): {about}")
        if not rung.optional:
            below = rung.name


def drops(state: StepState) -> dict[str, float]:
    """Return by how much each added part lowers the loss, in nats/token."""
    ladder = [rung for rung in state.results["rungs"] if rung.trained and not rung.optional]
    return {above.name: below.loss - above.loss for below, above in pairwise(ladder)}


def _show_drops(state: StepState, response: str) -> None:
    named = {state.label(name): drop for name, drop in drops(state).items()}
    columns = {"rung": list(named), "taken off": list(named.values())}
    figure = drop_bars(named, state.label(response), current_palette())
    chart(figure, key="lesson_drops", name="drops", numbers=lambda: columns)
    state.write("see")


LADDER = Step(
    "ladder",
    _draw_ladder,
    code=(rung_configs, train_ladder, Block),
    answer=lambda state: max(drops(state), key=drops(state).__getitem__),
    named=lambda state: list(drops(state)),
    show=_show_drops,
    more=lambda state: {"drop": f"{max(drops(state).values()):.2f}"},
)


SWITCHES = ("position", "norm", "activation", "bias")
OURS: dict[str, Any] = {"position": "learned", "norm": "layer", "activation": "relu", "bias": False}
GPT2: dict[str, Any] = {"position": "learned", "norm": "layer", "activation": "gelu_tanh", "bias": True}
MODERN: dict[str, Any] = {"position": "rope", "norm": "rms", "activation": "swiglu", "bias": False}


def _draw_today(state: StepState) -> None:
    palette = current_palette()
    with card(state.label("panel"), key="lesson_result"):
        chosen: dict[str, Any] = {}
        columns = st.columns(2) + st.columns(2)
        choices = {
            "position": ["learned", "rope"], "norm": ["layer", "rms"],
            "activation": ["relu", "gelu_tanh", "swiglu"], "bias": ["without", "with"],
        }  # fmt: skip
        for column, switch in zip(columns, SWITCHES, strict=True):
            with column:
                first = MODERN[switch] if switch != "bias" else "without"
                value = state.value(
                    switch, first, st.segmented_control, switch, choices[switch], format_func=state.label
                )
                chosen[switch] = value == "with" if switch == "bias" else value
        state.write("switches")
        models = {"ours": OURS, "GPT-2": GPT2, "chosen": chosen}
        runs = quick_runs(state, models)
        named = {state.label(name): run for name, run in runs.items()}
        colors = (palette.lines, palette.runs[3], palette.accent)
        draw_losses(state, named, colors, key="lesson_today", name="from-ours-to-today")
        columns = {
            "model": list(named),
            "loss": [f"{run.val[-1]:.3f}" for run in runs.values()],
            "parameters": [f"{_parameters(state, changes):,}" for changes in models.values()],
        }
        for switch in SWITCHES:
            values = [changes[switch] for changes in models.values()]
            columns[switch] = [state.label({True: "with", False: "without"}.get(value, value)) for value in values]
        draw_table(state, "lesson_models", columns)
        state.write("result", **{f"loss_{name}": f"{run.val[-1]:.2f}" for name, run in runs.items()})


def _parameters(state: StepState, changes: dict[str, Any]) -> int:
    return exact_parameters(small_gpt(state.seed, **changes).model, state.vocab_size)


def _question_numbers(state: StepState) -> dict[str, int]:
    model = small_gpt(state.seed).model
    return {"context": model.block_size, "width": model.n_embd}


def _show_counts(state: StepState, response: float) -> None:
    positions = ("learned", "rope")
    counts = [f"{_parameters(state, OURS | {'position': position}):,}" for position in positions]
    draw_table(state, "lesson_counts", {"position": list(map(state.label, positions)), "parameters": counts}, 420)


TODAY = Step(
    "today",
    _draw_today,
    code=(rms_norm, swiglu, rotate, MLP),
    answer=lambda state: _parameters(state, OURS) - _parameters(state, OURS | {"position": "rope"}),
    show=_show_counts,
    more=_question_numbers,
)
