"""On which tokens does a neuron activate, and how does it change the logits?"""

import random
from functools import partial

import numpy as np
import streamlit as st

from core.formatting import decimal
from core.interpretability.activations import run_with_cache
from core.interpretability.neurons import TopActivation, logit_effects, top_activations
from core.text.batches import fixed_windows
from core.text.token_display import quoted, visible
from core.text.tokenizers import Tokenizer, token_texts
from explorer.charts.bars import neuron_bars
from explorer.components.text import MarkedRow, marked_text
from explorer.i18n.language import N_, _, ngettext
from explorer.look_inside.inspection import Inspection, select, within
from explorer.look_inside.run_text import affordable_windows, run_text
from explorer.services.shared import result_for
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, chart, current_palette, errors_shown, sentence

LAYER, NEURON = "neuron_layer", "neuron"
WINDOW = 64  # tokens
MAX_WINDOWS, MIN_WINDOWS = 2048, 48
_EXAMPLES = 8
_POINT = N_("Point at or tap a token to see the activation there.")
_NEURON = N_(
    "A **neuron** is one number in the hidden layer of an MLP, computed for every token. The ringed tokens have its "
    "largest activations; a darker shade is a larger one."
)
_LOGITS = N_(
    "An active neuron adds its direction to the residual stream. Here the output layer reads it directly; what later "
    "blocks make of it is left out."
)


def draw(inspection: Inspection) -> None:
    """Draw one neuron: the texts with its largest activations, its effect on the logits, and the prompt."""
    width = inspection.model.transformer.h[0].mlp.c_proj.in_features
    layers = inspection.config.n_layer
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="neuron_choices"):
        started = within(NEURON, width + 1, default=1)
        layer = select(
            _("Layer"), range(layers), key=LAYER, default=0, width=130,
            format_func=lambda layer: _("layer {layer}", layer=layer + 1),
        )  # fmt: skip
        label = _("Neuron, 1 to {count}", count=f"{width:,}")
        neuron = st.number_input(label, 1, width, started, key=NEURON, width=170) - 1
        drawn = {LAYER: random.randrange(layers), NEURON: random.randint(1, width)}
        choose_random = partial(st.session_state.update, drawn)
        st.button(_("Random neuron"), icon=":material/casino:", key="random_neuron", on_click=choose_random)
    left, right = st.columns([3, 2])
    with left:
        _examples_card(inspection, layer, neuron)
        _prompt_card(inspection, layer, neuron)
    with right:
        _logits_card(inspection, layer, neuron)


def _examples_card(inspection: Inspection, layer: int, neuron: int) -> None:
    note = _("Which tokens of the training text activate it most?")
    with card(_("Top activations"), note, more=_(_NEURON), key="card_neuron_texts"), errors_shown():
        with st.spinner(_("Reading the text ...")):
            length = min(WINDOW, inspection.model.block_size)
            count = affordable_windows(inspection, length, MIN_WINDOWS, MAX_WINDOWS)
            searched = fixed_windows(run_text(inspection).training, length, count)
        search = partial(top_activations, inspection.model, searched, layer, neuron, _EXAMPLES)
        doing = ngettext("Reading {count} window of the text", "Reading {count} windows of the text", len(searched))
        examples = result_of(("neuron", *inspection.key, layer, neuron), search, doing)
        if examples is None:
            return
        tokens = inspection.tokenizer.tokens
        at = [visible(tokens[int(searched[place.window, place.position])]) for place in examples]
        st.caption(sentence(activations_in_words(examples, at)))
        most = max([1e-6, *(place.value for place in examples)])
        rows = []
        for place in examples:
            ids, lead = searched[place.window, :-1].tolist(), decimal(place.value)
            rows.append(_row(inspection.tokenizer, ids, place.values, most, lead, place.position))
        marked_text(rows, note=_(_POINT), key="neuron_texts")


def activations_in_words(examples: list[TopActivation], shown: list[str]) -> str:
    """Return the largest activation, and whether the largest are on one token; `shown` has the token of each."""
    if not examples or examples[0].value <= 0:
        return _("No token in the texts read activates it: a dead neuron, or a very rare one.")
    most = max(dict.fromkeys(shown), key=shown.count)
    count = shown.count(most)
    values = {"value": decimal(examples[0].value), "token": shown[0], "all": len(shown)}
    if count * 2 <= len(shown):
        return ngettext(
            "Largest: {value} on '{token}'. The {all} largest activation is on different tokens.",
            "Largest: {value} on '{token}'. The {all} largest activations are on different tokens.",
            len(shown), **values,
        )  # fmt: skip
    values |= {"count": count, "other": most}
    return ngettext(
        "Largest: {value} on '{token}'. {count} of the {all} largest activation is on '{other}'.",
        "Largest: {value} on '{token}'. {count} of the {all} largest activations are on '{other}'.",
        len(shown), **values,
    )  # fmt: skip


def _prompt_card(inspection: Inspection, layer: int, neuron: int) -> None:
    ids, name = inspection.prompt.ids, f"blocks.{layer}.mlp.hook_post"
    with card(_("Activations on your prompt"), key="card_neuron_prompt"):
        model = inspection.model
        values = result_for(model, (name, *ids), lambda: run_with_cache(model, ids, [name])[name])[:, neuron]  # (T,)
        largest = int(values.argmax())
        words = _(
            "From {least} to {most}; largest on '{token}', token {number}.",
            least=decimal(float(values.min())), most=decimal(float(values.max())),
            token=inspection.prompt.shown[largest], number=largest + 1,
        )  # fmt: skip
        st.caption(sentence(words))
        row = _row(inspection.tokenizer, ids, values, max(1e-6, float(values.max())), "", largest)
        marked_text([row], note=_(_POINT), key="neuron_prompt")


def _logits_card(inspection: Inspection, layer: int, neuron: int) -> None:
    note = _("Which next tokens does it make more or less likely?")
    with card(_("Effect on the logits"), note, more=_(_LOGITS), key="card_neuron_logits"), errors_shown():
        model, tokens = inspection.model, inspection.tokenizer.tokens
        effect = result_for(model, ("logits", layer, neuron), lambda: logit_effects(model, layer, neuron))
        raised, lowered = (
            [(visible(tokens[id]), value) for id, value in side if sign * value > 0]
            for side, sign in ((effect.raised, 1), (effect.lowered, -1))
        )
        st.caption(sentence(logits_in_words(raised, lowered)))
        columns = {"token": list(map(visible, tokens)), "logit": effect.logits}
        figure, name = neuron_bars(raised, lowered, current_palette()), f"neuron-{layer + 1}-{neuron + 1}"
        chart(figure, key="neuron_logits", name=name, numbers=lambda: columns)


def logits_in_words(raised: list[tuple[str, float]], lowered: list[tuple[str, float]]) -> str:
    """Return the tokens whose logits a neuron raises and lowers most."""
    return _(
        "Its output raises the logits of {raised} and lowers those of {lowered}.",
        raised=", ".join(quoted(token) for token, _value in raised[:3]),
        lowered=", ".join(quoted(token) for token, _value in lowered[:3]),
    )


def _row(tokenizer: Tokenizer, ids: list[int], values: np.ndarray, most: float, lead: str, strong: int) -> MarkedRow:
    names = [quoted(visible(tokenizer.tokens[id])) for id in ids]
    words = [f"{name}: {decimal(float(value))}" for name, value in zip(names, values, strict=True)]
    return MarkedRow(token_texts(tokenizer, ids), np.maximum(0, values) / most, words, lead, strong)
