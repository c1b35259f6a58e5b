"""The time machine: a bar that chooses a moment of a training, and the views that move with it, without reruns.

All components of one side of the page share a clock in the browser (`assets/components/time_machine/clock.js`), which
fetches frames (`explorer.look_inside.frames`) ahead. A page has one side, "a", and "b" where it compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from explorer.charts.palette import both_palettes
from explorer.components.bundle import component
from explorer.i18n.language import language
from explorer.i18n.part_names import named
from explorer.i18n.units import unit


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
        births: of its heads, where they are known.
    """

    side: str
    run: str
    prompt: str
    moments: list[int]
    step: int
    anchor: int
    head: tuple[int, int] = (0, 0)
    emergence_steps: Sequence[HeadEmergence] = ()


class Moved(NamedTuple):
    """Where the bar was moved to."""

    step: int
    newest: bool  # whether that is the last there is, so that the page goes on with what comes


def _view(name: str, file: str) -> Any:
    return component(name, f"time_machine/{file}.js", "time_machine/views.css")


_bar = component("time_bar", "time_machine/bar.js", "time_machine/bar.css")
_heads = _view("time_heads", "heads")
_head = _view("time_head", "head")
_next = _view("time_next", "next")
_lens = _view("time_lens", "lens")
_mind = _view("time_mind", "by_block")
_text = _view("time_text", "text")
_map = _view("time_map", "map")


def time_bar(clock: Clock, *, steps: int, note: str, key: str, same: bool = False) -> Moved | None:
    """The slider over all moments, with play. Returns the moment at which it has just come to rest.

    Args:
        steps: of the whole run.
        note: in words, behind the step.
        same: on side "b", whether it is the same run as on side "a": moved together, they then keep their distance.
    """
    data = view_data(clock) | {"steps": steps, "note": note, "same": same}
    moved = _bar(key=key, data=data, on_step_change=_nothing).step
    if not isinstance(moved, Mapping) or not isinstance(moved.get("step"), int):
        return None
    return Moved(moved["step"], bool(moved.get("newest")))


def time_machine_heads(clock: Clock, *, key: str) -> tuple[int, int] | None:
    """All heads. Returns the one clicked just now as (layer, head) from 0."""
    clicked = _heads(key=key, data=view_data(clock), on_head_change=_nothing).head
    return (int(clicked[0]), int(clicked[1])) if clicked else None


def time_machine_head(clock: Clock, *, key: str) -> None:
    """One head, large, and read letter by letter."""
    _head(key=key, data=view_data(clock))


def time_machine_next(clock: Clock, *, key: str) -> None:
    """The likeliest next tokens."""
    _next(key=key, data=view_data(clock))


def time_machine_lens(clock: Clock, *, key: str) -> None:
    """What would be said after each block."""
    _lens(key=key, data=view_data(clock))


def time_machine_settled(clock: Clock, *, key: str) -> None:
    """What would be said next after each block, at the end of the prompt."""
    _mind(key=key, data=view_data(clock))


def time_machine_text(clock: Clock, *, key: str) -> None:
    """The greedy continuation."""
    _text(key=key, data=view_data(clock))


def time_machine_map(clock: Clock, *, height: int, key: str) -> None:
    """The map of the embeddings, with trails."""
    _map(key=key, data=view_data(clock) | {"height": height})


def view_data(clock: Clock) -> dict[str, Any]:
    """What every component of a side is given."""
    emergence_steps = [emergence._asdict() | {"words": named(emergence.words)} for emergence in clock.emergence_steps]
    return asdict(clock) | {
        "births": emergence_steps,
        "language": language(),
        "unit": unit(),
        "palettes": both_palettes(),
    }


def _nothing() -> None:
    """Streamlit reports a value only for events that have a callback."""
