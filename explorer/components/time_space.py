"""A map of vectors that moves with the time machine: laid out for all moments at once, so that nothing jumps."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from explorer.components.bundle import component
from explorer.components.time_machine import Clock, view_data
from explorer.i18n.units import worded

_space = component("time_space", "time_machine/directions.js", "time_machine/views.css")


class TimeMachineMap(NamedTuple):
    """N points at S moments."""

    steps: list[int]  # S, rising
    xy: np.ndarray  # (S, N, 2), each from -1 to 1
    words: list[str]  # S sentences on what is seen
    axes: dict[str, list[tuple[float, str]]] | None = None  # "across" and "up": places with names, drawn as lines


def time_machine_directions(
    clock: Clock,
    moving: TimeMachineMap,
    tokens: Sequence[str],
    kinds: Sequence[str],
    *,
    key: str,
    name: str,
    height: int,
    trail: int = 5,
    chosen: int | None = None,
    near: Sequence[int] = (),
) -> int | None:
    """Draw the map at the moment on view, or the last that it has before. Returns a point just clicked.

    Args:
        tokens, kinds: of the N points, as they are shown.
        name: of the files that it is saved as.
        height: in pixels.
        trail: over how many moments before it is shown where each point came from.
        chosen: a point to mark, joined to those `near` it.
    """
    data: dict[str, Any] = {
        "tokens": list(tokens),
        "kinds": list(kinds),
        "steps": moving.steps,
        "xy": np.round(1000 * moving.xy).astype(int).tolist(),
        "words_of": list(map(worded, moving.words)),
        "axes": moving.axes,
        "chosen": chosen,
        "near": list(near),
        "height": height,
        "name": name,
        "trail": trail,
    }
    picked = _space(key=key, data=view_data(clock) | data, on_picked_change=lambda: None).picked
    return None if picked is None else int(picked)
