"""Copied or composed?"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import streamlit as st

from core.errors import TextError
from core.interpretability import Progress
from core.interpretability.memorization import Matches, Span, copied_lengths, copied_spans, longest_matches
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import visible
from core.text.tokenizers import token_texts
from explorer.charts.text_format import percent
from explorer.components.text import MarkedRow, marked_text
from explorer.i18n.language import N_, _
from explorer.look_inside.run_text import training_ids
from explorer.look_inside.view import Inspection
from explorer.services.jobs import result_of
from explorer.widgets import address
from explorer.widgets.layout import card, sentence, show_error

LENGTH, FEWER = 400, 100  # tokens that are written; fewer by large models
CHANCE, CHANCE_PIECES = 12, 4  # up to so many letters, or pieces of words, agree by chance
LONGEST = 40  # of the slider
AROUND = 24  # tokens shown around the place a span stands at
_MORE = N_(
    "The model writes on from your prompt, and every stretch of it is looked up in the text that it was trained on. "
    "A **span** is a stretch that stands there word for word and cannot be made longer at either end; the darker, the "
    "longer. Short spans mean nothing: any English text shares *the king of* with Shakespeare. From about twelve "
    "characters on, chance ends and memory begins. A model that was trained for long on little text copies more."
)


class Written(NamedTuple):
    """A text and where it stands in the training text."""

    ids: list[int]
    matches: Matches


def draw(inspection: Inspection) -> None:
    """A text by the model, with the spans that it has from the training text."""
    by_letter = inspection.tokenizer.by_character
    unit = N_("letters") if by_letter else N_("tokens")
    turned = address.recall("copied_text", 0)
    with card(_("Copied or composed?"), more=_(_MORE), key="card_copied"):
        try:
            with st.spinner(_("Reading the text ...")):
                source = training_ids(inspection).numpy()
        except TextError as error:
            show_error(error)
            return
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            shortest = st.slider(
                _("Mark spans of at least so many {unit}", unit=_(unit)), 2, LONGEST,
                CHANCE if by_letter else CHANCE_PIECES, key=f"copied_shortest_{unit}", width=420,
            )  # fmt: skip
            st.button(
                _("Write another"),
                icon=":material/casino:",
                key="copied_next",
                on_click=lambda: address.remember("copied_text", turned + 1),
            )
        ids = inspection.prompt.ids
        written = result_of(
            ("copied", *inspection.key, turned, *ids),
            lambda: compare(inspection, ids, source, turned),
            _("Writing, then searching"),
        )
        if written is None:
            return
        spans = copied_spans(written.matches, shortest)
        tokens = token_texts(inspection.tokenizer, written.ids)
        shown = [visible(token) for token in tokens]
        covered = copied_lengths(written.matches, shortest)
        st.caption(sentence(copied_in_words(covered, spans, shown, shortest, unit)))
        words = [""] * len(written.ids)
        for span in sorted(spans, key=lambda span: span.length):
            words[span.start : span.start + span.length] = [_place(inspection, span, source, unit)] * span.length
        marked_text(
            [MarkedRow(tokens, np.minimum(1, 0.15 + covered / (3 * CHANCE)) * (covered > 0), words)],
            note=_("Point at a marked letter to see where in the training text it stands."),
            breaks=True,
            key="copied",
        )


def compare(
    inspection: Inspection, prompt: list[int], source: np.ndarray, turned: int
) -> Iterator[Progress[Written | None]]:
    """Write on from the prompt, then look all of it up."""
    total = FEWER if inspection.large else LENGTH
    settings = GenerationConfig(max_new_tokens=total, temperature=0.8, seed=1337 + turned)
    ids = []
    for token in generate(inspection.model, prompt, settings):
        ids.append(token.id)
        yield Progress(len(ids), total + 1, None)
    yield Progress(total + 1, total + 1, Written(ids, longest_matches(ids, source)))


def copied_in_words(covered: np.ndarray, spans: list[Span], shown: list[str], shortest: int, unit: str) -> str:
    """How much of it is copied, and the longest span."""
    told = {"count": f"{len(covered):,}", "unit": _(unit), "shortest": shortest}
    if not spans:
        return _(
            "Composed: of its {count} {unit} no stretch of {shortest} or more stands in the training text.", **told
        )
    longest = max(spans, key=lambda span: span.length)
    said = "".join(shown[longest.start : longest.start + longest.length])
    return _(
        "Of its {count} {unit} {share} stand in spans of at least {shortest} that it has word for word from the "
        "training text; the longest has {longest}: '{span}'.",
        share=percent(float((covered > 0).mean())), longest=longest.length, span=said[:80], **told,
    )  # fmt: skip


def _place(inspection: Inspection, span: Span, source: np.ndarray, unit: str) -> str:
    """Where a span stands in the training text, with what is around it there."""
    end = span.place + span.length
    before, itself, after = (
        inspection.tokenizer.decode(part.tolist()).replace("\n", " ⏎ ")
        for part in (
            source[max(0, span.place - AROUND) : span.place],
            source[span.place : end],
            source[end : end + AROUND],
        )
    )
    place = percent(span.place / len(source))
    return _(
        "{count} {unit}, {place} into the training text: …{before}“{itself}”{after}…",
        count=span.length, unit=_(unit), place=place, before=before, itself=itself, after=after,
    )  # fmt: skip
