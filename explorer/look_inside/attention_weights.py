"""Who looks at whom, and how does one look come about?"""

from typing import NamedTuple

import numpy as np
import streamlit as st

from core.interpretability.attention import arithmetic, attention_patterns, over_heads, rollout, to_bytes
from core.text.token_display import quoted
from explorer.charts.attention import attention_heatmap
from explorer.charts.csv_export import Columns, matrix_columns
from explorer.charts.text_format import percent, room_for
from explorer.components.attention import attention_arcs
from explorer.components.number_strips import number_strips
from explorer.i18n.language import N_, _
from explorer.i18n.units import worded
from explorer.look_inside.attention_steps import cell_in_words, cell_steps
from explorer.look_inside.view import Inspection, head_on_view, select, within
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette, sentence

PICTURE, QUERY, KEY = "inspect_over", "cell_query", "cell_key"
PICTURES = (N_("This head"), N_("Mean of its layer"), N_("Maximum of its layer"), N_("Rollout"))
_FEW = 3  # looks at a letter, at least, to speak of an average
_PICTURES_MORE = N_(
    "**This head** is the one chosen above. The **mean** over all heads of its layer tells where the layer looks on "
    "the whole, the **maximum** where at least one of its heads does. **Rollout** (Abnar and Zuidema 2020) follows "
    "attention from layer to layer: how much of each first letter has flowed into each place by then, if half of what "
    "arrives had come along the residual stream and feed-forward did nothing."
)
_CELL_MORE = N_(
    "The arithmetic of one square of the pattern, in the order of the lecture: `wei = q @ k.T * scale`, mask, "
    "`softmax`, `wei @ v`. All numbers are this model's own, for this prompt. Numbers in one column belong together: "
    "point at one. Letters are counted from 1."
)


class _Picture(NamedTuple):
    pattern: np.ndarray  # (T, T)
    words: str  # "head 1.2"
    flow: bool = False  # whether it tells what has flowed, not who looks


def draw(inspection: Inspection) -> None:
    """The arcs between all letters, and below them one cell worked out."""
    prompt = inspection.prompt
    last = len(prompt.ids) - 1
    row = within(QUERY, last + 1, last)
    with card(_("Who looks at whom?"), more=_(_PICTURES_MORE), key="card_arcs"):
        name = st.segmented_control(
            _("Picture"), PICTURES, default=PICTURES[0], required=True, key=PICTURE, format_func=_,
            label_visibility="collapsed",
        )  # fmt: skip
        picture = _picture(inspection, name)
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
            st.session_state[QUERY], st.session_state[KEY] = picked, int(_pattern(inspection)[picked].argmax())
            st.rerun()
        if name != PICTURES[0]:
            _as_map(inspection, picture, name)
    _cell(inspection, row)


def _as_map(inspection: Inspection, picture: _Picture, name: str) -> None:
    """The same as a square of cells, where the page does not show it above."""
    prompt = inspection.prompt

    def numbers() -> Columns:
        return matrix_columns(picture.pattern, prompt.shown, prompt.shown, ("looking", "looked at", "share"))

    figure = attention_heatmap(
        picture.pattern, prompt.tokens, current_palette(), causal=inspection.config.causal, flow=picture.flow
    )
    width = room_for(prompt.shown, len(prompt.ids)) or "stretch"
    chart(figure, key="inspect_over_map", numbers=numbers, name=_file(name), width=width)


def _file(name: str) -> str:
    return name.lower().replace(" ", "-")


def picture_in_words(pattern: np.ndarray, shown: list[str], words: str, flow: bool) -> str:
    """Which letter the others look at most, on average over those that could; or what the last letter holds most of."""
    length = len(shown)
    if length < 2:
        return _("A single letter can only look at itself. Type more to see more.")
    if flow:
        best = int(pattern[-1].argmax())
        back = length - 1 - best
        which = _("'{letter}', {count} back", letter=shown[best], count=back) if back else _("itself")
        return _(
            "After {picture}, the last letter '{letter}' holds most of {which}: {share}.",
            picture=words, letter=shown[-1], which=which, share=percent(float(pattern[-1, best])),
        )  # fmt: skip
    others = ~np.eye(length, dtype=bool)
    seeing = np.maximum((others & (pattern > 0)).sum(axis=0), 1)
    means = np.where(others, pattern, 0).sum(axis=0) / seeing
    often = max(1, length - _FEW)
    best = int(means[:often].argmax())
    return _(
        "In {picture}, others look most at '{letter}' (letter {number}): on average with {share} of their attention.",
        picture=words, letter=shown[best], number=best + 1, share=percent(float(means[best])),
    )  # fmt: skip


def _cell(inspection: Inspection, row: int) -> None:
    shown = inspection.prompt.shown
    layer, head = head_on_view(inspection)
    title = _("How does head {place} come to one look?", place=f"{layer + 1}.{head + 1}")
    with card(title, more=_(_CELL_MORE), key="card_cell"):
        column = within(KEY, len(shown), int(_pattern(inspection)[row].argmax()))
        left, right = st.columns(2)
        with left:
            row = _choose(_("The letter that looks"), QUERY, shown)
        with right:
            column = _choose(_("The letter looked at"), KEY, shown)
        model, ids = inspection.model, inspection.prompt.ids
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


def _patterns(inspection: Inspection) -> np.ndarray:
    model, ids = inspection.model, inspection.prompt.ids
    return kept(model, ("patterns", *ids), lambda: attention_patterns(model, ids))


def _pattern(inspection: Inspection) -> np.ndarray:
    """(T, T) of the head on view."""
    layer, head = head_on_view(inspection)
    return _patterns(inspection)[layer, head]


def _picture(inspection: Inspection, name: str) -> _Picture:
    layer, head = head_on_view(inspection)
    patterns = _patterns(inspection)
    if name == "Rollout":
        return _Picture(
            rollout(patterns, inspection.config.residual)[layer], _("layer {layer}", layer=layer + 1), flow=True
        )
    if name == "This head":
        return _Picture(patterns[layer, head], _("head {head}", head=f"{layer + 1}.{head + 1}"))
    how = "mean" if name.startswith("Mean") else "max"
    words = {
        "mean": N_("the mean over all heads of layer {number}"),
        "max": N_("the maximum over all heads of layer {number}"),
    }
    return _Picture(over_heads(patterns, how)[layer], _(words[how], number=layer + 1))
