"""Vectors at all kept moments of a training, laid out together: a map that moves never jumps."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from core.errors import ExplorerError
from core.fast.threads import one_thread
from core.interpretability import Progress
from core.interpretability.activations import PartError
from core.interpretability.embeddings import (
    Method,
    align,
    position_embeddings,
    project,
    project_along,
    token_embeddings,
)
from core.interpretability.residual_stream import residual_stream
from core.model import GPT
from core.runs.folder import RunFolder
from core.runs.models import load_model
from explorer.components.time_machine import TimeMachineMap
from explorer.look_inside.view import Inspection
from explorer.streaming.run_events import on_the_map

MOST_TOKENS = 600
MOST_LAID_OUT = 12  # moments, of a method that lays out each anew


class Held(NamedTuple):
    """What one snapshot holds."""

    tokens: np.ndarray  # (V, C), of the first V tokens
    places: np.ndarray | None  # (block_size, C)
    stream: np.ndarray | None  # (L + 1, T, C) over the prompt


def held_over_time(inspection: Inspection, most: int | None = None) -> tuple[list[int], list[Held]]:
    """All kept moments, or at most so many of them with the last; of a large model only the one on view."""
    steps = [inspection.opened.step] if inspection.large else inspection.folder.moments() or [inspection.opened.step]
    if most and len(steps) > most:
        steps = [steps[place] for place in np.linspace(0, len(steps) - 1, most).round().astype(int)]
    found = [(step, held) for step in steps if (held := _held_at(inspection, step))]
    return [step for step, _ in found], [held for _, held in found]


def _held_at(inspection: Inspection, step: int) -> Held | None:
    if inspection.large:
        return _read(inspection.model, tuple(inspection.prompt.ids))
    path = inspection.folder.weights_at(step)
    try:
        return (
            _held(inspection.folder.path, path, path.stat().st_mtime_ns, tuple(inspection.prompt.ids)) if path else None
        )
    except (OSError, ExplorerError):  # thinned out meanwhile by the run that trains
        return None


@lru_cache(maxsize=96)
def _held(run: Path, weights: Path, _changed: int, ids: tuple[int, ...]) -> Held:
    with one_thread():
        return _read(load_model(RunFolder(run), weights).model, ids)


def _read(model: GPT, ids: tuple[int, ...]) -> Held:
    try:
        places = position_embeddings(model)
    except PartError:
        places = None
    return Held(token_embeddings(model)[:MOST_TOKENS], places, residual_stream(model, list(ids)) if ids else None)


def turned_alike(
    steps: list[int], tables: list[np.ndarray], words: Callable[[np.ndarray], str], like: int = -1
) -> TimeMachineMap:
    """The tables (S of (N, C)) by PCA in the directions of the last one, whose scale is all others' too."""
    points = project_along(tables)
    return TimeMachineMap(
        steps, np.stack([on_the_map(each, points[like]) for each in points]), list(map(words, tables))
    )


def laid_out(inspection: Inspection, method: Method) -> Iterator[Progress[TimeMachineMap]]:
    """The tokens at some moments by a method that lays out each anew, turned to lie like the one after it; no words."""
    steps, held = held_over_time(inspection, MOST_LAID_OUT)
    made: list[np.ndarray] = []
    for done, each in enumerate(reversed(held), start=1):
        points = project(each.tokens, method, seed=1337)
        made.append(align(points, made[-1]) if made else points)
        xy = np.stack([on_the_map(points, made[0]) for points in reversed(made)])
        yield Progress(done, len(held), TimeMachineMap(steps[-done:], xy, []))


def along_axes(
    steps: list[int], points: list[np.ndarray], names: list[tuple[str, str]], words: Callable[[np.ndarray], str]
) -> TimeMachineMap:
    """Points (N, 2) along two axes of one's own at S moments, in one frame that has room for nearly all of them."""
    every = np.concatenate([*points, [[0, 0], [1, 1]]])
    low, high = np.quantile(every, 0.01, axis=0), np.quantile(every, 0.99, axis=0)
    low, high = np.minimum(low, -0.2), np.maximum(high, 1.2)

    def framed(values: np.ndarray) -> np.ndarray:
        return np.clip(2 * (values - low) / (high - low) - 1, -1.05, 1.05)

    (left, bottom), (right, top) = framed(np.array([[0, 0], [1, 1]])).tolist()
    (first, second), (third, fourth) = names
    axes = {"across": [(left, first), (right, second)], "up": [(bottom, third), (top, fourth)]}
    return TimeMachineMap(steps, np.stack([framed(each) for each in points]), list(map(words, points)), axes)
