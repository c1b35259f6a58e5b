"""Attention between the tokens of a line as arcs: where each looks, and who looks at it."""

from base64 import b64encode

import numpy as np

from explorer.charts.palette import both_palettes
from explorer.components.bundle import component
from explorer.i18n.language import N_, _
from explorer.i18n.units import worded

_arcs = component("attention_arcs", "attention/arcs.js", "attention/arcs.css")

_LOOKS = {
    "nobody": N_("Hardly any other looks at it."),
    "hint": N_("Point at a letter: above, where it looks; below, who looks at it."),
}
_FLOWS = {
    "nobody": N_("Hardly any other holds some of it."),
    "hint": N_("Point at a letter: above, whose share it holds; below, who holds a share of it."),
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
    """Draw a line of tokens with arcs for the one pointed at; returns the place of a token clicked just now.

    Args:
        pattern: (T, T) uint8, 255 for all of a row's attention (`core.interpretability.attention.to_bytes`).
        tokens: T tokens as they are shown (`core.text.token_display.visible`).
        row: the token that is picked, marked by a frame.
        flow: shares are of what has flowed from one token into another, and are told so.
        name: of the files that it is saved as.
    """
    if pattern.dtype != np.uint8 or pattern.shape != (len(tokens), len(tokens)):
        raise ValueError(f"attention_arcs wants uint8 (T, T) for {len(tokens)} tokens, not {pattern.shape}")
    clicked = _arcs(
        key=key,
        data={
            "tokens": tokens,
            "bytes": b64encode(np.ascontiguousarray(pattern).tobytes()).decode("ascii"),
            "row": row,
            "name": name,
            "flow": flow,
            **{word: worded(_(text)) for word, text in (_FLOWS if flow else _LOOKS).items()},
            "palettes": both_palettes(),
        },
        on_picked_change=lambda: None,
    ).picked
    return None if clicked is None else int(clicked)
