"""The time machine: a bar that chooses a training step, and the views that move with it, without reruns.

All components of one side of the page share a clock in the browser (`assets/components/time_machine/clock.js`), which
fetches frames (`explorer.look_inside.frames`) ahead. A page has one side, "a", and "b" where it compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from explorer.components.bundle import component
from explorer.i18n.formatting import named
from explorer.i18n.language import language
from explorer.i18n.units import unit, worded


class HeadEmergence(NamedTuple):
    """A head and the step from which its role stays."""

    step: int
    layer: int  # from 0
    head: int
    words: str  # of the role, as "previous token"


@dataclass(frozen=True)
class Clock:
    """What all components of one side share.

    Attributes:
        side: "a" or "b".
        run: the id.
        prompt: as it was typed.
        moments: the steps that have a snapshot, rising.
        step: the one on view.
        anchor: the step to whose embedding map all others are aligned.
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
    """N points at S training steps."""

    steps: list[int]  # S, rising
    xy: np.ndarray  # (S, N, 2), each from -1 to 1
    words: list[str]  # S captions
    axes: dict[str, list[tuple[float, str]]] | None = None  # "across" and "up": places with names, drawn as lines


class Moved(NamedTuple):
    """Where the bar was moved to."""

    step: int
    newest: bool  # whether that is the newest snapshot, so that the page goes on with newer ones


_bar = component("time_bar")
_view = component("time_machine")


def time_bar(clock: Clock, *, steps: int, note: str, key: str, same: bool = False) -> Moved | None:
    """Draw the slider over all snapshots, with play. Return where it has just come to rest.

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


def time_machine_view(view: str, clock: Clock, *, key: str, **data: Any) -> Any:
    """Draw a view, by its name in `assets/components/time_machine/view.js`, and return what it reports.

    Args:
        data: for that view, besides what every one is given.
    """
    return _view(view, _view_data(clock) | data, key=key, triggers=["head"])


def time_machine_directions(
    clock: Clock,
    maps: TimeMachineMap,
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
    """Draw a map laid out for all steps at once, so that nothing jumps. Return a point just clicked.

    Args:
        tokens, kinds: of the N points, as they are shown.
        name: of the files that it is saved as.
        height: in pixels.
        trail: over how many snapshots before it each point's way is drawn.
        chosen: a point to mark, joined to those `near` it.
    """
    data: dict[str, Any] = {
        "tokens": list(tokens),
        "kinds": list(kinds),
        "steps": maps.steps,
        "xy": np.round(1000 * maps.xy).astype(int).tolist(),
        "words_of": list(map(worded, maps.words)),
        "axes": maps.axes,
        "chosen": chosen,
        "near": list(near),
        "height": height,
        "name": name,
        "trail": trail,
    }
    picked = _view("directions", _view_data(clock) | data, key=key, triggers=["picked"]).picked
    return None if picked is None else int(picked)


def _view_data(clock: Clock) -> dict[str, Any]:
    """Return the data that every component of a side gets."""
    emergence_steps = [emergence._asdict() | {"words": named(emergence.words)} for emergence in clock.emergence_steps]
    return asdict(clock) | {
        "emergence": emergence_steps,
        "language": language(),
        "unit": unit(),
    }
