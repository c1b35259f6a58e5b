"""The lesson on abilities that appear suddenly: induction heads and grokking, in two models of the gallery."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import nan

import streamlit as st
import torch

from core.interpretability import Progress
from core.interpretability.embeddings import FourierComponents, fourier_components, token_embeddings
from core.lessons.lesson_text import load_prose
from core.lessons.phase_changes import first_step, induction_scores, remainder
from core.paths import gallery_dir
from core.runs.folder import RunFolder
from core.runs.weights import load_model
from core.text.tasks import MODULUS, NUMBERS
from explorer.charts.csv_export import Columns
from explorer.charts.embedding_map import number_circle
from explorer.charts.lessons import Curve, course_with_shares
from explorer.charts.text_format import percent
from explorer.learn.state import StepState
from explorer.learn.steps import Step, choose_unit, draw_curves, draw_table
from explorer.widgets.layout import card, chart, current_palette
from explorer.widgets.run_rows import run_bytes_per_token

_EMERGED = 0.3  # attention from which a head counts as an induction head
_RIGHT = 0.5  # share of problems


def _run(name: str) -> RunFolder:
    return RunFolder(gallery_dir() / f"gallery-{name}")


@lru_cache(maxsize=2)
def _evaluations(name: str) -> dict[str, list[float]]:
    """Return the evaluations of a gallery model's training by column; all have accuracies."""
    rows = [row for row in _run(name).rows("metrics") if "val_loss" in row]
    columns = ("step", "train_loss", "val_loss", "train_accuracy", "val_accuracy")
    return {column: [row[column] for row in rows] for column in columns}


def _compute_scores() -> Iterator[Progress[dict[int, float]]]:
    run = _run("induction")
    loaded = {step: load_model(run, path) for step, path in run.snapshots()}
    tokens = next(iter(loaded.values())).tokenizer.tokens
    letters = torch.tensor([id for id, token in enumerate(tokens) if token.isalpha()])
    return induction_scores({step: each.model for step, each in loaded.items()}, letters, tokens.index(" "))


def _draw_course(
    state: StepState, losses: dict[str, Curve], shares: dict[str, Curve], colors: Sequence[str], *, now: int,
    loss_title: str = "", name: str,
) -> None:  # fmt: skip
    """Draw losses and shares over one axis of steps, with a line at the step of the slider."""
    titles = state.label("axis step"), loss_title, state.label("axis score")
    figure = course_with_shares(losses, shares, colors, titles, now, current_palette())
    chart(figure, key="lesson_course", name=name, numbers=lambda: _columns(losses | shares))


def _columns(lines: dict[str, Curve]) -> Columns:
    """Return one row per step of any line; values not measured at a step stay empty."""
    steps = sorted({step for x, _y in lines.values() for step in x})
    by_step = {name: dict(zip(*line, strict=True)) for name, line in lines.items()}
    return {"step": steps} | {name: [line.get(step, nan) for step in steps] for name, line in by_step.items()}


def _near(rows: dict[str, list[float]], column: str, step: int) -> float:
    """Return the last measurement at or before a step."""
    return rows[column][max(place for place, other in enumerate(rows["step"]) if other <= step)]


def _draw_induction(state: StepState) -> None:
    palette, rows = current_palette(), _evaluations("induction")
    scores = state.results["scores"] = state.compute(("induction",), _compute_scores, state.word("computing"))
    with card(state.label("panel"), key="lesson_result"):
        unit = choose_unit(state, run_bytes_per_token(_run("induction")))
        now = state.value("step", list(scores)[-1], st.select_slider, "axis step", list(scores))
        losses = {state.label("axis loss"): (rows["step"], list(map(unit.of, rows["val_loss"])))}
        shares = {state.label("axis score"): (list(scores), list(scores.values()))}
        title = unit.title(state.label("axis loss"))
        colors = palette.validation, palette.accent
        _draw_course(state, losses, shares, colors, now=now, loss_title=title, name="induction")
        loss = unit.in_words(_near(rows, "val_loss", now))
        state.write("result", step=f"{now:,}", loss=loss, score=percent(scores[now]))


def _emergence(state: StepState) -> int:
    scores = state.results["scores"]
    return first_step(list(scores), list(scores.values()), _EMERGED)


def _show_scores(state: StepState, _response: str) -> None:
    scores = state.results["scores"]
    draw_table(
        state, "lesson_score_table", {"axis step": list(scores), "axis score": list(map(percent, scores.values()))}, 420
    )


INDUCTION = Step(
    "induction",
    _draw_induction,
    code=(induction_scores, first_step),
    answer=lambda state: f"{_emergence(state):,}",
    options=lambda state: [f"{step:,}" for step in list(state.results["scores"])[-7:]],
    show=_show_scores,
    uses_text=False,
)


