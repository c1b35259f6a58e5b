"""The lesson's bigram model: one gradient step, and the training loop."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import streamlit as st
import torch
from plotly import graph_objects as go
from torch import Tensor

from core.fast.threads import one_thread
from core.interpretability import Progress
from core.lessons.bigram import BLOCK, gradient_step, gradient_steps, most_frequent, new_bigram, train_bigram
from core.model import Bigram
from core.text.batches import random_batch
from core.text.ngrams import Baselines, count_baselines
from core.text.token_display import visible
from core.training.evaluation import whole_split_loss
from explorer.charts.csv_export import matrix_columns
from explorer.charts.lessons import before_and_after, change_heatmap
from explorer.charts.loss import LossUnit, loss_columns, loss_figure
from explorer.charts.text_format import percent
from explorer.components.text import token_pairs, token_strip
from explorer.components.time_machine import growing_figure
from explorer.i18n.language import _
from explorer.learn.bigram.training_text import batch_of, batch_slot
from explorer.learn.state import StepState
from explorer.learn.steps import Step, choose_unit, redraw_button
from explorer.widgets import session
from explorer.widgets.layout import card, chart, current_palette

TRAINING_STEPS, BATCH_SIZE, LEARNING_RATE = 2000, 32, 0.02
_REPORT_EVERY = 100  # steps between two evaluations


@dataclass
class TrainedBigram:
    """A trained bigram model with its training history."""

    model: Bigram
    baselines: Baselines  # counted on the same text, nats/token
    rows: list[dict[str, float]] = field(default_factory=list)  # as in metrics.jsonl: step, loss, val_loss
    tables: dict[int, Tensor] = field(default_factory=dict)  # (V, V) probabilities by step

    @property
    def val_loss(self) -> float:
        """Return the final loss on the whole validation split."""
        return [row["val_loss"] for row in self.rows if "val_loss" in row][-1]


def trained_bigram(
    state: StepState, learning_rate: float = LEARNING_RATE, batch_size: int = BATCH_SIZE,
    on_progress: Callable[[TrainedBigram | None], None] | None = None,
) -> TrainedBigram:  # fmt: skip
    """Return the model trained on the lesson's text; `on_progress` draws the partly trained one."""
    key = ("bigram", learning_rate, batch_size, TRAINING_STEPS)
    make = partial(_train, state, learning_rate, batch_size)
    trained = state.results["trained"] = state.compute(key, make, state.word("training"), on_progress)
    return trained


