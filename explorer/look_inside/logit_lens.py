"""What would it say after each block?"""

import streamlit as st

from core.interpretability.logit_lens import Lens, logit_lens
from core.model import GPT
from core.text.token_display import visible
from explorer.charts.csv_export import Columns
from explorer.charts.logit_lens import lens_heatmap, stage_words
from explorer.charts.text_format import percent, room_for
from explorer.i18n.language import N_, _
from explorer.look_inside import time_machine_views
from explorer.look_inside.view import Inspection
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette, sentence

_MORE = N_(
    "The **logit lens** (nostalgebraist 2020): the model is stopped after each block, and what it has so far goes "
    "straight to the last layer, as if the blocks above had nothing to add. A column is a letter that the model reads, "
    "a row is how far it has come, and the cell holds what it would say next, darker for surer. The orange ring marks "
    "from where on its final answer leads and stays."
)


def draw(inspection: Inspection) -> None:
    """The lens over the whole prompt. A bigram has no blocks to stop after."""
    if not isinstance(inspection.model, GPT):
        return
    if inspection.clock:
        time_machine_views.lens(inspection.clock)
        return
    ids = inspection.prompt.ids
    lens = kept(inspection.model, ("lens", *ids), lambda: logit_lens(inspection.model, ids))
    shown = [[[visible(inspection.tokenizer.tokens[id]) for id in cell] for cell in row] for row in lens.ids.tolist()]
    read = inspection.prompt.shown
    written = [*read, *(cell[0] for row in shown for cell in row)]
    with card(_("What would it say after each block?"), more=_(_MORE), key="card_lens"):
        st.caption(sentence(lens_in_words(lens, shown, read)))
        chart(
            lens_heatmap(shown, lens.probabilities, lens.settled, read, current_palette()),
            key="lens",
            numbers=lambda: lens_columns(lens, shown, read),
            name="logit-lens",
            width=room_for(written, len(read)) or "stretch",
        )


def lens_in_words(lens: Lens, shown: list[list[list[str]]], read: list[str]) -> str:
    """Since when the answer after the last token leads, in one sentence; and how many were settled without a block."""
    last = len(read) - 1
    stage, answer = int(lens.settled[last]), shown[-1][last][0]
    names = stage_words(len(shown))
    told = {
        "letter": read[last],
        "answer": answer,
        "share": percent(float(lens.probabilities[-1, last, 0])),
        "count": len(read),
        "early": int((lens.settled < len(shown) - 1).sum()),
    }
    if not stage:
        return _(
            "After '{letter}' its answer '{answer}' ({share}) leads from the embedding on, before any block; of all "
            "{count} answers here {early} stood before the last block.",
            **told,
        )
    return _(
        "After '{letter}' its answer '{answer}' ({share}) leads from {stage} on (just before that it would have been "
        "'{before}'); of all {count} answers here {early} stood before the last block.",
        stage=names[stage], before=shown[stage - 1][last][0], **told,
    )  # fmt: skip


def lens_columns(lens: Lens, shown: list[list[list[str]]], read: list[str]) -> Columns:
    """A line for each stage and place."""
    stages, length, _unused = lens.probabilities.shape
    places = [(stage, place) for stage in range(stages) for place in range(length)]
    names = stage_words(stages)
    return {
        "stage": [names[stage] for stage, _unused in places],
        "place": [place + 1 for _unused, place in places],
        "read": [read[place] for _unused, place in places],
        "says": [shown[stage][place][0] for stage, place in places],
        "probability": [lens.probabilities[stage, place, 0] for stage, place in places],
        "probability of the final answer": [lens.answer_probability[stage, place] for stage, place in places],
        "settled": [int(stage >= lens.settled[place]) for stage, place in places],
    }
