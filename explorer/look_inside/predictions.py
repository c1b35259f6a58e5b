"""What comes next, and what was foreseen?"""

import numpy as np
import streamlit as st

from core.interpretability.residual_stream import next_token_probabilities
from core.interpretability.token_losses import foresight
from core.text.token_display import kind_of, visible
from core.text.tokenizers import token_texts
from explorer.charts.prediction import prediction_bars
from explorer.charts.text_format import percent
from explorer.components.text import token_text
from explorer.i18n.language import _
from explorer.look_inside import attribution, logit_lens
from explorer.look_inside.captions import next_in_words
from explorer.look_inside.time_machine_views import next_letters
from explorer.look_inside.view import Inspection
from explorer.services.generated_tokens import WrittenToken, foreseen_tokens
from explorer.services.results_cache import kept
from explorer.widgets.layout import card, chart, current_palette, sentence

MOST_GUESSES = 12


def draw(inspection: Inspection) -> None:
    """What comes next, how well each letter of the prompt was foreseen, and how the model comes to say so."""
    left, right = st.columns([4, 5])
    with left:
        if inspection.clock:
            next_letters(inspection.clock)
        else:
            next_card(inspection, MOST_GUESSES)
    with right:
        foreseen_card(inspection)
    logit_lens.draw(inspection)
    attribution.draw(inspection)


def foreseen_card(inspection: Inspection) -> None:
    """How well each letter of the prompt itself was foreseen."""
    prompt = inspection.prompt
    with card(
        _("Did it see your prompt coming?"),
        _("Each letter is shaded by how likely the model held it, having read only what stands before it."),
        key="card_foreseen",
    ):
        if len(prompt.ids) < 2:
            st.caption(sentence(_("Type at least two letters.")))
            return
        tokens = foreseen(inspection)
        st.caption(sentence(foreseen_in_words([token["p"] for token in tokens], prompt.shown[1:])))
        token_text(
            prompt=token_texts(inspection.tokenizer, prompt.ids)[0],
            go=f"{inspection.key} {prompt.text}",
            tokens=tokens,
            key="foreseen",
        )


def foreseen_in_words(probabilities: list[float], shown: list[str]) -> str:
    """How well the letters were foreseen, and which surprised most."""
    worst = int(np.argmin(probabilities))
    right = sum(p >= 0.5 for p in probabilities)
    return _(
        "It was more than half sure of {right} of {count}; '{letter}' surprised it most, with {share}.",
        right=right, count=len(shown), letter=shown[worst], share=percent(probabilities[worst]),
    )  # fmt: skip


def next_card(inspection: Inspection, count: int) -> None:
    """The likeliest next tokens, as bars."""
    tokens = inspection.tokenizer.tokens
    with card(_("What comes next?"), key="card_next"):
        shown, kinds = [visible(token) for token in tokens], [kind_of(token) for token in tokens]
        probabilities = next_token_probabilities(inspection.model, inspection.prompt.ids)
        best = np.argsort(-probabilities, kind="stable")[:2]
        st.caption(sentence(next_in_words([(shown[id], kinds[id], float(probabilities[id])) for id in best])))
        chart(
            prediction_bars(probabilities, shown, kinds, current_palette(), count=count),
            key="next_token",
            numbers=lambda: {"token": shown, "probability": probabilities},
            name="next-token",
        )


def foreseen(inspection: Inspection) -> list[WrittenToken]:
    """Every token of the prompt but the first, with the probability it had and what else was likely there."""
    model, ids = inspection.model, inspection.prompt.ids
    found = kept(model, ("foreseen", *ids), lambda: foresight(model, ids))
    return foreseen_tokens(ids, found, inspection.tokenizer)
