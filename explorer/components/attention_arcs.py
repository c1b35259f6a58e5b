"""Attention between the tokens of a line as arcs: where each looks, and who looks at it."""

from base64 import b64encode

import numpy as np

from explorer.charts.palette import both_palettes
from explorer.components._assets import component

_arcs = component(
    "attention_arcs",
    js=["mount.js", "tokens.js", "attention_arcs.js"],
    css=["tokens.css", "attention_arcs.css"],
)


def attention_arcs(
    pattern: np.ndarray,
    tokens: list[str],
    *,
    row: int,
    key: str,
    verb: str = "looks at",
    nobody: str = "Hardly anyone looks at it.",
) -> int | None:
    """Draw a line of tokens with arcs for the one pointed at; returns the place of a token clicked just now.

    Args:
        pattern: (T, T) uint8, 255 for all of a row's attention (`core.inspection.attention.to_bytes`).
        tokens: T tokens as they are shown (`core.text.display.visible`).
        row: the token that is picked, marked by a frame.
        verb: what a token does to those above it.
        nobody: a sentence for a token that no other does it to.
    """
    if pattern.dtype != np.uint8 or pattern.shape != (len(tokens), len(tokens)):
        raise ValueError(f"attention_arcs wants uint8 (T, T) for {len(tokens)} tokens, not {pattern.shape}")
    clicked = _arcs(
        key=key,
        data={
            "tokens": tokens,
            "bytes": b64encode(np.ascontiguousarray(pattern).tobytes()).decode("ascii"),
            "row": row,
            "verb": verb,
            "nobody": nobody,
            "palettes": both_palettes(),
        },
        on_picked_change=lambda: None,
    ).picked
    return None if clicked is None else int(clicked)
