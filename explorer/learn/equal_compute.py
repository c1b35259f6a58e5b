"""The lesson on scaling laws: sizes at equal compute, a prediction for the next size, and the law behind it."""

from functools import partial

import streamlit as st

from core.lessons.equal_compute import (
    NEXT_SIZE,
    SIZES,
    NextSize,
    best_size,
    config_within_budget,
    factor_of_term,
    train_at_equal_compute,
    train_next_size,
    whole_budget,
)
from core.training.scaling_law import BUDGETS, ScalingRun, fit_joint_law, law_of
from core.training.work import flops_of_step
from explorer.charts.scaling_law import joint_law_figures
from explorer.i18n.language import _
from explorer.learn.state import StepState
from explorer.learn.steps import Step, draw_table, is_answered
from explorer.widgets.layout import card, chart, current_palette

_NEAR = 0.1  # nats/token, tolerance of a prediction
_NAMES = [f"{layers}x{width}" for layers, width in SIZES]
_NEXT = f"{NEXT_SIZE[0]}x{NEXT_SIZE[1]}"


def _study(state: StepState) -> list[ScalingRun]:
    make = partial(train_at_equal_compute, state.train_ids, state.val_ids, state.vocab_size, state.seed)
    runs = state.results["runs"] = state.compute(("equal compute",), make, state.word("training_models"))
    return runs


def _next_size(state: StepState) -> NextSize:
    runs = _study(state)
    make = partial(train_next_size, runs, state.train_ids, state.val_ids, state.vocab_size, state.seed)
    outcome = state.results["next"] = state.compute(("next size",), make, state.word("training_models"))
    return outcome


def _draw_panels(runs: list[ScalingRun], outcome: NextSize | None = None) -> None:
    """Draw the loss over parameters and over tokens, and with the next size also the law that predicted it."""
    law = None
    if outcome:
        law, runs = law_of(runs), [*runs, outcome.trained]
    names = [_("quarter"), _("half"), _("whole budget")]
    figures = joint_law_figures(runs, law, None, current_palette(), names)[:2]
    numbers = {
        "size": [run.size for run in runs],
        "parameters": [run.parameters for run in runs],
        "tokens": [run.tokens for run in runs],
        "compute": [run.compute for run in runs],
        "loss": [run.loss for run in runs],
    }
    for column, figure, of in zip(st.columns(2), figures, ("parameters", "tokens"), strict=True):
        with column:
            chart(figure, key=f"lesson_{of}", name=f"equal-compute-{of}", numbers=lambda: numbers)


def _draw_budgets(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        runs = _study(state)
        answered = is_answered(state)  # until then, the student predicts the whole budget
        _draw_panels(runs if answered else runs[: -len(SIZES)])
        best = state.results["best"] = [best_size(runs, place).size for place in range(len(BUDGETS))]
        state.write("result", compute=f"{float(f'{runs[0].compute:.1e}'):,.0f}", quarter=best[0], half=best[1])
        if not answered:
            state.write("hidden")


def _show_losses(state: StepState, _response: object) -> None:
    count, runs = len(SIZES), state.results["runs"]
    losses = [[f"{run.loss:.3f}" for run in runs[place * count : (place + 1) * count]] for place in range(len(BUDGETS))]
    names = ("quarter", "half", "whole")
    draw_table(state, "lesson_losses", {"size": _NAMES} | dict(zip(names, losses, strict=True)), 460)


BUDGET = Step(
    "budget",
    _draw_budgets,
    code=(config_within_budget, train_at_equal_compute, flops_of_step),
    answer=lambda state: state.results["best"][-1],
    options=lambda state: _NAMES,
    show=_show_losses,
)


def _draw_next(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        runs = _study(state)
        _show_losses(state, None)
        steps = config_within_budget(*NEXT_SIZE, whole_budget(state.vocab_size), state.vocab_size).train.steps
        state.write("result", size=_NEXT, steps=f"{steps:,}", last=f"{runs[-1].loss:.3f}", before=_NAMES[-1])
        _next_size(state)


def _prediction(state: StepState) -> dict[str, str]:
    predicted, trained = state.results["next"]
    inside = predicted.low <= trained.loss <= predicted.high
    return {
        "size": _NEXT, "predicted": f"{predicted.value:.2f}", "low": f"{predicted.low:.2f}",
        "high": f"{predicted.high:.2f}", "trained": f"{trained.loss:.2f}",
        "where": state.label("inside" if inside else "outside"),
    }  # fmt: skip


PREDICTION = Step(
    "prediction",
    _draw_next,
    code=(train_next_size, law_of),
    answer=lambda state: state.results["next"].trained.loss,
    tolerance=_NEAR,
    more=_prediction,
)


def _draw_law(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        outcome = _next_size(state)
        law = law_of(state.results["runs"])
        _draw_panels(state.results["runs"], outcome)
        alpha, beta = law.exponent_intervals()
        state.results["alpha"] = round(alpha.value, 2)
        state.write(
            "result",
            floor=f"{law.coefficients[0]:.2f}", alpha=f"{alpha.value:.2f}", alpha_low=f"{alpha.low:.2f}",
            alpha_high=f"{alpha.high:.2f}", beta=f"{beta.value:.2f}", beta_low=f"{beta.low:.2f}",
            beta_high=f"{beta.high:.2f}", off=f"{outcome.trained.loss - outcome.predicted.value:+.2f}",
        )  # fmt: skip


LAW = Step(
    "law",
    _draw_law,
    code=(fit_joint_law, factor_of_term),
    answer=lambda state: factor_of_term(state.results["alpha"], 4),
    tolerance=0.03,
    more=lambda state: {"exponent": f"{state.results['alpha']:.2f}"},
)
STEPS = (BUDGET, PREDICTION, LAW)
