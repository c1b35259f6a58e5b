"""All heads of all layers as small heatmaps; a click picks one."""

from base64 import b64encode
from collections.abc import Collection

import numpy as np

from explorer.charts.palette import both_palettes
from explorer.components.bundle import component

_board = component("attention_board", "attention/board.js", "attention/board.css")


def attention_board(
    patterns: np.ndarray,
    tokens: list[str],
    *,
    selected: tuple[int, int] | None = None,
    key: str,
    switched_off: Collection[tuple[int, int]] = (),
) -> tuple[int, int] | None:
    """Draw every head's pattern on one canvas and return the head clicked just now, as (layer, head) from 0.

    Args:
        patterns: (L, H, T, T) uint8, 255 for all of a row's attention (`core.interpretability.attention.to_bytes`).
        tokens: T tokens as they are shown (`core.text.token_display.visible`).
        selected: the head to mark.
        key: as of any widget.
        switched_off: heads drawn faint, with the word "off".
    """
    layers, heads, length, _ = patterns.shape
    if patterns.dtype != np.uint8 or patterns.shape[3] != length or len(tokens) != length:
        raise ValueError(
            f"attention_board wants uint8 (L, H, T, T) and T tokens, not {patterns.dtype} {patterns.shape} "
            f"and {len(tokens)} tokens"
        )
    clicked = _board(
        key=key,
        data={
            "layers": layers,
            "heads": heads,
            "length": length,
            "tokens": list(tokens),
            "bytes": b64encode(np.ascontiguousarray(patterns).tobytes()).decode("ascii"),
            "selected": list(selected) if selected else None,
            "off": [list(place) for place in switched_off],
            "palettes": both_palettes(),
        },
        on_head_change=_nothing,
    ).head
    return (int(clicked[0]), int(clicked[1])) if clicked else None


def _nothing() -> None:
    """Streamlit reports a value only for events that have a callback."""