def _train(state: StepState, learning_rate: float, batch_size: int) -> Iterator[Progress[TrainedBigram]]:
    with one_thread():
        baselines = count_baselines(state.train_ids, state.val_ids, state.vocab_size, range(1, len(state.val_ids)))
        trained = TrainedBigram(new_bigram(state.vocab_size, state.seed), baselines)
        trained.tables[0] = trained.model.table()
        trained.rows.append({"step": 0, "val_loss": whole_split_loss(trained.model, state.val_ids)})
    loop = train_bigram(
        trained.model, state.train_ids, steps=TRAINING_STEPS, batch_size=batch_size, learning_rate=learning_rate,
        seed=state.seed,
    )  # fmt: skip
    for _part in range(TRAINING_STEPS // _REPORT_EVERY):
        with one_thread():
            for step, loss in islice(loop, _REPORT_EVERY):
                trained.rows.append({"step": step, "loss": loss})
                if str(step).rstrip("0") in ("1", "2", "5"):  # 1, 2, 5, 10, 20, 50, ... and the last
                    trained.tables[step] = trained.model.table()
            trained.rows.append({"step": step, "val_loss": whole_split_loss(trained.model, state.val_ids)})
        yield Progress(step, TRAINING_STEPS, trained)


_STEPS_TAKEN = "lesson-gradient-taken"
_MAX_STEPS = 20  # steps on one batch
_SHOWN_COLUMNS = 24
_GRADIENT_RATES = (1, 2, 5, 10, 20, 50, 100, 200)


def _change_steps(by: int) -> None:
    session.remember(_STEPS_TAKEN, min(_MAX_STEPS, max(0, session.recall(_STEPS_TAKEN, 0) + by)))


def _draw_gradient(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        left, right = st.columns(2)
        sequences = state.value("pieces", 2, left.slider, "control pieces", 1, 4)
        rate = state.value("rate", 20, right.select_slider, "control rate", _GRADIENT_RATES)
        x, y = batch_of(state, sequences, BLOCK)
        token_pairs(x.tolist(), y.tolist(), state.tokens, key="lesson_pairs")
        taken = session.recall(_STEPS_TAKEN, 0)
        with st.container(horizontal=True, gap="small"):
            for word, icon, key, by, off in (
                ("take_step", "south_east", "lesson_down", 1, taken >= _MAX_STEPS),
                ("undo", "undo", "lesson_undo", -1, not taken),
            ):
                change, icon = partial(_change_steps, by), f":material/{icon}:"
                st.button(state.word(word), icon=icon, key=key, on_click=change, disabled=off)
            redraw_button(state, batch_slot(state), "another", key=batch_slot(state))
        steps = gradient_steps(state.vocab_size, x, y, float(rate), taken, state.seed)
        state.results["batch"] = x, y, float(rate)
        if not taken:
            state.write("untouched", before=f"{steps.losses[0]:.3f}")
            return
        state.write(
            "result",
            taken=taken,
            before=f"{steps.losses[0]:.3f}",
            after=f"{steps.losses[-1]:.3f}",
            moved=int(steps.changed.sum()),
            still=state.vocab_size - int(steps.changed.sum()),
        )
        _draw_change(state, steps, y)
    with card(state.label("panel row"), key="lesson_one_row"):
        _draw_row(state, steps, x, y)


def _draw_change(state: StepState, steps, y: torch.Tensor) -> None:
    rows = steps.changed.nonzero().flatten().tolist()
    frequent = [state.id_of[letter] for letter, _unused in most_frequent(state.text)[:_SHOWN_COLUMNS]]
    columns = sorted({*frequent, *y.flatten().tolist()})
    change = (steps.after - steps.before)[rows][:, columns].numpy()
    names = [state.tokens[id] for id in rows], [state.tokens[id] for id in columns]
    shown_tokens = [[visible(token) for token in side] for side in names]
    figure = change_heatmap(change, *names, state.label("cell"), current_palette())
    columns = partial(matrix_columns, change, *shown_tokens, ("character", "next character", "change"))
    chart(figure, key="lesson_change", name="change", numbers=columns)


def _draw_row(state: StepState, steps, x: torch.Tensor, y: torch.Tensor) -> None:
    rows = {state.shown_tokens[id]: id for id in steps.changed.nonzero().flatten().tolist()}
    row = rows[state.value("row", next(iter(rows)), st.selectbox, "control row", list(rows), width=220)]
    targets = y[x == row].tolist()
    before, after = steps.before[row].numpy(), steps.after[row].numpy()
    target = targets[0]
    state.write(
        "row",
        letter=state.shown_tokens[row],
        targets=", ".join(dict.fromkeys(state.shown_tokens[id] for id in targets)),
        target=state.shown_tokens[target],
        before=percent(float(before[target])),
        after=percent(float(after[target])),
    )
    names = state.label("before"), state.label("after")
    figure = before_and_after(before, after, state.shown_tokens, names, current_palette())
    columns = {"next character": state.shown_tokens, "before": before, "after": after}
    chart(figure, key="lesson_before_after", name="row-before-and-after", numbers=lambda: columns)


def _show_rows(state: StepState, response: float) -> None:
    x = state.results["batch"][0]
    read = sorted(set(x.flatten().tolist()))
    st.caption(state.label("rows read"))
    token_strip([state.tokens[id].replace("\n", "⏎") for id in read], read, note="", key="lesson_rows")


GRADIENT = Step(
    "gradient",
    _draw_gradient,
    code=(gradient_step, gradient_steps),
    answer=lambda state: int(gradient_steps(state.vocab_size, *state.results["batch"], 1, state.seed).changed.sum()),
    show=_show_rows,
    more=lambda state: {"read": state.results["batch"][0].numel()},
)


_TRAINING_RATES = (0.0001, 0.0005, 0.001, 0.005, 0.01, LEARNING_RATE, 0.05, 0.1, 0.5, 1.0)
_BATCHES = (1, 4, 16, BATCH_SIZE, 64)
_SAME = 0.05  # nats: too small to notice in generated text


def _draw_training(state: StepState) -> None:
    with card(state.label("panel"), key="lesson_result"):
        left, right = st.columns(2)
        rate = state.value("rate", LEARNING_RATE, left.select_slider, "control rate", _TRAINING_RATES)
        batch = state.value("batch", BATCH_SIZE, right.select_slider, "control batch", _BATCHES)
        unit = choose_unit(state)
        with st.container(height=445, border=False):
            trained = trained_bigram(state, rate, batch, on_progress=partial(_draw_growing, unit))
            columns = partial(loss_columns, trained.rows)
            chart(_loss_figure(unit, trained, 400), key="lesson_training", name="bigram-loss", numbers=columns)
        state.write(
            "result",
            steps=f"{TRAINING_STEPS:,}",
            first=f"{trained.rows[0]['val_loss']:.2f}",
            last=f"{trained.val_loss:.2f}",
            choices=f"{math.exp(trained.val_loss):.1f}",
            counted=f"{trained.baselines.bigram:.2f}",
        )


def _draw_growing(unit: LossUnit, trained: TrainedBigram | None) -> None:
    growing_figure(_loss_figure(unit, trained, 350), key="lesson_growing")


def _loss_figure(unit: LossUnit, trained: TrainedBigram | None, height: int) -> go.Figure:
    rows, baselines = (list(trained.rows), vars(trained.baselines)) if trained else ([], {})
    shown = [{name: value if name == "step" else unit.of(value) for name, value in row.items()} for row in rows]
    lines = {name: unit.of(loss) for name, loss in baselines.items()}
    figure = loss_figure(shown, lines, TRAINING_STEPS, current_palette(), height=height)
    return figure.update_yaxes(title_text=unit.title(_("loss")))


def _end(state: StepState) -> tuple[float, float]:
    trained = state.results["trained"]
    return trained.val_loss, trained.baselines.bigram


def _compare_with_counted(state: StepState) -> str:
    last, counted = _end(state)
    return "close" if abs(last - counted) <= _SAME else "below" if last < counted else "above"


def _end_numbers(state: StepState, digits: int = 2) -> dict[str, str]:
    return {name: f"{loss:.{digits}f}" for name, loss in zip(("last", "counted"), _end(state), strict=True)}


TRAINING = Step(
    "training",
    _draw_training,
    code=(train_bigram, random_batch),
    answer=_compare_with_counted,
    named=lambda state: ["below", "close", "above"],
    show=lambda state, response: state.write("ends", **_end_numbers(state, 3)),
    more=_end_numbers,
)
