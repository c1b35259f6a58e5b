"""Choosing a token out of many: letters by their alphabet, word pieces by how likely they are."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.text.token_display import quoted, visible
from core.text.tokenizers import Tokenizer
from explorer.i18n.units import worded
from explorer.look_inside.view import select
from explorer.widgets import address

MOST_OFFERED = 100  # a select of 50,257 tokens would be megabytes


def likeliest(logits: np.ndarray, count: int = MOST_OFFERED) -> list[int]:
    """The ids of the tokens with the highest logits (V,), best first."""
    return np.argsort(-logits, kind="stable")[:count].tolist()


def names_of(tokenizer: Tokenizer, offered: Sequence[int]) -> dict[int, str]:
    """Return how each offered token is named in a select: in quotes, with its id where another one looks the same."""
    quotes = [quoted(visible(tokenizer.tokens[id])) for id in offered]
    counts = Counter(quotes)
    return {id: f"{name} · {id}" if counts[name] > 1 else name for id, name in zip(offered, quotes, strict=True)}


def choose_token(
    label: str, key: str, offered: Sequence[int], tokenizer: Tokenizer, *, default: int, prompt: Sequence[int]
) -> int:
    """Draw a select of tokens and return the id chosen.

    A choice is kept while it is offered and the prompt stays the same. Where nothing but the default was chosen, the
    select follows the default, which changes with the prompt and the training step.
    """
    shown_for, last_default = address.recall(f"{key}_for", (None, None))
    if shown_for != tuple(prompt) or address.recall(key) == last_default == st.session_state.get(key):
        address.remember(key, None)
        st.session_state.pop(key, None)
    address.remember(f"{key}_for", (tuple(prompt), default))
    names = names_of(tokenizer, offered)
    return select(worded(label), offered, key=key, default=default, format_func=names.__getitem__)
