"""The experiments of "Break a GPT": predict, train the control and the broken model, and explain the result."""

from collections.abc import Hashable, Mapping
from functools import partial
from math import log
from pydoc import locate
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from plotly import graph_objects as go

from core.lessons.experiment_results import explanation, result_numbers, verdict
from core.lessons.experiments import EXPERIMENTS, Experiment
from core.lessons.lesson_text import fill, load_prose
from core.lessons.paired_runs import (
    Outcome,
    control_config,
    kind_of_sample,
    make_pair,
    train_pair,
    treatment_config,
)
from core.training.evaluation import run_baselines
from core.training.health_readings import SENTENCES, troubles
from explorer.charts.comparison import course_columns, courses_figure
from explorer.charts.text_format import percent
from explorer.components.time_machine import growing_figure
from explorer.i18n.language import _
from explorer.learn.state import StepState
from explorer.learn.steps import Question, Step, choose_unit, draw_curves
from explorer.widgets import address, lesson_links, session
from explorer.widgets.layout import card, chart, current_palette, literal

STEPS_OF_TRAINING, FIRST_STEPS = (50, 200, 400, 800), 400
CURVES = ("control_lower", "broken_lower", "same_loss")
KINDS = ("words", "rubbish", "stuck", "copied")
_QUESTIONS = ("ask_curve", "ask_sample")
_SIZES = (300, 500, 1000, 3000, 10_000, 30_000)
_TIMES = (1, 10, 30, 100, 300, 1000)


def _draw(experiment: Experiment, state: StepState) -> None:
    steps, choices = _controls(experiment, state)
    key = _key(experiment, steps, choices)
    if session.recall(_prediction_key(experiment), (None,))[0] != (*state.key, *key):
        _predict(experiment, state, (*state.key, *key))
        return
    with card(shared(state, "running"), shared(state, "lines"), key="lesson_result"):
        state.results["unit"] = choose_unit(state)
        outcome, numbers = _compute(experiment, steps, choices, state)
        name, figure = f"control-and-broken-{state.step}", _figure(outcome, state)
        chart(figure, key="break_curves", name=name, numbers=lambda: course_columns(outcome))
    _draw_outcome(experiment, outcome, state, numbers)


def _key(experiment: Experiment, steps: int, choices: dict[str, Any]) -> tuple:
    return ("break", experiment.name, steps, *sorted(choices.items()))


def _compute(
    experiment: Experiment, steps: int, choices: dict[str, Any], state: StepState
) -> tuple[Outcome, dict[str, Any]]:
    pair = partial(make_pair, experiment, state.text, steps=steps, seed=state.seed, choices=choices)
    growing = partial(_draw_growing, steps, state)
    key = _key(experiment, steps, choices)
    outcome = state.compute(key, lambda: train_pair(pair()), shared(state, "training"), growing)
    counted = run_baselines(control_config(steps, state.seed), state.train_ids, state.val_ids, state.vocab_size)
    return outcome, result_numbers(outcome, counted, state.vocab_size, percent) | choices


def _predicted(experiment: Experiment, state: StepState) -> tuple[list[Question], str]:
    outcome, numbers = _compute(experiment, *_controls(experiment, state), state)
    questions = [
        Question(shared(state, ask), [shared(state, name) for name in names], shared(state, result))
        for ask, names, result in zip(_QUESTIONS, (CURVES, KINDS), _results(outcome), strict=True)
    ]
    words = explanation(experiment.name, outcome, numbers, state.language)
    return questions, "\n\n".join(state.fill_markdown(part, **numbers) for part in words)


def _controls(experiment: Experiment, state: StepState) -> tuple[int, dict[str, Any]]:
    row = {"horizontal": True, "vertical_alignment": "bottom", "gap": "medium"}
    with card(state.label("panel"), key="lesson_controls"), st.container(**row):
        choices = {name: _choice(name, default, state) for name, default in experiment.choices.items()}
        steps = state.value("steps", FIRST_STEPS, st.segmented_control, shared(state, "steps"), STEPS_OF_TRAINING)
        if {"steps", *choices} <= lesson_links.hidden_controls():
            st.space("small")  # below the title
    return steps, choices


def _choice(name: str, default: Any, state: StepState) -> Any:
    label = shared(state, name)
    if name == "phrase":
        typed = state.value(name, default, st.text_input, label, max_chars=32, width=320)
        return typed.strip() or default
    if name == "letter":
        counts = sorted({letter.lower() for letter in state.text if letter.isalpha()}) or sorted(set(state.text))
        default = default if default in counts else counts[0]
        return state.value(name, default, st.selectbox, label, counts, width=160)
    options = _SIZES if name == "size" else _TIMES
    return state.value(name, default, st.select_slider, label, options, width=320)


def _predict(experiment: Experiment, state: StepState, key: Hashable) -> None:
    with card(shared(state, "predict"), shared(state, "predict_why"), key="lesson_predict"):
        with st.form(f"predict-{experiment.name}", border=False):
            curve, kind = (
                column.radio(
                    shared(state, question), options, index=None, key=f"predict-{part}-{experiment.name}",
                    format_func=partial(shared, state),
                )
                for column, question, options, part in zip(
                    st.columns(2), _QUESTIONS, (CURVES, KINDS), ("curve", "kind"), strict=True
                )
            )  # fmt: skip
            submitted = st.form_submit_button(
                shared(state, "run"), type="primary", icon=":material/play_arrow:", key="break_run"
            )
        if submitted and None in (curve, kind):
            st.caption(shared(state, "predict_first"))
        elif submitted:
            session.remember(_prediction_key(experiment), (key, curve, kind))
            st.rerun()


