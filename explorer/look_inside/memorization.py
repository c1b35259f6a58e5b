"""Which parts of a generated text appear word for word in the training text?"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import streamlit as st

from core.interpretability import Progress
from core.interpretability.memorization import Matches, Span, copied_lengths, copied_spans, longest_matches
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.token_display import visible
from core.text.tokenizers import token_texts
from explorer.charts.text_format import percent
from explorer.components.text import MarkedRow, marked_text
from explorer.i18n.language import N_, _, ngettext
from explorer.look_inside.inspection import Inspection
from explorer.look_inside.run_text import run_text
from explorer.widgets import session
from explorer.widgets.job_progress import result_of
from explorer.widgets.layout import card, sentence

LENGTH, LENGTH_OF_LARGE = 400, 100  # generated tokens
CHANCE, CHANCE_TOKENS = 12, 4  # matches up to this many characters, or subword tokens, are due to chance
LONGEST = 40  # of the slider
AROUND = 24  # tokens shown around the place of a span
_HELP = N_(
    "A **span** stands word for word in the training text; the darker, the longer. Short ones, like *the king of*, "
    "mean nothing. From about twelve characters on, it is memorization."
)


Generated = tuple[list[int], Matches]  # a text, and its matches in the training text


def draw(inspection: Inspection) -> None:
    """Draw a generated text with the spans found in the training text."""
    by_character = inspection.tokenizer.by_character
    number = session.recall("copied_text", 0)
    with card(_("Memorization"), more=_(_HELP), key="card_copied"):
        with st.spinner(_("Reading the text ...")):
            source = run_text(inspection).training.numpy()
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            shortest = st.slider(
                _("Shortest span marked (tokens)"), 2, LONGEST, CHANCE if by_character else CHANCE_TOKENS,
                key=f"copied_shortest_{'letters' if by_character else 'tokens'}", width=420,
            )  # fmt: skip
            session.reseed_button(_("Generate another"), "copied_text", "copied_next")
        ids = inspection.prompt.ids
        search = partial(generate_and_search, inspection, ids, source, number)
        generated = result_of(("copied", *inspection.key, number, *ids), search, _("Generating, then searching"))
        if generated is None:
            return
        generated_ids, matches = generated
        spans, covered = copied_spans(matches, shortest), copied_lengths(matches, shortest)
        tokens = token_texts(inspection.tokenizer, generated_ids)
        st.caption(sentence(copied_in_words(covered, spans, list(map(visible, tokens)), shortest)))
        words = [""] * len(tokens)
        for span in sorted(spans, key=lambda span: span.length):
            words[span.start : span.start + span.length] = [_place(inspection, span, source)] * span.length
        marked_text(
            [MarkedRow(tokens, np.minimum(1, 0.15 + covered / (3 * CHANCE)) * (covered > 0), words)],
            note=_("Point at or tap a marked token to see its place in the training text."),
            breaks=True,
            key="copied",
        )


def generate_and_search(
    inspection: Inspection, prompt: list[int], source: np.ndarray, number: int
) -> Iterator[Progress[Generated | None]]:
    """Continue the prompt, then search all of the result in the training text `source`; `number` selects the seed."""
    total = LENGTH_OF_LARGE if inspection.large else LENGTH
    settings = GenerationConfig(max_new_tokens=total, temperature=0.8, seed=1337 + number)
    ids = []
    for token in generate(inspection.model, prompt, settings):
        ids.append(token.id)
        yield Progress(len(ids), total + 1, None)
    yield Progress(total + 1, total + 1, (ids, longest_matches(ids, source)))


def copied_in_words(covered: np.ndarray, spans: list[Span], shown: list[str], shortest: int) -> str:
    """Return how much of the text is in spans, and the longest span."""
    if not spans:
        return ngettext(
            "No span of {shortest} or more token stands in the training text ({count} generated).",
            "No span of {shortest} or more tokens stands in the training text ({count} generated).",
            shortest, shortest=shortest, count=f"{len(covered):,}",
        )  # fmt: skip
    longest = max(spans, key=lambda span: span.length)
    text = "".join(shown[longest.start : longest.start + longest.length])
    part = ngettext(
        "{share} of {count} token is in spans of at least {shortest} found word for word in the training text.",
        "{share} of {count} tokens are in spans of at least {shortest} found word for word in the training text.",
        len(covered), share=percent(float((covered > 0).mean())), shortest=shortest,
    )  # fmt: skip
    most = ngettext(
        "Longest span: {count} token, '{span}'.", "Longest span: {count} tokens, '{span}'.",
        longest.length, span=text[:80],
    )  # fmt: skip
    return f"{part} {most}"


def _place(inspection: Inspection, span: Span, source: np.ndarray) -> str:
    end = span.place + span.length
    parts = source[max(0, span.place - AROUND) : span.place], source[span.place : end], source[end : end + AROUND]
    before, itself, after = (inspection.tokenizer.decode(part.tolist()).replace("\n", " ⏎ ") for part in parts)
    return ngettext(
        "{count} token, {place} into the training text: …{before}“{itself}”{after}…",
        "{count} tokens, {place} into the training text: …{before}“{itself}”{after}…",
        span.length, place=percent(span.place / len(source)), before=before, itself=itself, after=after,
    )  # fmt: skip
