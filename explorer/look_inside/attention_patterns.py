"""Which tokens does each token attend to? Each head, all heads of a layer, and a prompt too long to draw."""

from functools import partial

import numpy as np
import streamlit as st

from core.formatting import head_name
from core.interpretability.attention import coarse_patterns, over_heads, rollout, to_bytes
from explorer.charts.csv_export import matrix_columns
from explorer.charts.heatmaps import attention_heatmap, coarse_heatmap, coarse_names
from explorer.charts.text_format import least_width_for, percent
from explorer.components.attention_patterns import attention_arcs, attention_board
from explorer.i18n.language import N_, _, ngettext
from explorer.look_inside import attention_weights, time_machine_views
from explorer.look_inside.attention_weights import KEY, QUERY, patterns_of
from explorer.look_inside.inspection import Inspection, choose_other, head_of, open_head, within
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, choose, current_palette, sentence

PICTURE = "inspect_over"
PICTURES = (N_("This head"), N_("Mean of its layer"), N_("Maximum of its layer"), N_("Rollout"))
MAX_SQUARES = 64  # in a row of the whole prompt
_FEW = 3  # fewest queries that make a meaningful mean
_PICTURES = N_(
    "**Mean** and **maximum** are over the layer's heads. **Rollout** (Abnar and Zuidema 2020) multiplies attention "
    "across layers: how much of each input token has reached each position, MLPs left out."
)
_LONG = N_(
    "One square stands for several adjacent tokens: the mean attention of its row's tokens to all of its column's "
    "together. The views below read the last tokens alone."
)


def draw(inspection: Inspection) -> None:
    """Draw the views that follow the training step, then attention arcs and one attention weight step by step."""
    _long_prompt_card(inspection)
    if other := choose_other(inspection.time_machine):
        time_machine_views.draw_second_run(inspection, other)
    else:
        time_machine_views.draw(inspection)
    _arcs_card(inspection)
    attention_weights.draw(inspection)