def _draw_growing(steps: int, state: StepState, outcome: Outcome | None) -> None:
    growing_figure(_figure(outcome or Outcome(steps), state), key="break_live")


def _draw_outcome(experiment: Experiment, outcome: Outcome, state: StepState, numbers: Mapping[str, Any]) -> None:
    state.completed = True
    with card(shared(state, "samples"), key="lesson_samples"):
        results = outcome.control, outcome.treatment
        for column, model_result, name in zip(st.columns(2), results, _names(state), strict=True):
            with column:
                st.markdown(f"**{name}**")
                st.code(model_result.sample or shared(state, "no_sample"), language=None, wrap_lines=True, height=200)
    with card(shared(state, "prediction"), key="lesson_held"):
        _compare(experiment, outcome, state)
    with card(shared(state, "explained"), key="lesson_explained"):
        for part in explanation(experiment.name, outcome, numbers, state.language):
            st.markdown(state.fill_markdown(part, **numbers), width=820)
        if experiment.by_position:
            unit = state.results["unit"]
            both = outcome.control.by_position, outcome.treatment.by_position
            losses = [list(map(unit.of, part)) for part in both]
            draw_curves(
                range(1, len(losses[0]) + 1), dict(zip(_names(state), losses, strict=True)), current_palette().runs,
                (_("position in the window"), unit.title(_("loss"))), ("position", "control", "treatment"),
                key="break_places", name="loss-by-place", mode="lines+markers",
            )  # fmt: skip
        st.markdown(_table(outcome, state))
    _draw_health(experiment, outcome, state)
    if st.button(shared(state, "predict_again"), icon=":material/replay:", key="break_predict"):
        session.remember(_prediction_key(experiment), (None,))
        st.rerun()


def _draw_health(experiment: Experiment, outcome: Outcome, state: StepState) -> None:
    with card(shared(state, "health"), key="lesson_health"):
        signs = troubles(outcome.treatment.health)
        for step, reading in signs:
            words = _(SENTENCES[reading.kind], **reading.numbers)
            st.markdown(f"- {shared(state, 'health_step', step=f'{step:,}', sentence=literal(words))}", width=820)
        if not signs:
            st.markdown(shared(state, "health_none"), width=820)
        links = [f"[{shared(state, 'health_open')}](look_inside?{urlencode({address.VIEW: 'Health'})})"]
        if experiment.corrupt is None:  # a run reads a whole text
            config = treatment_config(experiment, outcome.steps, state.seed)
            draft = address.address_of(config.replace({"data.corpus": state.data.name}))
            links.append(f"[{shared(state, 'health_train')}](train?{urlencode(draft)})")
        st.markdown(" · ".join(links))


def _results(outcome: Outcome) -> tuple[str, str]:
    """Return which of CURVES and of KINDS is right."""
    ending = {"higher": "control_lower", "same": "same_loss"}.get(verdict(outcome), "broken_lower")
    return ending, kind_of_sample(outcome.treatment, outcome.control)


def _compare(experiment: Experiment, outcome: Outcome, state: StepState) -> None:
    _key, curve, kind = session.recall(_prediction_key(experiment))
    for question, response, correct in zip(_QUESTIONS, (curve, kind), _results(outcome), strict=True):
        right = response == correct
        part = "prediction_right" if right else "prediction_wrong"
        sentence = shared(state, part, prediction=shared(state, response), result=shared(state, correct))
        draw, icon = (st.success, ":material/check:") if right else (st.warning, ":material/search:")
        draw(f"{shared(state, question)} {sentence}", icon=icon)


def _table(outcome: Outcome, state: StepState) -> str:
    rows = [
        ("row_val", "{:.2f}", lambda model_result: model_result.val[-1]),
        ("row_train", "{:.2f}", lambda model_result: model_result.train[-1]),
        ("row_writes", "{:.2f}", lambda model_result: model_result.last_position_loss),
        ("row_words", "{:.0%}", lambda model_result: model_result.words),
        ("row_copied", "{:,}", lambda model_result: model_result.copied),
    ]
    control, treatment = _names(state)
    lines = [f"| {shared(state, 'row_measured')} | {control} | {treatment} |", "|---|---:|---:|"]
    for name, template, value in rows:
        cells = [template.format(value(model_result)) for model_result in (outcome.control, outcome.treatment)]
        lines.append(f"| {shared(state, name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _figure(outcome: Outcome, state: StepState) -> go.Figure:
    names, guessing = _names(state), shared(state, "uniform")
    return courses_figure(outcome, names, guessing, state.vocab_size, current_palette(), state.results["unit"])


def _names(state: StepState) -> tuple[str, str]:
    return shared(state, "control"), state.label("broken")


def _prediction_key(experiment: Experiment) -> str:
    return f"predicted-{experiment.name}"


def shared(state: StepState, part: str, **numbers: Any) -> str:
    """Return a part of the text that all experiments share."""
    return fill(load_prose(state.lesson, "lesson", state.language).parts[part], **numbers)


STEPS = tuple(
    Step(
        name,
        partial(_draw, experiment),
        code=(*map(locate, experiment.code), *filter(None, [experiment.corrupt]), train_pair),
        numbers=lambda state: {"guess": f"{log(state.vocab_size):.2f}"},
        predicted=partial(_predicted, experiment),
    )
    for name, experiment in EXPERIMENTS.items()
)
