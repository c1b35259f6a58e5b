"""The bench: predict, break one thing, train both twins side by side, and read what the numbers show."""

from collections.abc import Callable, Hashable, Mapping
from functools import partial
from math import log
from pydoc import locate
from typing import Any

import streamlit as st
from plotly import graph_objects as go

from core.lessons.experiment_results import explanation, result_numbers, verdict
from core.lessons.experiments import EXPERIMENTS, Experiment
from core.lessons.lesson_text import fill, load_prose
from core.lessons.paired_runs import Outcome, control_config, kind_of_sample, make_pair, train_pair
from core.training.evaluation import run_baselines
from explorer.charts.comparison import by_place_figure, course_columns, courses_figure
from explorer.charts.text_format import percent
from explorer.components.figure import growing_figure
from explorer.learn.lab import Lab
from explorer.learn.step import Step
from explorer.widgets import address, session
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, current_palette

STEPS_OF_TRAINING = (50, 200, 400, 800)
CURVES = ("control_lower", "broken_lower", "same_loss")
KINDS = ("words", "rubbish", "stuck", "copied")
_SIZES = (300, 500, 1000, 3000, 10_000, 30_000)
_TIMES = (1, 10, 30, 100, 300, 1000)


def _draw(experiment: Experiment, lab: Lab) -> None:
    steps, choices = _controls(experiment, lab)
    key = ("break", experiment.name, *lab.key, steps, *sorted(choices.items()))
    if session.recall(_slot(experiment), (None,))[0] != key:
        _predict(experiment, lab, key)
        return
    pair = partial(make_pair, experiment, lab.text, steps=steps, seed=lab.seed, choices=choices)
    with card(shared(lab, "running"), shared(lab, "lines"), key="lesson_result"):
        outcome = result_of(key, lambda: train_pair(pair()), shared(lab, "training"), partial(_growing, steps, lab))
        if outcome is None:
            return
        _curves(outcome, lab, "break_curves")
    counted = run_baselines(control_config(steps, lab.seed), lab.train_ids, lab.val_ids, lab.vocab_size)
    _tell(experiment, outcome, lab, result_numbers(outcome, counted, lab.vocab_size, percent) | choices)


def _controls(experiment: Experiment, lab: Lab) -> tuple[int, dict[str, Any]]:
    """What the experimenter may choose: how long both train, and what is done to the text."""
    row = {"horizontal": True, "vertical_alignment": "bottom", "gap": "medium"}
    with card(lab.plain("panel"), key="lesson_controls"), st.container(**row):
        choices = {name: _choice(name, default, lab) for name, default in experiment.choices.items()}
        steps = lab.value("steps", 400, st.segmented_control, shared(lab, "steps"), STEPS_OF_TRAINING)
        if {"steps", *choices} <= address.hidden_controls():
            st.space("small")  # a title alone
    return steps, choices


def _choice(name: str, default: Any, lab: Lab) -> Any:
    label = shared(lab, name)
    if name == "phrase":
        typed = lab.value(name, default, st.text_input, label, max_chars=32, width=320)
        return typed.strip() or default
    if name == "letter":
        counts = sorted({letter.lower() for letter in lab.text if letter.isalpha()}) or sorted(set(lab.text))
        default = default if default in counts else counts[0]
        return lab.value(name, default, st.selectbox, label, counts, width=160)
    options = _SIZES if name == "size" else _TIMES
    return lab.value(name, default, st.select_slider, label, options, width=320)


def _predict(experiment: Experiment, lab: Lab, key: Hashable) -> None:
    """Two questions before anything is known: a prediction that can fail is what makes it an experiment."""
    with card(shared(lab, "predict"), shared(lab, "predict_why"), key="lesson_predict"):
        with st.form(f"predict-{experiment.name}", border=False):
            left, right = st.columns(2)
            name = experiment.name
            with left:
                curve = st.radio(
                    shared(lab, "ask_curve"), CURVES, index=None, key=f"predict-curve-{name}",
                    format_func=partial(shared, lab),
                )  # fmt: skip
            with right:
                kind = st.radio(
                    shared(lab, "ask_sample"), KINDS, index=None, key=f"predict-kind-{name}",
                    format_func=partial(shared, lab),
                )  # fmt: skip
            gone = st.form_submit_button(
                shared(lab, "run"), type="primary", icon=":material/play_arrow:", key="break_run"
            )
        if gone and None in (curve, kind):
            st.caption(shared(lab, "predict_first"))
        elif gone:
            session.remember(_slot(experiment), (key, curve, kind))
            st.rerun()


