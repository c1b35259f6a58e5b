"""What excites a neuron, and what does it say?"""

import random

import numpy as np
import streamlit as st
from torch import Tensor

from core.errors import TextError
from core.formatting import decimal
from core.interpretability.activations import PartError, run_with_cache
from core.interpretability.neurons import Excitement, Writing, exciting_texts, neuron_writing
from core.model import parameter_count
from core.text.batches import fixed_windows
from core.text.token_display import quoted, visible
from core.text.tokenizers import Tokenizer, token_texts
from explorer.charts.neurons import writing_bars
from explorer.components.text import MarkedRow, marked_text
from explorer.i18n.language import _
from explorer.look_inside.run_text import training_ids
from explorer.look_inside.view import Inspection, select, within
from explorer.services.jobs import result_of
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette, literal, sentence, show_error

LAYER, NEURON = "neuron_layer", "neuron"
PIECE = 64  # tokens
MOST_PIECES, FEWEST_PIECES = 2048, 48
_WORK = 2e10  # parameters times tokens: some seconds
_TEXTS = 8


def draw(inspection: Inspection) -> None:
    """One neuron: the texts that excite it, the prompt as it sees it, and what it writes."""
    width = inspection.model.transformer.h[0].mlp.c_proj.in_features
    layers = inspection.config.n_layer
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        started = within(NEURON, width + 1, default=1)
        layer = select(
            _("Layer"), range(layers), key=LAYER, default=0, width=130,
            format_func=lambda layer: _("layer {layer}", layer=layer + 1),
        )  # fmt: skip
        label = _("Neuron, 1 to {count}", count=f"{width:,}")
        neuron = st.number_input(label, 1, width, started, key=NEURON, width=170) - 1
        st.button(
            _("Surprise me"), icon=":material/casino:", key="neuron_surprise", on_click=_surprise,
            args=(layers, width),
        )  # fmt: skip
    left, right = st.columns([3, 2])
    with left:
        _texts_card(inspection, layer, neuron)
    with right:
        _writing_card(inspection, layer, neuron)
    _prompt_card(inspection, layer, neuron)


def excitement_in_words(found: list[Excitement], shown: list[str]) -> str:
    """On which letters it fires most.

    Args:
        shown: the token at each of the places found.
    """
    if not found or found[0].value <= 0:
        return _("Nothing in the texts that were read excites it: a dead neuron, or a very rare one.")
    most = max(dict.fromkeys(shown), key=shown.count)
    times = shown.count(most)
    told = {"value": decimal(found[0].value), "letter": shown[0], "all": len(shown)}
    if times * 2 <= len(shown):
        return _(
            "Its strongest is {value}, on '{letter}'; the {all} strongest are on different letters, so it waits for "
            "more than one letter.",
            **told,
        )
    return _(
        "Its strongest is {value}, on '{letter}'; {count} of its {all} strongest are on '{other}'.",
        count=times, other=most, **told,
    )  # fmt: skip


def writing_in_words(raised: list[tuple[str, float]], lowered: list[tuple[str, float]]) -> str:
    """What it speaks for and against."""
    return _(
        "When it fires it speaks for {raised} and against {lowered}.",
        raised=", ".join(quoted(token) for token, _unused in raised[:3]),
        lowered=", ".join(quoted(token) for token, _unused in lowered[:3]),
    )


def _surprise(layers: int, width: int) -> None:
    st.session_state[LAYER], st.session_state[NEURON] = random.randrange(layers), random.randint(1, width)


