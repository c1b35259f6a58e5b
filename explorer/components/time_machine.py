"""The time machine: a bar that chooses a moment of a training, and the views that move with it, without reruns.

All components of one side of the page share a clock in the browser (`assets/components/time_machine/clock.js`), which
fetches frames (`explorer.look_inside.frames`) ahead. A page has one side, "a", and "b" where it compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from explorer.components.bundle import component
from explorer.i18n.language import language
from explorer.i18n.part_names import named
from explorer.i18n.units import unit, worded


class HeadEmergence(NamedTuple):
    """A head that took up a habit for good."""

    step: int
    layer: int  # from 0
    head: int
    words: str  # of the habit, as "previous token"


@dataclass(frozen=True)
class Clock:
    """What all components of one side are given alike.

    Attributes:
        side: "a" or "b".
        run: the id.
        prompt: as it was typed.
        moments: the steps to choose from, rising.
        step: the one on view.
        anchor: the step whose embedding map decides on the directions of all.
        head: the layer and head that is shown large, from 0.
        emergence_steps: of its heads, where they are known.
    """

    side: str
    run: str
    prompt: str
    moments: list[int]
    step: int
    anchor: int
    head: tuple[int, int] = (0, 0)
    emergence_steps: Sequence[HeadEmergence] = ()


class TimeMachineMap(NamedTuple):
    """N points at S moments."""

    steps: list[int]  # S, rising
    xy: np.ndarray  # (S, N, 2), each from -1 to 1
    words: list[str]  # S sentences on what is seen
    axes: dict[str, list[tuple[float, str]]] | None = None  # "across" and "up": places with names, drawn as lines


class Moved(NamedTuple):
    """Where the bar was moved to."""

    step: int
    newest: bool  # whether that is the last there is, so that the page goes on with what comes


_bar = component("time_bar")
_view = component("time_machine")


def time_bar(clock: Clock, *, steps: int, note: str, key: str, same: bool = False) -> Moved | None:
    """The slider over all moments, with play. Returns the moment at which it has just come to rest.

    Args:
        steps: of the whole run.
        note: in words, behind the step.
        same: on side "b", whether it is the same run as on side "a": moved together, they then keep their distance.
    """
    data = _view_data(clock) | {"steps": steps, "note": note, "same": same}
    moved = _bar(data=data, key=key, triggers=["step"]).step
    if not isinstance(moved, Mapping) or not isinstance(moved.get("step"), int):
        return None
    return Moved(moved["step"], bool(moved.get("newest")))


def time_machine_heads(clock: Clock, *, key: str) -> tuple[int, int] | None:
    """All heads. Returns the one clicked just now as (layer, head) from 0."""
    clicked = _view("heads", _view_data(clock), key=key, triggers=["head"]).head
    return (int(clicked[0]), int(clicked[1])) if clicked else None


def time_machine_head(clock: Clock, *, key: str) -> None:
    """One head, large, and read letter by letter."""
    _view("head", _view_data(clock), key=key)


def time_machine_next(clock: Clock, *, key: str) -> None:
    """The likeliest next tokens."""
    _view("nextToken", _view_data(clock), key=key)


def time_machine_lens(clock: Clock, *, key: str) -> None:
    """What would be said after each block."""
    _view("lens", _view_data(clock), key=key)


def time_machine_settled(clock: Clock, *, key: str) -> None:
    """What would be said next after each block, at the end of the prompt."""
    _view("byBlock", _view_data(clock), key=key)


def time_machine_text(clock: Clock, *, key: str) -> None:
    """The greedy continuation."""
    _view("text", _view_data(clock), key=key)


def time_machine_map(clock: Clock, *, height: int, key: str) -> None:
    """The map of the embeddings, with trails."""
    _view("map", _view_data(clock) | {"height": height}, key=key)


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
    picked = _view("directions", _view_data(clock) | data, key=key, triggers=["picked"]).picked
    return None if picked is None else int(picked)


def _view_data(clock: Clock) -> dict[str, Any]:
    """What every component of a side is given."""
    emergence_steps = [emergence._asdict() | {"words": named(emergence.words)} for emergence in clock.emergence_steps]
    return asdict(clock) | {
        "emergence": emergence_steps,
        "language": language(),
        "unit": unit(),
    }
