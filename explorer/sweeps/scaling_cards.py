"""A scaling study on the Sweeps page: its form, its law, and the next size, predicted before its training."""

import streamlit as st

from core.errors import ExplorerError
from core.presets import PRESETS, preset
from core.runs.ancestry import check_startable
from core.runs.class_sizes import Size, parse_size, parse_sizes
from core.sweeps.folder import SweepFolder, SweepRecord
from core.sweeps.results import PointResult
from core.sweeps.scaling import (
    FIRST_SIZES,
    PredictedSize,
    plan_scaling,
    predict_size,
    scaling_runs,
    train_prediction,
)
from core.training.scaling_law import JointLaw, ScalingRun, law_of
from explorer.charts.scaling_law import joint_law_figures
from explorer.i18n.language import _
from explorer.services import shared
from explorer.services.visitors import check_may_change
from explorer.train.sweep_form import cost_in_markdown, open_started_sweep, start_sweep, sweep_cost
from explorer.widgets import session
from explorer.widgets.forms import text_labels
from explorer.widgets.layout import card, chart, current_palette, errors_shown, literal

_SIZES, _STEPS, _SEEDS, _TEXT, _PRESET = "study_sizes", "study_steps", "study_seeds", "study_text", "study_preset"
_FORM, _START, _NEXT = "study_form", "study_start", "study_next"


def draw_study_form() -> None:
    """Draw the popover that plans and starts a scaling study."""
    about = _("Several sizes at equal compute: how does the loss fall as models grow?")
    look = {"icon": ":material/show_chart:", "help": about}
    with st.popover(_("New scaling study"), key=_FORM, on_change="rerun", **look):  # so that starting can close it
        texts = text_labels()
        st.text_input(
            _("Sizes"), FIRST_SIZES, key=_SIZES, max_chars=150, help=_("Layers x width, separated by commas.")
        )
        left, right = st.columns(2)
        left.selectbox(_("Text"), list(texts), key=_TEXT, format_func=texts.get)
        right.selectbox(_("Preset"), [name for name in PRESETS if preset(name).model.kind == "gpt"], key=_PRESET)
        about = _("Their compute is the budget: every size gets as much, and a quarter and a half of it.")
        left.number_input(_("Steps of the largest size"), 40, 100_000, 400, key=_STEPS, help=about)
        right.number_input(_("Seeds"), 1, 10, 2, key=_SEEDS)
        with errors_shown():
            record = _plan()
            vocab_size = check_startable(shared.data_dir(), record.config)
            cost = sweep_cost(record, vocab_size, shared.supervisor().slots)
            st.markdown(cost_in_markdown(cost, prune=False))
            st.button(_("Start study"), key=_START, type="primary", on_click=_start,
                      args=(record, session.ticket(_START)))  # fmt: skip
    open_started_sweep(_START)


def _start(record: SweepRecord, number_of_click: str) -> None:
    start_sweep(record, number_of_click)
    st.session_state[_FORM] = False


def _plan() -> SweepRecord:
    chosen = st.session_state
    config = preset(chosen[_PRESET]).replace({"data.corpus": chosen[_TEXT]})
    return plan_scaling(config, shared.data_dir(), parse_sizes(chosen[_SIZES]), chosen[_STEPS], seeds=chosen[_SEEDS])


def draw_scaling(sweep: SweepFolder, record: SweepRecord, results: list[PointResult]) -> None:
    """Draw the law of a study, and the prediction of the next size with its result."""
    note = _("How does the loss fall with parameters, tokens and compute? Every size gets the same three budgets.")
    more = _(
        "The law is E + A·N^−α + B·D^−β (Hoffmann 2022), by least squares. Intervals are a bootstrap over seeds; a "
        "prediction adds the noise of one run."
    )
    with card(_("Scaling law"), note, more=literal(more), key="scaling_law"):
        runs = scaling_runs(sweep, record, results)
        if not runs:
            st.caption(_("The law stands here when the first runs have finished."))
            return
        law, problem = None, ""
        try:
            law = law_of(runs)
        except ExplorerError as error:
            problem = str(error)
        if law:
            _draw_law(law)
        else:
            st.caption(literal(problem))
        prediction = _draw_next(sweep, record, runs) if law and record.state != "running" else None
        _draw_panels(runs, law, prediction)
        _draw_outcomes(runs)


