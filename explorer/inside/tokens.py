"""Choosing a token out of many: letters by their alphabet, word pieces by how likely they are."""

from collections.abc import Sequence

import numpy as np
import streamlit as st

from core.text.display import visible
from core.text.tokenizer import Tokenizer
from explorer.units import worded

MOST_OFFERED = 100  # a select of 50,257 tokens would be megabytes


def likeliest(logits: np.ndarray, count: int = MOST_OFFERED) -> list[int]:
    """The ids of the tokens with the highest logits (V,), best first."""
    return np.argsort(-logits, kind="stable")[:count].tolist()


def choose_token(
    label: str, key: str, offered: Sequence[int], tokenizer: Tokenizer, *, default: int, help: str | None = None
) -> int:
    """A select of tokens; what was chosen before stays only while it is still offered."""
    if st.session_state.get(key) not in offered:
        st.session_state[key] = default
    return st.selectbox(
        worded(label),
        offered,
        offered.index(st.session_state[key]),
        key=key,
        format_func=lambda id: f"'{visible(tokenizer.tokens[id])}'",
        help=help,
    )