def _texts_card(inspection: Inspection, layer: int, neuron: int) -> None:
    with card(
        _("What excites it?"),
        more=_(
            "A **neuron** is one number in the wide middle of a feed-forward layer, computed for every letter; where "
            "it is large, the neuron *fires*. These are the places in the training text at which this one fires most, "
            "with the letter ringed; a darker shade is a stronger activation. (Geva 2021: feed-forward layers as "
            "memories.)"
        ),
        key="card_neuron_texts",
    ):
        try:
            with st.spinner(_("Reading the text ...")):
                pieces = _pieces(inspection)
        except TextError as error:
            show_error(error)
            return
        found = result_of(
            ("neuron", *inspection.key, layer, neuron),
            lambda: exciting_texts(inspection.model, pieces, layer, neuron, _TEXTS),
            _("Reading {count} pieces of the text", count=f"{len(pieces):,}"),
        )
        if found is None:
            return
        tokens = inspection.tokenizer.tokens
        at = [visible(tokens[int(pieces[place.window, place.position])]) for place in found]
        st.caption(sentence(excitement_in_words(found, at)))
        most = max([1e-6, *(place.value for place in found)])
        rows = [
            _row(
                inspection.tokenizer,
                pieces[place.window, :-1].tolist(),
                place.values,
                most,
                decimal(place.value),
                place.position,
            )
            for place in found
        ]
        marked_text(rows, note=_("Point at a letter to see the neuron's activation there."), key="neuron_texts")


def _prompt_card(inspection: Inspection, layer: int, neuron: int) -> None:
    ids = inspection.prompt.ids
    name = f"blocks.{layer}.mlp.hook_post"
    with card(_("How does it see your prompt?"), key="card_neuron_prompt"):
        values = kept(inspection.model, (name, *ids), lambda: run_with_cache(inspection.model, ids, [name])[name])[
            :, neuron
        ]  # (T,)
        strongest = int(values.argmax())
        st.caption(
            sentence(
                _(
                    "Over your prompt it goes from {least} to {most}, the most at '{letter}', letter {number}.",
                    least=decimal(float(values.min())),
                    most=decimal(float(values.max())),
                    letter=inspection.prompt.shown[strongest],
                    number=strongest + 1,
                )
            )
        )
        marked_text(
            [_row(inspection.tokenizer, ids, values, max(1e-6, float(values.max())), "", strongest)],
            note=_("Point at a letter to see the neuron's activation there."),
            key="neuron_prompt",
        )


def _writing_card(inspection: Inspection, layer: int, neuron: int) -> None:
    with card(
        _("What does it say when it fires?"),
        more=_(
            "When a neuron fires it adds its own direction to the residual stream. Read straight by the last layer, "
            "that raises the logits of some letters and lowers those of others; what later blocks make of it is left "
            "out."
        ),
        key="card_neuron_writing",
    ):
        try:
            found = kept(
                inspection.model, ("writing", layer, neuron), lambda: neuron_writing(inspection.model, layer, neuron)
            )
        except PartError as error:
            st.info(literal(str(error)))
            return
        raised, lowered = _named(inspection, found)
        st.caption(sentence(writing_in_words(raised, lowered)))
        chart(
            writing_bars(raised, lowered, current_palette()),
            key="neuron_writing",
            numbers=lambda: {"token": [visible(token) for token in inspection.tokenizer.tokens], "logit": found.logits},
            name=f"neuron-{layer + 1}-{neuron + 1}",
        )


def _named(inspection: Inspection, found: Writing) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    tokens = inspection.tokenizer.tokens
    raised, lowered = (
        [(visible(tokens[id]), value) for id, value in side if sign * value > 0]
        for side, sign in ((found.raised, 1), (found.lowered, -1))
    )
    return raised, lowered


def _row(tokenizer: Tokenizer, ids: list[int], values: np.ndarray, most: float, lead: str, strong: int) -> MarkedRow:
    words = [
        f"{quoted(visible(tokenizer.tokens[id]))}: {decimal(float(value))}"
        for id, value in zip(ids, values, strict=True)
    ]
    return MarkedRow(token_texts(tokenizer, ids), np.maximum(0, values) / most, words, lead, strong)


def _pieces(inspection: Inspection) -> Tensor:
    length = min(PIECE, inspection.model.block_size)
    count = int(_WORK / (parameter_count(inspection.model) * length))
    return fixed_windows(training_ids(inspection), length, min(MOST_PIECES, max(FEWEST_PIECES, count)))