def _draw_grokking(state: StepState) -> None:
    palette, rows = current_palette(), _evaluations("grokking")
    names = state.label("train"), state.label("val")
    with card(state.label("panel"), key="lesson_result"):
        now = state.value("step", list(_components())[-1], st.select_slider, "axis step", list(_components()))
        _draw_accuracies(state, now)
        memorized = first_step(rows["step"], rows["train_accuracy"], 0.99)
        state.write(
            "result",
            memorized=f"{memorized:,}", modulus=MODULUS, chance=percent(1 / MODULUS), step=f"{now:,}",
            known=percent(_near(rows, "train_accuracy", now)), right=percent(_near(rows, "val_accuracy", now)),
            circle=percent(_five(_components()[now])),
        )  # fmt: skip
    with card(state.label("panel loss"), key="lesson_losses"):
        unit = choose_unit(state, run_bytes_per_token(_run("grokking")))
        losses = (list(map(unit.of, rows[f"{part}_loss"])) for part in ("train", "val"))
        lines = dict(zip(names, losses, strict=True))
        draw_curves(
            rows["step"], lines, (palette.training, palette.validation),
            (state.label("axis step"), unit.title(state.label("axis loss"))), ("step", *lines),
            key="lesson_grokking_loss", name="grokking-loss", height=250,
        )  # fmt: skip
        state.write("loss")


def _draw_accuracies(state: StepState, now: int) -> None:
    """Draw the accuracy on both halves, and the share of the embeddings that lies on circles."""
    palette, rows, words = current_palette(), _evaluations("grokking"), load_prose("sudden", "grokking", state.language)
    circle = {step: _five(each) for step, each in _components().items()}
    shares = {
        words.parts["train"]: (rows["step"], rows["train_accuracy"]),
        words.parts["val"]: (rows["step"], rows["val_accuracy"]),
        words.parts["circle"]: (list(circle), list(circle.values())),
    }
    _draw_course(state, {}, shares, (palette.training, palette.validation, palette.accent), now=now, name="grokking")


def _five(each: FourierComponents) -> float:
    """Return the share of the variance that lies on the circles of the five strongest frequencies."""
    return float(sum(sorted(each.power)[-5:]))


def _generalized() -> int:
    rows = _evaluations("grokking")
    return first_step(rows["step"], rows["val_accuracy"], _RIGHT)


def _show_accuracies(state: StepState, _response: float) -> None:
    rows, right = _evaluations("grokking"), _generalized()
    near = [index for index, step in enumerate(rows["step"]) if abs(step - right) <= 200]
    columns = {"axis step": [rows["step"][index] for index in near]}
    columns |= {"val": [percent(rows["val_accuracy"][index]) for index in near]}
    draw_table(state, "lesson_near", columns, 420)


GROKKING = Step(
    "grokking",
    _draw_grokking,
    code=(first_step,),
    numbers=lambda state: {"modulus": MODULUS, "modulus_less": MODULUS - 1},
    answer=lambda state: _generalized(),
    tolerance=60,
    show=_show_accuracies,
    uses_text=False,
)


@lru_cache(maxsize=1)
def _components() -> dict[int, FourierComponents]:
    run, made = _run("grokking"), {}
    for step, path in run.snapshots():
        loaded = load_model(run, path)
        rows = [loaded.tokenizer.tokens.index(number) for number in NUMBERS]
        made[step] = fourier_components(token_embeddings(loaded.model)[rows])
    return made


def _draw_circle(state: StepState) -> None:
    components = _components()
    with card(state.label("panel course"), key="lesson_way_there"):
        step = state.value("step", list(components)[-1], st.select_slider, "axis step", list(components))
        _draw_accuracies(state, step)
    with card(state.label("panel"), key="lesson_result"):
        each = components[step]
        drawn = number_circle([each], [str(number) for number in range(MODULUS)], current_palette())
        for trace, values in zip(drawn.figure.data, drawn.moves[0]["traces"], strict=True):
            trace.update(values)
        for axis, reach in drawn.moves[0]["layout"].items():
            drawn.figure.update_layout({axis.replace(".", "_"): reach})
        power = {"frequency": list(range(1, len(each.power) + 1)), "share": each.power.tolist()}
        chart(drawn.figure, key="lesson_circle", name="fourier", numbers=lambda: power)
        state.write("result", frequency=each.strongest, five=percent(_five(each)))


def _numbers(state: StepState) -> tuple[int, int]:
    return 20 + state.seed % 30, 30 + state.seed % 7 + 9


CIRCLE = Step(
    "circle",
    _draw_circle,
    code=(fourier_components, remainder),
    numbers=lambda state: dict(zip(("a", "b"), _numbers(state), strict=True)) | {"modulus": MODULUS},
    answer=lambda state: remainder(*_numbers(state), MODULUS),
    show=lambda state, _response: state.write("see", sum=sum(_numbers(state))),
    uses_text=False,
)

STEPS = (INDUCTION, GROKKING, CIRCLE)
