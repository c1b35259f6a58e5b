"""Attention without scaling, without the causal mask and without positions."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial

import streamlit as st
import torch

from core.lessons.sampling_steps import sample_text
from core.lessons.self_attention import (
    attention_to_next,
    max_attention,
    position_losses,
    predictions_after_shuffling,
    random_scores,
    softmax_slope,
)
from core.model.gpt import sinusoidal_positions
from core.model.self_attention import CausalSelfAttention, rotary_angles, rotate
from core.text.token_display import visible
from explorer.charts.text_format import percent
from explorer.learn.gpt.trained import draw_losses, quick_runs, typed_ids
from explorer.learn.state import StepState
from explorer.learn.steps import Step, choose_unit, draw_curves, draw_shares, draw_table
from explorer.services.shared import result_for
from explorer.widgets.layout import card, current_palette

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_SHOWN_KEYS = 8
QUESTION_SIZE = 256


@lru_cache(maxsize=8)
def _largest_weights(seed: int) -> dict[bool, list[float]]:
    scores = {divide: [random_scores(size, divide, seed=seed) for size in SIZES] for divide in (False, True)}
    return {divide: [max_attention(one) for one in many] for divide, many in scores.items()}


def _draw_scaling(state: StepState) -> None:
    palette = current_palette()
    labels = {False: state.label("plain"), True: state.label("divided")}
    colors = (palette.bad, palette.accent)
    with card(state.label("panel"), key="lesson_result"):
        size = state.value("size", 64, st.select_slider, "control", SIZES)
        raw = random_scores(size, divide=False, seed=state.seed)[0, :_SHOWN_KEYS]
        shares = {
            labels[divide]: (raw / (math.sqrt(size) if divide else 1)).softmax(dim=0).tolist()
            for divide in (False, True)
        }
        keys = [str(number + 1) for number in range(_SHOWN_KEYS)]
        draw_shares(keys, shares, colors, ("key", *shares), key="lesson_saturation", name="softmax")
        state.write(
            "result",
            size=size,
            spread=f"{_spread(state, size):.1f}",
            root=f"{math.sqrt(size):.1f}",
            most=percent(max(shares[labels[False]])),
            less=percent(max(shares[labels[True]])),
        )
    with card(state.label("panel sizes"), key="lesson_favourite"):
        largest = _largest_weights(state.seed)
        curves_by_size = {labels[divide]: largest[divide] for divide in (False, True)}
        draw_curves(
            SIZES, curves_by_size, colors, (state.label("axis size"), state.label("axis weight")),
            ("head size", *curves_by_size), key="lesson_favourites", name="favourite", hover=".0%",
            xaxis={"type": "log", "tickvals": SIZES[::2], "range": [-0.09, 3.1]},
            yaxis={"tickformat": ".0%", "range": [0, 1.02]},
        )  # fmt: skip
        at_size = [largest[divide][SIZES.index(size)] for divide in (False, True)]
        state.write(
            "sizes",
            size=size,
            plain_share=percent(at_size[0]),
            divided_share=percent(at_size[1]),
            slope=f"{softmax_slope(random_scores(size, divide=False, seed=state.seed)):.2f}",
            slope_divided=f"{softmax_slope(random_scores(size, divide=True, seed=state.seed)):.2f}",
        )


def _spread(state: StepState, size: int = QUESTION_SIZE) -> float:
    return float(random_scores(size, divide=False, seed=state.seed).std())


def _show_spreads(state: StepState, response: float) -> None:
    columns = {
        "axis size": SIZES,
        "spread": [f"{_spread(state, size):.1f}" for size in SIZES],
        "root": [f"{math.sqrt(size):.1f}" for size in SIZES],
    }
    draw_table(state, "lesson_spreads", columns, 480)


SCALING = Step(
    "scaling",
    _draw_scaling,
    code=(random_scores, max_attention, softmax_slope),
    answer=_spread, show=_show_spreads, tolerance=2.0,
    more=lambda state: {"size": QUESTION_SIZE, "root": f"{math.sqrt(QUESTION_SIZE):.0f}"},
)  # fmt: skip


MODELS = {"masked": {}, "open": {"causal": False}}
_SAMPLE_LENGTH = 200


def _draw_mask(state: StepState) -> None:
    palette = current_palette()
    names = {name: state.label(name) for name in MODELS}
    colors = (palette.accent, palette.bad)
    with card(state.label("panel"), key="lesson_result"):
        runs = quick_runs(state, MODELS)
        unit = state.results["unit"] = choose_unit(state)
        losses = {names[name]: list(map(unit.of, run.train)) for name, run in runs.items()}
        titles = state.label("axis step"), unit.title(state.label("axis loss"))
        columns = ("step", *losses)
        draw_curves(runs["open"].steps, losses, colors, titles, columns, key="lesson_mask_curves", name="training-loss")
        last_loss = {name: run.train[-1] for name, run in runs.items()}
        state.write("result", masked=f"{last_loss['masked']:.2f}", open=f"{last_loss['open']:.2f}")
    with card(state.label("panel texts"), key="lesson_mask_texts"):
        for column, (name, run) in zip(st.columns(2), runs.items(), strict=True):
            with column:
                st.markdown(f"**{names[name]}**")
                text, _unused = result_for(run.model, ("lesson-text", state.key), partial(_text, state, run.model))
                st.code(_shown(text), language=None, wrap_lines=True, height=170)
        state.write("texts")
    with card(state.label("panel why"), key="lesson_mask_why"):
        open_model = runs["open"].model
        by_position = {}
        for name, run in runs.items():
            measure = partial(position_losses, run.model, state.val_ids)
            by_position[names[name]] = result_for(run.model, ("by-place", state.key), measure).tolist()
        positions = list(range(1, open_model.block_size + 1))
        titles = state.label("axis place"), unit.title(state.label("axis val"))
        losses, columns = _in_unit(state, by_position), ("position", *by_position)
        draw_curves(positions, losses, colors, titles, columns, key="lesson_by_place", name="loss-by-place")
        to_next = result_for(open_model, ("ahead", state.key), lambda: attention_to_next(open_model, state.val_ids))
        losses = by_position[names["open"]]
        state.write(
            "why",
            ahead=percent(to_next),
            last=len(positions),
            at_last=f"{losses[-1]:.2f}",
            before=f"{sum(losses[:-1]) / (len(losses) - 1):.3f}",
        )
    state.results["open"] = losses


def _in_unit(state: StepState, losses: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    return {name: list(map(state.results["unit"].of, values)) for name, values in losses.items()}


def _text(state: StepState, model) -> tuple[str, list[float]]:
    return sample_text(model, state.tokenizer, state.text[-1], _SAMPLE_LENGTH, temperature=0.8)


def _shown(text: str) -> str:
    """Return the text, with visible white space if it is almost only white space."""
    return text if len(text.split()) > 3 else "".join(visible(letter) for letter in text)


def _worst_position(state: StepState) -> str:
    losses = state.results["open"]
    position = losses.index(max(losses))
    return "first" if position < len(losses) / 4 else "last" if position >= len(losses) - 1 else "middle"


def _show_position_losses(state: StepState, response: str) -> None:
    losses = _in_unit(state, {state.label("open"): state.results["open"]})
    positions = list(range(1, len(state.results["open"]) + 1))
    draw_curves(
        positions, losses, [current_palette().bad],
        (state.label("axis place"), state.results["unit"].title(state.label("axis val"))), ("position", "loss"),
        key="lesson_worst", name="loss-by-place", height=220,
    )  # fmt: skip
    state.write("see")


MASK = Step(
    "mask",
    _draw_mask,
    code=(CausalSelfAttention._explicit, attention_to_next, position_losses),
    answer=_worst_position,
    named=lambda state: ["first", "middle", "last"],
    more=lambda state: {"count": len(state.results["open"]), "worst": f"{max(state.results['open']):.2f}"},
    show=_show_position_losses,
)


KINDS = ("none", "learned", "sinusoidal", "rope")
_MOST, _BARS = 16, 8


def _draw_positions(state: StepState) -> None:
    palette = current_palette()
    with card(state.label("panel"), key="lesson_result"):
        runs = quick_runs(state, {kind: {"n_layer": 1, "position": kind} for kind in KINDS})
        left, right = st.columns([2, 3])
        typed = state.value("typed", "the quee", left.text_input, "control", max_chars=_MOST)
        kind = state.value(
            "kind", "none", right.segmented_control, "control kind", list(KINDS), format_func=state.label
        )
        ids = typed_ids(state, typed, _MOST, "the king")
        shuffled, before, after = predictions_after_shuffling(runs[kind].model, ids)
        texts = ["".join(state.shown_tokens[id] for id in row) for row in (ids, shuffled)]
        _prediction_bars(state, before, after, texts, "lesson_shuffled")
        difference = float((before - after).abs().max())
        part = "same" if difference < 1e-5 else "apart"
        state.write(part, first=texts[0], second=texts[1], most=f"{100 * difference:.0f}")
    with card(state.label("panel curves"), key="lesson_position_curves"):
        named = {state.label(kind): run for kind, run in runs.items()}
        draw_losses(state, named, (palette.lines, *palette.runs), key="lesson_positions", name="positions")
        losses = {kind: f"{run.val[-1]:.2f}" for kind, run in runs.items()}
        state.write("curves", **losses)
    state.results["runs"], state.results["ids"] = runs, ids


def _prediction_bars(state: StepState, before: torch.Tensor, after: torch.Tensor, texts: list[str], key: str) -> None:
    palette = current_palette()
    best = torch.maximum(before, after).argsort(descending=True)[:_BARS].tolist()
    names = [state.label("after", text=text) for text in texts]
    names[1] += " " if names[0] == names[1] else ""
    shares = {name: probabilities[best].tolist() for name, probabilities in zip(names, (before, after), strict=True)}
    shown_tokens = [state.shown_tokens[id] for id in best]
    colors = (palette.accent, palette.runs[2])
    draw_shares(shown_tokens, shares, colors, ("next character", *shares), key=key, name="next-letter")


def _swapped_predictions(state: StepState) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the predictions without positions before and after swapping the last two tokens, (V,) each."""
    model = state.results["runs"]["none"].model
    with torch.no_grad():
        return tuple(model(torch.tensor([row]))[0][0, -1].softmax(dim=0) for row in _question_rows(state))


def _question_rows(state: StepState) -> tuple[list[int], list[int]]:
    """Return the typed ids, cut so that the last two differ, and the same ids with those two swapped."""
    ids = state.results["ids"]
    while len(ids) > 2 and ids[-1] == ids[-2]:
        ids = ids[:-1]
    return ids, [*ids[:-2], ids[-1], ids[-2]]


def _question_numbers(state: StepState) -> dict[str, str]:
    texts = ("".join(state.shown_tokens[id] for id in row) for row in _question_rows(state))
    return dict(zip(("first", "second"), texts, strict=True))


def _show_swapped(state: StepState, response: str) -> None:
    texts = list(_question_numbers(state).values())
    _prediction_bars(state, *_swapped_predictions(state), texts, "lesson_swapped")


POSITIONS = Step(
    "positions",
    _draw_positions,
    code=(predictions_after_shuffling, sinusoidal_positions, rotary_angles, rotate),
    answer=lambda state: "no" if torch.allclose(*_swapped_predictions(state), atol=1e-6) else "yes",
    named=lambda state: ["no", "yes"],
    show=_show_swapped,
    more=_question_numbers,
)
