"""Who looks at whom, and how does one look come about?"""

import math
from typing import NamedTuple

import numpy as np
import streamlit as st

from core.inspection.attention import attention_patterns, over_heads, rollout, to_bytes
from core.inspection.cell import Cell, arithmetic
from explorer.charts.attention import attention_heatmap
from explorer.charts.numbers import Columns, matrix_columns
from explorer.charts.words import cut, percent, room_for
from explorer.components.attention_arcs import attention_arcs
from explorer.components.number_strips import Step, Strip, number_strips
from explorer.inside.kept import kept
from explorer.inside.view import Inside, head_on_view, within
from explorer.ui import card, chart, current_palette, sentence
from explorer.units import worded

PICTURE, QUERY, KEY = "inspect_over", "cell_query", "cell_key"
PICTURES = ("This head", "Mean of its layer", "Maximum of its layer", "Rollout")
MOST_VALUES = 5  # tokens whose weighted values are written out; the others are added up
_PICTURES_MORE = (
    "**This head** is the one chosen above. The **mean** over all heads of its layer tells where the layer looks on "
    "the whole, the **maximum** where at least one of its heads does. **Rollout** (Abnar and Zuidema 2020) follows "
    "attention from layer to layer: how much of each first letter has flowed into each place by then, if half of what "
    "arrives had come along the residual stream and feed-forward did nothing."
)
_CELL_MORE = (
    "The arithmetic of one square of the pattern, in the order of the lecture: `wei = q @ k.T * scale`, mask, "
    "`softmax`, `wei @ v`. All numbers are this model's own, for this prompt. Numbers in one column belong together: "
    "point at one. Letters are counted from 1."
)


class _Picture(NamedTuple):
    pattern: np.ndarray  # (T, T)
    words: str  # "head 1.2"
    flow: bool = False  # whether it tells what has flowed, not who looks


def draw(inside: Inside) -> None:
    """The arcs between all letters, and below them one cell worked out."""
    prompt = inside.prompt
    last = len(prompt.ids) - 1
    row = within(QUERY, last + 1, last)
    with card("Who looks at whom?", more=_PICTURES_MORE, key="card_arcs"):
        name = st.segmented_control(
            "Picture", PICTURES, default=PICTURES[0], required=True, key=PICTURE, label_visibility="collapsed"
        )
        picture = _picture(inside, name)
        st.caption(sentence(picture_in_words(picture.pattern, prompt.shown, picture.words, picture.flow)))
        picked = attention_arcs(
            to_bytes(picture.pattern),
            prompt.shown,
            row=row,
            key="inspect_arcs",
            flow=picture.flow,
            name=_file(name),
        )
        if picked is not None and picked != row:
            st.session_state[QUERY], st.session_state[KEY] = picked, int(_pattern(inside)[picked].argmax())
            st.rerun()
        if name != PICTURES[0]:
            _as_map(inside, picture, name)
    _cell(inside, row)


def _as_map(inside: Inside, picture: _Picture, name: str) -> None:
    """The same as a square of cells, where the page does not show it above."""
    prompt = inside.prompt

    def numbers() -> Columns:
        return matrix_columns(picture.pattern, prompt.shown, prompt.shown, ("looking", "looked at", "share"))

    figure = attention_heatmap(
        picture.pattern, prompt.tokens, current_palette(), causal=inside.config.causal, flow=picture.flow
    )
    width = room_for(prompt.shown, len(prompt.ids)) or "stretch"
    chart(figure, key="inspect_over_map", numbers=numbers, name=_file(name), width=width)


def _file(name: str) -> str:
    return name.lower().replace(" ", "-")


def picture_in_words(pattern: np.ndarray, shown: list[str], words: str, flow: bool) -> str:
    """Which letter the others look at most, on average over those that could; or what the last letter holds most of."""
    length = len(shown)
    if length < 2:
        return "A single letter can only look at itself. Type more to see more."
    if flow:
        best = int(pattern[-1].argmax())
        which = "itself" if best == length - 1 else f"'{shown[best]}', {length - 1 - best} back"
        return (
            f"After {words}, the last letter '{shown[-1]}' holds most of {which}: {percent(float(pattern[-1, best]))}."
        )
    others = ~np.eye(length, dtype=bool)
    seeing = np.maximum((others & (pattern > 0)).sum(axis=0), 1)
    means = np.where(others, pattern, 0).sum(axis=0) / seeing
    best = int(means[:-1].argmax())
    return (
        f"In {words}, others look most at '{shown[best]}' (letter {best + 1}): on average with "
        f"{percent(float(means[best]))} of their attention."
    )


def cell_in_words(cell: Cell, shown: list[str], query: int, key: int) -> str:
    """The whole way from two letters to one share."""
    looks = f"'{shown[query]}' (letter {query + 1})"
    at = "itself" if query == key else f"'{shown[key]}' (letter {key + 1})"
    if cell.hidden:
        return (
            f"{looks} cannot look at {at}: that is in its future, so the mask turns the score {_n(cell.score)} into −∞."
        )
    better = int((cell.row_scores > cell.row_scores[key]).sum())
    seen = int(np.isfinite(cell.row_scores).sum())
    place = "the highest" if better == 0 else f"number {better + 1}"
    return (
        f"{looks} looks {percent(cell.weight)} at {at}: their product {_n(cell.product)} makes a score of "
        f"{_n(cell.score)}, {place} of the {seen} it may look at."
    )