def _draw_panels(runs: list[ScalingRun], law: JointLaw | None, prediction: PredictedSize | None) -> None:
    """Draw the loss over parameters, tokens and compute side by side, stacked on a phone."""
    alts = {
        "parameters": _("Validation loss over the parameters of the study's runs, with the fitted law."),
        "tokens": _("Validation loss over the tokens that the study's runs read, with the fitted law."),
        "compute": _("Validation loss over the compute of the study's runs."),
    }
    figures = joint_law_figures(runs, law, prediction, current_palette())
    for column, figure, (of, alt) in zip(st.columns(3, gap="small"), figures, alts.items(), strict=True):
        with column:
            key, name = f"scaling_chart_{of}", f"scaling-law-{of}"
            chart(figure, key=key, numbers=lambda: _numbers(runs), name=name, alt=alt)
    st.caption(_("One color for each budget. A hollow diamond is a prediction, a star the same size trained after it."))


def _draw_law(law: JointLaw) -> None:
    alpha, beta = law.exponent_intervals()
    values = {"floor": f"{law.coefficients[0]:.2f}", "alpha": f"{alpha.value:.2f}", "beta": f"{beta.value:.2f}"}
    bounds = {
        "of_size": f"{alpha.low:.2f}–{alpha.high:.2f}", "of_data": f"{beta.low:.2f}–{beta.high:.2f}",
    }  # fmt: skip
    words = _("Fitted: loss = {floor} + A · N^−{alpha} + B · D^−{beta}. With 90%, α is {of_size} and β is {of_data}.",
              **values, **bounds)  # fmt: skip
    st.markdown(literal(words))


def _draw_next(sweep: SweepFolder, record: SweepRecord, runs: list[ScalingRun]) -> PredictedSize | None:
    largest = max(runs, key=lambda run: run.parameters)
    layers, width = parse_size(largest.size)
    st.session_state.setdefault(_NEXT, str(Size(layers + 1, width * 3 // 2 // 8 * 8)))
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        st.text_input(_("Next size"), key=_NEXT, max_chars=12, width=140)
        try:
            prediction = predict_size(sweep, record, runs, parse_size(st.session_state[_NEXT]))
        except ExplorerError as error:
            st.caption(literal(str(error)))  # no error box: the size may be our suggestion, not the visitor's choice
            return None
        st.button(_("Train this size"), key="study_train_next", icon=":material/play_arrow:", on_click=_train_next,
                  args=(sweep, prediction))  # fmt: skip
    loss, tokens = prediction.loss, f"{prediction.tokens:,}"
    numbers = {"loss": f"{loss.value:.3f}", "low": f"{loss.low:.3f}", "high": f"{loss.high:.3f}"}
    words = _("Predicted for {size} (N = {parameters}, D = {tokens}): **{loss}**, with 90% between {low} and {high}.",
              size=str(prediction.size), parameters=f"{prediction.parameters:,}", tokens=tokens, **numbers)  # fmt: skip
    st.markdown(words)
    return prediction


@session.notifying()
def _train_next(sweep: SweepFolder, prediction: PredictedSize) -> None:
    check_may_change()
    train_prediction(sweep, prediction)
    st.session_state.pop(_NEXT, None)


def _draw_outcomes(runs: list[ScalingRun]) -> None:
    for run in runs:
        if (expected := run.expected) is None:
            continue
        numbers = {"loss": f"{run.loss:.3f}", "value": f"{expected.value:.3f}", "size": run.size}
        off = f"{run.loss - expected.value:+.3f}"
        if expected.low <= run.loss <= expected.high:
            words = _("{size} ended at {loss}, predicted {value}: {off} off, inside the interval.", off=off, **numbers)
        else:
            words = _("{size} ended at {loss}, predicted {value}: {off} off, outside the interval.", off=off, **numbers)
        st.markdown(literal(words))


def _numbers(runs: list[ScalingRun]) -> dict[str, list]:
    return {
        _("Size"): [run.size for run in runs],
        _("Parameters"): [run.parameters for run in runs],
        _("Tokens"): [run.tokens for run in runs],
        _("Compute"): [run.compute for run in runs],
        _("Validation loss (nats/token)"): [run.loss for run in runs],
    }
