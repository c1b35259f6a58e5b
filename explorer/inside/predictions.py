"""What comes next, and what was foreseen?"""

import numpy as np
import streamlit as st

from core.inspection.prediction import next_token_probabilities
from core.inspection.recording import run_with
from core.text.display import kind_of, visible
from explorer.charts.prediction import prediction_bars
from explorer.components.token_text import token_text
from explorer.inside import attribution, lens
from explorer.inside.moving import next_letters
from explorer.inside.view import Inside
from explorer.ui import card, chart, current_palette
from explorer.written import WrittenToken

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
            st.caption("Type at least two letters.")
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


def foreseen(inside: Inside, alternatives: int = 5) -> list[WrittenToken]:
    """Every token of the prompt but the first, with the probability it had and what else was likely there."""
    prompt = inside.prompt
    logits = run_with(inside.model, prompt.ids)[:-1].astype(np.float64)  # (T - 1, V)
    beliefs = np.exp(logits - logits.max(axis=1, keepdims=True))
    beliefs /= beliefs.sum(axis=1, keepdims=True)
    best = np.argsort(-beliefs, axis=1, kind="stable")[:, :alternatives]
    shown = [visible(token) for token in inside.tokenizer.tokens]
    return [
        {
            "text": token,
            "visible": shown[id],
            "p": float(belief[id]),
            "alternatives": [(shown[other], float(belief[other])) for other in others],
        }
        for token, id, belief, others in zip(prompt.tokens[1:], prompt.ids[1:], beliefs, best, strict=True)
    ]
