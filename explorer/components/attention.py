"""Attention of a finished model: arcs between tokens, and all heads as heatmaps."""

from base64 import b64encode
from collections.abc import Collection

import numpy as np

from explorer.components.bundle import component
from explorer.i18n.language import N_, _
from explorer.i18n.units import worded

_attention = component("attention")

_LOOKS = {
    "nobody": N_("Hardly any other token attends to it."),
    "hint": N_("Point at a token: above, where it attends; below, what attends to it."),
}
_FLOWS = {
    "nobody": N_("Hardly any other token contains some of it."),
    "hint": N_("Point at a token: above, which tokens it contains; below, which contain it."),
}


def attention_arcs(
    pattern: np.ndarray,
    tokens: list[str],
    *,
    row: int,
    key: str,
    flow: bool = False,
    name: str = "arcs",
) -> int | None:
    """Draw a line of tokens with arcs for the one pointed at; return the position of a token clicked just now.

    Args:
        pattern: (T, T) uint8, 255 for all of a row's attention (`core.interpretability.attention.to_bytes`).
        tokens: T tokens as they are shown (`core.text.token_display.visible`).
        row: the selected token, marked by a frame.
        flow: whether shares are of what has flowed from one token into another.
        name: of the files that it is saved as.
    """
    data = {
        "tokens": tokens,
        "bytes": _base64(pattern, tokens),
        "row": row,
        "name": name,
        "flow": flow,
        **{word: worded(_(text)) for word, text in (_FLOWS if flow else _LOOKS).items()},
    }
    clicked = _attention("arcs", data, key=key, triggers=["picked"]).picked
    return None if clicked is None else int(clicked)


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
        switched_off: heads drawn faint, with the word "off".
    """
    layers, heads, length, _ = patterns.shape
    data = {
        "layers": layers,
        "heads": heads,
        "length": length,
        "tokens": list(tokens),
        "bytes": _base64(patterns, tokens),
        "selected": list(selected) if selected else None,
        "off": [list(place) for place in switched_off],
    }
    clicked = _attention("heatmaps", data, key=key, triggers=["head"]).head
    return (int(clicked[0]), int(clicked[1])) if clicked else None


def _base64(patterns: np.ndarray, tokens: list[str]) -> str:
    if patterns.dtype != np.uint8 or patterns.shape[-2:] != (len(tokens), len(tokens)):
        raise ValueError(
            f"attention wants uint8 patterns of {len(tokens)} x {len(tokens)} tokens, "
            f"not {patterns.dtype} {patterns.shape}"
        )
    return b64encode(np.ascontiguousarray(patterns).tobytes()).decode("ascii")
