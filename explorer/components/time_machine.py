"""The time machine: a bar that selects a training step and views that follow it without reruns; and moving figures.

All components of one side of the page share a clock in the browser (`assets/components/time_machine/clock.js`), which
prefetches frames (`explorer.look_inside.frames`). A page has one side, "a", and also "b" if it compares.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from plotly import graph_objects as go

from explorer.charts.theme import MovingFigure
from explorer.components.modules import Component
from explorer.i18n.formatting import named
from explorer.i18n.language import in_units, language, unit

_bar = Component("time_bar")
_view = Component("time_machine")
_figure = Component("figure", isolate=False)


class HeadEmergence(NamedTuple):
    """A head and the step from which it keeps its role."""

    step: int
    layer: int  # from 0
    head: int
    words: str  # the role, such as "previous token"


@dataclass(frozen=True)
class TimeMachineState:
    """The state that all components of one side share."""

    side: str  # "a", "b" for the other run of a comparison, or "home"
    run: str  # its id
    prompt: str  # as it was typed
    saved_steps: list[int]  # the steps that have a snapshot, ascending
    step: int  # the current one
    anchor: int  # the step to whose embedding map all others are aligned
    head: tuple[int, int] = (0, 0)  # the layer and head that is shown large, from 0
    emergence_steps: Sequence[HeadEmergence] = ()  # of its heads, if known
    place: str | None = None  # the opened part of the model picture (`explorer.look_inside.opened_part`), if drawn
    writes: int = 0  # how many tokens the model picture draws while the model generates; 0: it does not


class TimeMachineMap(NamedTuple):
    """N points at S training steps."""

    steps: list[int]  # S, ascending
    xy: np.ndarray  # (S, N, 2), each from -1 to 1
    words: list[str]  # S captions
    axes: dict[str, list[tuple[float, str]]] | None = None  # "across" and "up": places with names, drawn as lines


class PrerenderedPart(NamedTuple):
    """A component that the browser draws before Streamlit has started (assets/components/page/prerender.js)."""

    key: str
    name: str
    message: dict[str, Any]
    styles: str


def prerendered_parts(
    state: TimeMachineState, frame: Mapping[str, Any], *, steps: int, bytes_per_token: float | None, keys: Sequence[str]
) -> list[PrerenderedPart]:
    """Return what `time_bar` and `time_machine_view("model")` draw, including the frame of the current step."""
    bar = _bar_data(state, steps=steps, note="", same=False, bytes_per_token=bytes_per_token)
    drawn = ((_bar, _bar.message("", bar | {"frame": frame})), (_view, _view.message("model", _view_data(state))))
    return [
        PrerenderedPart(key, part.name, message, part.styles) for key, (part, message) in zip(keys, drawn, strict=True)
    ]


def _bar_data(
    state: TimeMachineState, *, steps: int, note: str, same: bool, bytes_per_token: float | None
) -> dict[str, Any]:
    return _view_data(state) | {"steps": steps, "note": note, "same": same, "bytes_per_token": bytes_per_token}


def time_bar(
    state: TimeMachineState,
    *,
    steps: int,
    note: str,
    key: str,
    same: bool = False,
    bytes_per_token: float | None = None,
) -> tuple[int, bool] | None:
    """Draw the slider over all snapshots; return the step where it stopped, and whether that is the newest.

    `same`: side "b" shows the run of side "a", so both keep their distance when they move together.
    `bytes_per_token` is for a run whose rows lack it.
    """
    data = _bar_data(state, steps=steps, note=note, same=same, bytes_per_token=bytes_per_token)
    moved = _bar(data=data, key=key, triggers=["step"]).step
    valid = isinstance(moved, Mapping) and isinstance(moved.get("step"), int)
    return (moved["step"], bool(moved.get("newest"))) if valid else None


def time_machine_view(
    view: str, state: TimeMachineState, *, key: str, on_place: Callable[[], None] | None = None, **data: Any
) -> Any:
    """Draw a view, by its name in `assets/components/time_machine/view.js`, and return what it reports.

    `on_place` is called when a part of the model picture was opened, before the page reruns.
    """
    options = {"on_place_change": on_place} if on_place else {}
    return _view(view, _view_data(state) | data, key=key, triggers=["head"], **options)


def time_machine_directions(
    state: TimeMachineState, maps: TimeMachineMap, tokens: Sequence[str], kinds: Sequence[str], *, key: str, **look: Any
) -> int | None:
    """Draw a map with one layout for all steps, so that nothing jumps; return the point just clicked.

    `look` has the name of its files, and may set its height, over how many earlier snapshots each point's path is
    drawn (`trail`), and a point to mark (`chosen`), joined to the points `near` it.
    """
    xy, words = np.round(1000 * maps.xy).astype(int).tolist(), list(map(in_units, maps.words))
    drawn = {"tokens": list(tokens), "kinds": list(kinds), "steps": maps.steps, "xy": xy, "axes": maps.axes}
    data = _view_data(state) | drawn | {"words_of": words, "height": 400, "trail": 5, "chosen": None, "near": []} | look
    picked = _view("directions", data, key=key, triggers=["picked"]).picked
    return None if picked is None else int(picked)


def moving_figure(
    state: TimeMachineState, steps: list[int], moving: MovingFigure | None,
    words: Sequence[Sequence[tuple[str, bool]]], *, key: str, name: str, compared: Mapping[str, Any] | None = None,
) -> None:  # fmt: skip
    """Draw sentences and a figure (or none) for the last measured step that is not after the current one.

    `words` are the sentences of each step and whether each is a warning; `name` is the name of its files. `compared`
    has the "side", "steps" and "layouts" of another run's figure, with which it shares its scale.
    """
    data = {
        "steps": steps,
        "words": words,
        "name": name,
        "compared": compared,
        "figure": None,
        "moves": [],
        "height": 0,
    }
    if moving:
        figure = moving.figure.update_layout(template="none", autosize=True)
        data |= {"figure": figure.to_json(), "moves": moving.moves, "height": figure.layout.height}
    _figure("moving", _view_data(state) | data, key=key)


def growing_figure(figure: go.Figure, *, key: str) -> None:
    """Redraw a figure in place; `st.plotly_chart` would create a new node and lose the zoom."""
    plain = figure.update_layout(template="none", autosize=True, uirevision="kept")
    _figure("growing", {"figure": plain.to_json(), "height": figure.layout.height}, key=key)


def _view_data(state: TimeMachineState) -> dict[str, Any]:
    emergence = [head._asdict() | {"words": named(head.words)} for head in state.emergence_steps]
    return asdict(state) | {"emergence": emergence, "language": language(), "unit": unit()}