def _long_prompt_card(inspection: Inspection) -> None:
    typed = inspection.prompt.whole
    ids = typed[-inspection.model.block_size :]
    if len(ids) <= len(inspection.prompt.ids) or not inspection.config.causal:
        return
    size = -(-len(ids) // MAX_SQUARES)
    layer, head = head_of(inspection.model)
    title = _("Attention over the whole prompt, head {place}", place=head_name(layer, head))
    with card(title, _("Where does it attend in all of the prompt?"), more=_(_LONG), key="card_whole"):
        read = partial(coarse_patterns, inspection.model, ids, size)
        patterns = result_of(("whole", *inspection.key, *ids), read, _("Reading the whole prompt"))
        if patterns is None:
            return
        names, pattern = coarse_names(size, len(ids)), patterns[layer, head]
        st.caption(sentence(long_prompt_in_words(pattern, size, len(ids), len(typed))))
        left, right = st.columns(2)
        with left:
            picked = attention_board(to_bytes(patterns), names, selected=(layer, head), key="whole_board")
            if picked and picked != (layer, head):
                open_head(*picked)
        with right:
            columns = partial(matrix_columns, pattern, names, names, ("query", "key", "share"))
            figure = coarse_heatmap(pattern, size, len(ids), current_palette())
            chart(figure, key="whole_head", name=f"attention-{layer + 1}-{head + 1}-whole", numbers=columns)


def long_prompt_in_words(pattern: np.ndarray, size: int, length: int, typed: int) -> str:
    """Return how coarse the pattern is, and how much of the attention stays nearby."""
    near = float(np.mean([pattern[row, max(0, row - 1) : row + 1].sum() for row in range(1, len(pattern))]))
    counts = {"length": f"{length:,}", "size": size, "typed": f"{typed:,}"}
    read = ngettext(
        "All {length} token is read, {size} in a square.",
        "All {length} tokens are read, {size} in a square.",
        length, **counts,
    )  # fmt: skip
    if typed > length:
        read = ngettext(
            "The last {length} of your {typed} token is read, {size} in a square.",
            "The last {length} of your {typed} tokens are read, {size} in a square.",
            typed, **counts,
        )  # fmt: skip
    where = ngettext(
        "Attention on the own {size} token and the {size} before: {near}; on the first {size}: {first}.",
        "Attention on the own {size} tokens and the {size} before: {near}; on the first {size}: {first}.",
        size, size=size, near=percent(near), first=percent(float(pattern[1:, 0].mean())),
    )  # fmt: skip
    return f"{read} {where}"


def _arcs_card(inspection: Inspection) -> None:
    prompt = inspection.prompt
    row = within(QUERY, len(prompt.ids), len(prompt.ids) - 1)
    note = _("Which tokens attend to which? Click one to work out its attention below.")
    with card(_("Attention arcs"), note, more=_(_PICTURES), key="card_arcs"):
        name = choose(_("Picture"), PICTURES, key=PICTURE)
        pattern, words = _picture(inspection, name)
        flow, file = name == "Rollout", name.lower().replace(" ", "-")
        st.caption(sentence(picture_in_words(pattern, prompt.shown, words, flow)))
        picked = attention_arcs(to_bytes(pattern), prompt.shown, row=row, key="inspect_arcs", flow=flow, name=file)
        if picked is not None and picked != row:
            own_pattern = patterns_of(inspection)[head_of(inspection.model)]
            st.session_state[QUERY], st.session_state[KEY] = picked, int(own_pattern[picked].argmax())
            st.rerun()
        if name != PICTURES[0]:  # a single head is drawn as a heatmap above
            causal, width = inspection.config.causal, least_width_for(prompt.shown, len(prompt.ids)) or "stretch"
            figure = attention_heatmap(pattern, prompt.tokens, current_palette(), causal=causal, flow=flow)
            columns = partial(matrix_columns, pattern, prompt.shown, prompt.shown, ("query", "key", "share"))
            chart(figure, key="inspect_over_map", name=file, numbers=columns, width=width)


def _picture(inspection: Inspection, name: str) -> tuple[np.ndarray, str]:
    """Return a pattern (T, T) and its description, such as "head 1.2"."""
    layer, head = head_of(inspection.model)
    patterns = patterns_of(inspection)
    if name == "This head":
        return patterns[layer, head], _("head {head}", head=head_name(layer, head))
    if name == "Rollout":
        return rollout(patterns, inspection.config.residual)[layer], _("layer {layer}", layer=layer + 1)
    if name == "Maximum of its layer":
        words = _("the maximum over all heads of layer {number}", number=layer + 1)
        return over_heads(patterns, "max")[layer], words
    return over_heads(patterns, "mean")[layer], _("the mean over all heads of layer {number}", number=layer + 1)


def picture_in_words(pattern: np.ndarray, shown: list[str], words: str, flow: bool) -> str:
    """Return the token that others attend to most, averaged over those that can; for rollout, the last one's source."""
    length = len(shown)
    if length < 2:
        return _("A single token can only attend to itself. Type a longer prompt.")
    if flow:
        best = int(pattern[-1].argmax())
        back = length - 1 - best
        which = _("itself")
        if back:
            which = ngettext("'{token}', {count} token back", "'{token}', {count} tokens back", back, token=shown[best])
        return _(
            "After {picture}, the largest share at the last token '{token}' comes from {which}: {share}.",
            picture=words, token=shown[-1], which=which, share=percent(float(pattern[-1, best])),
        )  # fmt: skip
    others = ~np.eye(length, dtype=bool)
    queries = np.maximum((others & (pattern > 0)).sum(axis=0), 1)
    means = np.where(others, pattern, 0).sum(axis=0) / queries
    best = int(means[: max(1, length - _FEW)].argmax())
    return _(
        "In {picture}, other tokens attend most to '{token}' (token {number}): {share} on average.",
        picture=words, token=shown[best], number=best + 1, share=percent(float(means[best])),
    )  # fmt: skip
