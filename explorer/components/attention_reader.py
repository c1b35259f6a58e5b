"""One head, read letter by letter: arcs run from the letter that looks to those it looks at."""

from base64 import b64encode

import numpy as np

from explorer.charts.palette import both_palettes
from explorer.components.bundle import component

_reader = component("attention_reader", "attention/reader.js", "attention/reader.css")


def attention_reader(pattern: np.ndarray, tokens: list[str], *, row: int, key: str) -> None:
    """Draw a line of tokens whose looks can be read by pointing or with the arrow keys.

    Args:
        pattern: (T, T) uint8, 255 for all of a row's attention (`core.interpretability.attention.to_bytes`).
        tokens: T tokens as they are shown (`core.text.token_display.visible`).
        row: the token to begin with.
    """
    if pattern.dtype != np.uint8 or pattern.shape != (len(tokens), len(tokens)):
        raise ValueError(f"attention_reader wants uint8 (T, T) for {len(tokens)} tokens, not {pattern.shape}")
    _reader(
        key=key,
        data={
            "tokens": tokens,
            "bytes": b64encode(np.ascontiguousarray(pattern).tobytes()).decode("ascii"),
            "row": row,
            "palettes": both_palettes(),
        },
    )