def _growing(steps: int, lab: Lab, outcome: Outcome | None) -> None:
    """Both curves as far as they are."""
    growing_figure(_figure(outcome or Outcome(steps), lab), key="break_live")


def _tell(experiment: Experiment, outcome: Outcome, lab: Lab, numbers: Mapping[str, Any]) -> None:
    """What each writes, whether the prediction held, and what the numbers show."""
    told, lab.mastered = verdict(outcome), True
    with card(shared(lab, "samples"), key="lesson_samples"):
        for column, course, name in zip(st.columns(2), (outcome.control, outcome.treatment), _names(lab), strict=True):
            with column:
                st.markdown(f"**{name}**")
                st.code(course.sample or shared(lab, "no_sample"), language=None, wrap_lines=True, height=200)
    with card(shared(lab, "prediction"), key="lesson_held"):
        _compare(experiment, outcome, told, lab)
    with card(shared(lab, "explained"), key="lesson_explained"):
        for part in explanation(experiment.name, outcome, numbers, lab.language):
            st.markdown(lab.tell(part, **numbers), width=820)
        if experiment.by_position:
            chart(
                by_place_figure(
                    outcome.control.by_position, outcome.treatment.by_position, _names(lab), current_palette()
                ),
                key="break_places",
                numbers=lambda: {
                    "place": list(range(1, len(outcome.control.by_position) + 1)),
                    "control": outcome.control.by_position,
                    "treatment": outcome.treatment.by_position,
                },
                name="loss-by-place",
            )
        st.markdown(_table(outcome, lab))
    if st.button(shared(lab, "predict_again"), icon=":material/replay:", key="break_predict"):
        session.remember(_slot(experiment), (None,))
        st.rerun()


def _compare(experiment: Experiment, outcome: Outcome, told: str, lab: Lab) -> None:
    """The prediction beside what came."""
    _, curve, kind = session.recall(_slot(experiment))
    came = {"higher": "control_lower", "same": "same_loss"}.get(told, "broken_lower")
    wrote = kind_of_sample(outcome.treatment, outcome.control)
    for asked, given, truth in (("ask_curve", curve, came), ("ask_sample", kind, wrote)):
        right = given == truth
        part = "prediction_right" if right else "prediction_wrong"
        said = shared(lab, part, prediction=shared(lab, given), result=shared(lab, truth))
        draw, icon = (st.success, ":material/check:") if right else (st.warning, ":material/search:")
        draw(f"{shared(lab, asked)} {said}", icon=icon)


def _table(outcome: Outcome, lab: Lab) -> str:
    """The numbers of both beside each other, as Markdown."""
    rows = [
        ("row_val", "{:.2f}", lambda course: course.val[-1]),
        ("row_train", "{:.2f}", lambda course: course.train[-1]),
        ("row_writes", "{:.2f}", lambda course: course.last_position_loss),
        ("row_words", "{:.0%}", lambda course: course.words),
        ("row_copied", "{:,}", lambda course: course.copied),
    ]
    control, treatment = _names(lab)
    lines = [f"| {shared(lab, 'row_measured')} | {control} | {treatment} |", "|---|---:|---:|"]
    for name, form, value in rows:
        cells = [form.format(value(course)) for course in (outcome.control, outcome.treatment)]
        lines.append(f"| {shared(lab, name)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _curves(outcome: Outcome, lab: Lab, key: str) -> None:
    chart(_figure(outcome, lab), key=key, numbers=lambda: course_columns(outcome), name=f"twins-{lab.step}")


def _figure(outcome: Outcome, lab: Lab) -> go.Figure:
    return courses_figure(outcome, _names(lab), shared(lab, "uniform"), lab.vocab_size, current_palette())


def _names(lab: Lab) -> tuple[str, str]:
    return shared(lab, "control"), lab.plain("broken")


def _slot(experiment: Experiment) -> str:
    return f"predicted-{experiment.name}"


def shared(lab: Lab, part: str, **numbers: Any) -> str:
    """A part of the words that all experiments share."""
    return fill(load_prose(lab.lesson, "lesson", lab.language).parts[part], **numbers)


def _code(experiment: Experiment) -> tuple[Callable, ...]:
    """Return the functions that the step shows."""
    corrupt = (experiment.corrupt,) if experiment.corrupt else ()
    return (*map(locate, experiment.code), *corrupt, train_pair)


STEPS = tuple(
    Step(
        name,
        partial(_draw, experiment),
        code=_code(experiment),
        numbers=lambda lab: {"guess": f"{log(lab.vocab_size):.2f}"},
    )
    for name, experiment in EXPERIMENTS.items()
)