def cell_steps(cell: Cell, shown: list[str], query: int, key: int) -> list[Step]:
    """The arithmetic as steps to draw."""
    size, length = len(cell.q), len(shown)
    strongest = max(np.abs(cell.q).max(), np.abs(cell.k).max())
    done = " and ".join(cell.steps)

    def numbers(label: str, values: np.ndarray, most: float) -> Strip:
        return Strip(label, _plain(values), "numbers", "signed", float(most) or 1.0)

    def side(letter: str, projected: np.ndarray, used: np.ndarray) -> list[Strip]:
        before = [numbers(f"{letter} at first", projected, np.abs(projected).max())] if cell.steps else []
        return [*before, numbers(f"{letter}, {done}" if done else letter, used, strongest)]

    hidden = ~np.isfinite(cell.row_scores)
    finite = cell.row_scores[~hidden]
    scores = Strip(
        "scores",
        [None if gone else float(score) for score, gone in zip(cell.row_scores, hidden, strict=True)],
        "tokens",
        "signed",
        float(np.abs(finite).max()) or 1.0,
        [cut(token, 5) for token in shown],
        key,
    )
    weights = Strip("shares", _plain(cell.row_weights), "tokens", "share", 1.0, scores.names, key)
    order = np.argsort(-cell.row_weights, kind="stable")
    told = sorted({key, *order[: MOST_VALUES - 1].tolist()})
    rest = [place for place in range(length) if place not in told and not hidden[place]]
    most = max(np.abs(cell.weighted_values).max(), np.abs(cell.z).max())
    weighed = [
        numbers(
            f"'{cut(shown[place], 5)}' {percent(float(cell.row_weights[place]))}", cell.weighted_values[place], most
        )
        for place in told
    ]
    if rest:
        weighed.append(numbers(f"{len(rest)} others", cell.weighted_values[rest].sum(axis=0), most))
    root = f"1/√{size} = {cell.scale:.3f}" if cell.scale != 1 else "1 (this model does not scale)"
    exponent = "" if cell.hidden else f"e^{_n(cell.score)} = {math.exp(min(cell.score, 50)):,.2f}, "
    masked = int(hidden.sum())
    return [
        Step(f"The query: what '{shown[query]}' looks for", f"q: ({size},)", "", side("q", cell.q_projected, cell.q)),
        Step(f"The key: what '{shown[key]}' can be found by", f"k: ({size},)", "", side("k", cell.k_projected, cell.k)),
        Step(
            "Multiplied number by number, and added up",
            f"({size},) → one number",
            f"The sum of all {size} products is {_n(cell.product)}.",
            [numbers("q × k", cell.products, np.abs(cell.products).max())],
        ),
        Step("Scaled", "one number", f"{_n(cell.product)} × {root} gives the score {_n(cell.score)}."),
        Step(
            "Masked: nobody looks into the future" if masked else "All scores of this letter",
            f"({length},), a row of ({length}, {length})",
            (
                f"The same for every letter; {masked} that come later get −∞."
                if masked
                else "The same for every letter."
            ),
            [scores],
        ),
        Step(
            "Softmax: scores become shares that add up to 1",
            f"({length},)",
            f"{exponent}divided by the sum over all letters: {percent(cell.weight)}.",
            [weights],
        ),
        Step("Values, each times its share", f"({length},) × ({length}, {size})", "", weighed),
        Step(
            "Added up: what the head hands on",
            f"({size},)",
            f"This goes to '{shown[query]}', beside what the other heads found.",
            [numbers("z", cell.z, most)],
        ),
    ]


def _cell(inside: Inside, row: int) -> None:
    shown = inside.prompt.shown
    layer, head = head_on_view(inside)
    with card(f"How does head {layer + 1}.{head + 1} come to one look?", more=_CELL_MORE, key="card_cell"):
        column = within(KEY, len(shown), int(_pattern(inside)[row].argmax()))
        left, right = st.columns(2)
        with left:
            row = _choose("The letter that looks", QUERY, shown)
        with right:
            column = _choose("The letter looked at", KEY, shown)
        model, ids = inside.model, inside.prompt.ids
        cell = kept(
            model, ("cell", layer, head, row, column, *ids), lambda: arithmetic(model, ids, layer, head, row, column)
        )
        st.caption(sentence(cell_in_words(cell, shown, row, column)))
        steps = cell_steps(cell, shown, row, column)
        number_strips(steps, key="cell_steps")


def _choose(label: str, key: str, shown: list[str]) -> int:
    return st.selectbox(
        worded(label),
        range(len(shown)),
        st.session_state[key],
        key=key,
        format_func=lambda place: f"{place + 1}: '{shown[place]}'",
    )


def _patterns(inside: Inside) -> np.ndarray:
    model, ids = inside.model, inside.prompt.ids
    return kept(model, ("patterns", *ids), lambda: attention_patterns(model, ids))


def _pattern(inside: Inside) -> np.ndarray:
    """(T, T) of the head on view."""
    layer, head = head_on_view(inside)
    return _patterns(inside)[layer, head]


def _picture(inside: Inside, name: str) -> _Picture:
    layer, head = head_on_view(inside)
    patterns = _patterns(inside)
    if name == "Rollout":
        return _Picture(rollout(patterns, inside.config.residual)[layer], f"layer {layer + 1}", flow=True)
    if name == "This head":
        return _Picture(patterns[layer, head], f"head {layer + 1}.{head + 1}")
    how = "mean" if name.startswith("Mean") else "max"
    words = f"the {'mean' if how == 'mean' else 'maximum'} over all heads of layer {layer + 1}"
    return _Picture(over_heads(patterns, how)[layer], words)


def _plain(values: np.ndarray) -> list[float]:
    return [round(float(value), 5) for value in values]


def _n(value: float) -> str:
    return "0.00" if abs(value) < 0.005 else f"{value:.2f}".replace("-", "−")
