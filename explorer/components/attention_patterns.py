"""Attention of a finished model: arcs between tokens, all heads as heatmaps, and a weight calculated in steps."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from explorer.components.modules import Component
from explorer.i18n.language import _, in_units

_attention = Component("attention")
_MAX_NUMBERS = 4096  # of one strip


def attention_arcs(
    pattern: np.ndarray, tokens: list[str], *, row: int, key: str, flow: bool = False, name: str = "arcs"
) -> int | None:
    """Draw tokens with arcs of a uint8 pattern (T, T), 255 for all attention; return the position just clicked.

    `row` gets a frame; `flow`: the shares are attention rollout.
    """
    if flow:
        nobody = _("Hardly any other token contains some of it.")
        hint = _("Point at or tap a token: above, which tokens it contains; below, which contain it.")
    else:
        nobody = _("Hardly any other token attends to it.")
        hint = _("Point at or tap a token: above, where it attends; below, what attends to it.")
    words = {"nobody": in_units(nobody), "hint": in_units(hint)}
    data = {"tokens": tokens, "bytes": _base64(pattern, tokens), "row": row, "name": name, "flow": flow}
    clicked = _attention("arcs", data | words, key=key, triggers=["picked"]).picked
    return None if clicked is None else int(clicked)


def attention_board(
    patterns: np.ndarray, tokens: list[str], *, selected: tuple[int, int], key: str
) -> tuple[int, int] | None:
    """Draw uint8 patterns (L, H, T, T), 255 for all attention, on one canvas; return the head just clicked."""
    layers, heads = patterns.shape[:2]
    size = {"layers": layers, "heads": heads, "length": len(tokens)}
    data = {"tokens": tokens, "bytes": _base64(patterns, tokens), "selected": list(selected)}
    clicked = _attention("heatmaps", size | data, key=key, triggers=["head"]).head
    return (int(clicked[0]), int(clicked[1])) if clicked else None


def _base64(patterns: np.ndarray, tokens: list[str]) -> str:
    if patterns.dtype != np.uint8 or patterns.shape[-2:] != (len(tokens), len(tokens)):
        raise ValueError(
            f"attention wants uint8 patterns of {len(tokens)} x {len(tokens)} tokens, "
            f"not {patterns.dtype} {patterns.shape}"
        )
    return b64encode(patterns.tobytes()).decode("ascii")


@dataclass(frozen=True)
class Strip:
    """One row of numbers."""

    label: str
    values: list[float | None]  # None is minus infinity
    of: Literal["numbers", "tokens"]  # strips of the same kind light up together at the same place
    scale: Literal["signed", "share"]  # the colors
    most: float = 1.0  # the magnitude at which signed colors are strongest
    names: list[str] | None = None  # labels above the numbers
    marked: int | None = None  # the place that gets a frame

    @classmethod
    def of_numbers(cls, label: str, values: np.ndarray, most: float | None = None) -> "Strip":
        """Return a strip of a vector's first numbers; without `most`, colors are strongest at the largest magnitude."""
        most = float(np.abs(values).max() if most is None else most) or 1.0
        return cls(label, [round(float(value), 5) for value in values[:_MAX_NUMBERS]], "numbers", "signed", most)


@dataclass(frozen=True)
class StripStep:
    """One step: its title, the shape of its result, a sentence with the numbers in it, and the strips."""

    title: str
    shape: str
    says: str
    strips: Sequence[Strip] = ()


def number_strips(steps: Sequence[StripStep], *, key: str) -> None:
    """Draw the steps in order."""
    drawn = [asdict(step) | {"title": in_units(step.title), "says": in_units(step.says)} for step in steps]
    _attention("strips", {"steps": drawn}, key=key)
