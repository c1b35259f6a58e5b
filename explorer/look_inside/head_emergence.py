"""When was each head born? Habits of all heads at the kept steps, measured once a snapshot and kept."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import streamlit as st
import torch

from core.errors import ExplorerError
from core.interpretability import Progress, finish
from core.interpretability.head_roles import HeadScores, emergence_steps, name_heads, score_heads
from core.model import GPT
from core.runs.models import load_model
from explorer.components.time_machine import Clock, HeadEmergence
from explorer.look_inside.run_text import windows
from explorer.look_inside.view import Inspection
from explorer.services.jobs import Job, job, known

MOST_SNAPSHOTS = 24
PIECES = 16  # of text that scores are measured on
_MOST_KEPT = 512  # snapshots' scores; some numbers each
_TICK = 1.0  # seconds

_kept: OrderedDict[tuple[Path, int], HeadScores] = OrderedDict()
_keeping = threading.Lock()


def emergence_key(inspection: Inspection) -> Hashable:
    """Of the job that measures them, as `explorer.services.jobs` knows it."""
    return "births", inspection.folder.id, inspection.folder.snapshots()[-1][0]


def with_emergence(clock: Clock, inspection: Inspection) -> Clock:
    """The clock with the moments at which heads were born, once they are known; measured meanwhile where that is quick.

    `watch_births` at the end of the page draws it anew as soon as they are.
    """
    if not isinstance(inspection.model, GPT) or len(inspection.folder.snapshots()) < 3:
        return clock
    found = known(emergence_key(inspection))
    if found is None and not inspection.large:
        found = job(emergence_key(inspection), lambda: scores_over_time(inspection))
    if found is None or not found.ended or found.problem or found.stopped or found.result is None:
        return clock  # without a result, too, where all of them were thinned out meanwhile
    steps, scores = found.result
    new = [
        emergence
        for emergence in emerged_heads(steps, scores)
        if not (has_parent(inspection) and emergence.step == steps[0])
    ]
    return replace(clock, emergence_steps=new)


def has_parent(inspection: Inspection) -> bool:
    """Whether its first weights were another model's, so that a role at its first step emerged there."""
    record = inspection.folder.record()
    return record.parent_step is not None or bool(record.origin)


def watch_emergence(inspection: Inspection) -> None:
    """Put this at the end of a page: further up it would come and go, and push what is below it about."""
    found = known(emergence_key(inspection)) if inspection.folder.snapshots() else None
    if found and not found.ended:
        _wait_for(found)


@st.fragment(run_every=_TICK)
def _wait_for(found: Job) -> None:
    if found.ended:
        st.rerun()


def emerged_heads(steps: list[int], scores: list[HeadScores]) -> list[HeadEmergence]:
    """Of every head that has a habit at the last step, when it took it up; in the order of time."""
    found = []
    for layer, row in enumerate(name_heads(scores[-1])):
        for head, name in enumerate(row):
            if name.role:
                over_time = np.stack([getattr(one, name.role) for one in scores])  # (S, L, H)
                found.append(
                    HeadEmergence(int(emergence_steps(steps, over_time)[layer, head]), layer, head, name.words)
                )
    return sorted(emergence for emergence in found if emergence.step >= 0)


def scores_over_time(inspection: Inspection) -> Iterator[Progress[tuple[list[int], list[HeadScores]]]]:
    """Scores of all heads at the kept steps, oldest first. Raises TextError where the run's text is gone."""
    pieces = windows(inspection, count=PIECES)
    snapshots = inspection.folder.snapshots()
    if len(snapshots) > MOST_SNAPSHOTS:
        places = np.linspace(0, len(snapshots) - 1, MOST_SNAPSHOTS).round().astype(int)
        snapshots = [snapshots[place] for place in places]
    steps, scores = [], []
    for done, (step, path) in enumerate(snapshots, start=1):
        try:
            scores.append(_scores_at(inspection, path, pieces))
        except (FileNotFoundError, ExplorerError):  # thinned out meanwhile by the run that trains
            continue
        steps.append(step)
        yield Progress(done, len(snapshots), (steps, scores))


def _scores_at(inspection: Inspection, path: Path, pieces: torch.Tensor) -> HeadScores:
    key = path, path.stat().st_mtime_ns
    with _keeping:
        if key in _kept:
            return _kept[key]
    loaded = load_model(inspection.folder, path)
    made = finish(score_heads(loaded.model, pieces, loaded.tokenizer.tokens))
    with _keeping:
        _kept[key] = made
        while len(_kept) > _MOST_KEPT:
            _kept.popitem(last=False)
    return made
