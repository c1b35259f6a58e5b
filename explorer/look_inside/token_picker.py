"""Choosing a token out of many: letters by their alphabet, word pieces by how likely they are."""

from collections.abc import Sequence

import numpy as np

from core.text.token_display import quoted, visible
from core.text.tokenizers import Tokenizer
from explorer.i18n.units import worded
from explorer.look_inside.view import select

MOST_OFFERED = 100  # a select of 50,257 tokens would be megabytes


def likeliest(logits: np.ndarray, count: int = MOST_OFFERED) -> list[int]:
    """The ids of the tokens with the highest logits (V,), best first."""
    return np.argsort(-logits, kind="stable")[:count].tolist()


def choose_token(
    label: str, key: str, offered: Sequence[int], tokenizer: Tokenizer, *, default: int, help: str | None = None
) -> int:
    """A select of tokens; what was chosen before stays only while it is still offered."""
    return select(
        worded(label), offered, key=key, default=default, help=help,
        format_func=lambda id: quoted(visible(tokenizer.tokens[id])),
    )  # fmt: skip
