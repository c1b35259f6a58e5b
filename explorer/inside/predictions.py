"""What comes next, and what was foreseen?"""

import streamlit as st

from core.inspection.losses import foresight
from core.inspection.prediction import next_token_probabilities
from core.text.display import kind_of, visible
from explorer.charts.prediction import prediction_bars
from explorer.components.token_text import token_text
from explorer.inside import attribution, lens
from explorer.inside.kept import kept
from explorer.inside.moving import next_letters
from explorer.inside.view import Inside
from explorer.ui import card, chart, current_palette
from explorer.units import worded
from explorer.written import WrittenToken, foreseen_tokens

MOST_GUESSES = 12


def draw(inside: Inside) -> None:
    """What comes next, how well each letter of the prompt was foreseen, and how the model comes to say so."""
    left, right = st.columns([4, 5])
    with left:
        if inside.clock:
            next_letters(inside.clock)
        else:
            next_card(inside, MOST_GUESSES)
    with right:
        foreseen_card(inside)
    lens.draw(inside)
    attribution.draw(inside)


def foreseen_card(inside: Inside) -> None:
    """How well each letter of the prompt itself was foreseen."""
    prompt = inside.prompt
    with card(
        "Did it see your prompt coming?",
        "Each letter is shaded by how likely the model held it, having read only what stands before it.",
        key="card_foreseen",
    ):
        if len(prompt.ids) < 2:
            st.caption(worded("Type at least two letters."))
            return
        token_text(
            prompt=prompt.tokens[0],
            go=f"{inside.key} {prompt.text}",
            tokens=foreseen(inside),
            key="foreseen",
        )


def next_card(inside: Inside, count: int) -> None:
    """The likeliest next tokens, as bars."""
    tokens = inside.tokenizer.tokens
    with card("What comes next?", "The model's belief about the letter after your prompt.", key="card_next"):
        shown, kinds = [visible(token) for token in tokens], [kind_of(token) for token in tokens]
        probabilities = next_token_probabilities(inside.model, inside.prompt.ids)
        chart(
            prediction_bars(probabilities, shown, kinds, current_palette(), count=count),
            key="next_token",
            numbers=lambda: {"token": shown, "probability": probabilities},
            name="next-token",
        )


def foreseen(inside: Inside) -> list[WrittenToken]:
    """Every token of the prompt but the first, with the probability it had and what else was likely there."""
    model, ids = inside.model, inside.prompt.ids
    found = kept(model, ("foreseen", *ids), lambda: foresight(model, ids))
    return foreseen_tokens(ids[1:], found, inside.tokenizer)
