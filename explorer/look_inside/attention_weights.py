"""Who looks at whom, and how does one look come about?"""

from typing import NamedTuple

import numpy as np
import streamlit as st

from core.interpretability.attention import attention_patterns, over_heads, rollout, to_bytes
from core.interpretability.attention_steps import arithmetic
from core.text.token_display import quoted
from explorer.charts.attention import attention_heatmap
from explorer.charts.csv_export import Columns, matrix_columns
from explorer.charts.text_format import percent, room_for
from explorer.components.attention_arcs import attention_arcs
from explorer.components.number_strips import number_strips
from explorer.i18n.language import later, say
from explorer.i18n.units import worded
from explorer.look_inside.attention_steps import cell_in_words, cell_steps
from explorer.look_inside.view import Inside, head_on_view, select, within
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette, sentence

PICTURE, QUERY, KEY = "inspect_over", "cell_query", "cell_key"
PICTURES = (later("This head"), later("Mean of its layer"), later("Maximum of its layer"), later("Rollout"))
_FEW = 3  # looks at a letter, at least, to speak of an average
_PICTURES_MORE = later(
    "**This head** is the one chosen above. The **mean** over all heads of its layer tells where the layer looks on "
    "the whole, the **maximum** where at least one of its heads does. **Rollout** (Abnar and Zuidema 2020) follows "
    "attention from layer to layer: how much of each first letter has flowed into each place by then, if half of what "
    "arrives had come along the residual stream and feed-forward did nothing."
)
_CELL_MORE = later(
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
    with card(say("Who looks at whom?"), more=say(_PICTURES_MORE), key="card_arcs"):
        name = st.segmented_control(
            say("Picture"), PICTURES, default=PICTURES[0], required=True, key=PICTURE, format_func=say,
            label_visibility="collapsed",
        )  # fmt: skip
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
        return say("A single letter can only look at itself. Type more to see more.")
    if flow:
        best = int(pattern[-1].argmax())
        back = length - 1 - best
        which = say("'{letter}', {count} back", letter=shown[best], count=back) if back else say("itself")
        return say(
            "After {picture}, the last letter '{letter}' holds most of {which}: {share}.",
            picture=words, letter=shown[-1], which=which, share=percent(float(pattern[-1, best])),
        )  # fmt: skip
    others = ~np.eye(length, dtype=bool)
    seeing = np.maximum((others & (pattern > 0)).sum(axis=0), 1)
    means = np.where(others, pattern, 0).sum(axis=0) / seeing
    often = max(1, length - _FEW)
    best = int(means[:often].argmax())
    return say(
        "In {picture}, others look most at '{letter}' (letter {number}): on average with {share} of their attention.",
        picture=words, letter=shown[best], number=best + 1, share=percent(float(means[best])),
    )  # fmt: skip


def _cell(inside: Inside, row: int) -> None:
    shown = inside.prompt.shown
    layer, head = head_on_view(inside)
    title = say("How does head {place} come to one look?", place=f"{layer + 1}.{head + 1}")
    with card(title, more=say(_CELL_MORE), key="card_cell"):
        column = within(KEY, len(shown), int(_pattern(inside)[row].argmax()))
        left, right = st.columns(2)
        with left:
            row = _choose(say("The letter that looks"), QUERY, shown)
        with right:
            column = _choose(say("The letter looked at"), KEY, shown)
        model, ids = inside.model, inside.prompt.ids
        cell = kept(
            model, ("cell", layer, head, row, column, *ids), lambda: arithmetic(model, ids, layer, head, row, column)
        )
        st.caption(sentence(cell_in_words(cell, shown, row, column)))
        steps = cell_steps(cell, shown, row, column)
        number_strips(steps, key="cell_steps")


def _choose(label: str, key: str, shown: list[str]) -> int:
    return select(
        worded(label),
        range(len(shown)),
        key=key,
        default=0,
        format_func=lambda place: f"{place + 1}: {quoted(shown[place])}",
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
        return _Picture(
            rollout(patterns, inside.config.residual)[layer], say("layer {layer}", layer=layer + 1), flow=True
        )
    if name == "This head":
        return _Picture(patterns[layer, head], say("head {head}", head=f"{layer + 1}.{head + 1}"))
    how = "mean" if name.startswith("Mean") else "max"
    words = {
        "mean": later("the mean over all heads of layer {number}"),
        "max": later("the maximum over all heads of layer {number}"),
    }
    return _Picture(over_heads(patterns, how)[layer], say(words[how], number=layer + 1))
