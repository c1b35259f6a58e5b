"""What is known about a run: the record of what it is, and the status of how it fares."""

import platform
from importlib import metadata
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict

from core.config import RunConfig
from core.errors import Problem
from core.runs.processes import Started

State = Literal["queued", "starting", "running", "paused", "finished", "stopped", "failed"]
ENDED: tuple[State, ...] = ("finished", "stopped", "failed")


class RunRecord(BaseModel):
    """What a run is (`run.json`). A worker that begins fills in text, versions and machine; users change the name."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str  # a label, never a path
    created: str  # ISO 8601, UTC
    config: RunConfig
    owner: str | None = None
    parent: str | None = None  # id of the run whose settings or weights this one started from
    parent_step: int | None = None  # of the parent's weights that this one started from, if it did
    origin: str | None = None  # where an imported model comes from, in words
    corpus_hash: str | None = None  # sha256 of the text; known once a worker has begun
    versions: dict[str, str] = {}
    hardware: str | None = None  # in words; known once a worker has begun
    # What decides the last digits of every number: settled by the first worker, kept by all later ones.
    machine: str | None = None  # name of its processor or graphics card
    threads: int | None = None
    precision: str | None = None  # float32 or bfloat16


class Status(BaseModel):
    """How a run fares (`status.json`)."""

    model_config = ConfigDict(frozen=True)

    state: State
    step: int = 0  # steps done
    steps: int = 0  # steps asked for
    pid: int | None = None  # the worker's, while there is one
    pid_started: Started | None = None  # when that process began (`ProcessId`): a pid alone may be reused
    attempt: int = 0  # how often a worker has begun on this run
    reason: str = ""  # a sentence: why it failed, stopped or waits
    notice: str = ""  # sentences for the page to show while it goes on: what happened to it, or what it waits for
    problem: Problem = ""  # what is wrong, where a page can offer more than a sentence
    deaths: int = 0  # of workers in a row, with no new checkpoint in between
    oom_kills: dict[str, int] = {}  # what the system's counters of processes killed for memory said last, by file
    seconds: float = 0.0  # spent training, pauses left out
    tokens_per_second: float | None = None
    train_loss: float | None = None  # nats a token
    val_loss: float | None = None  # nats a token
    seconds_left: float | None = None
    slowest: float = 0.0  # seconds, the longest between two looks for commands: a worker may be deaf for that long
    updated: float = 0.0  # seconds since 1970

    @property
    def ended(self) -> bool:
        """Nothing more will come unless someone resumes it."""
        return self.state in ENDED


class Command(NamedTuple):
    """What someone asks of a worker: `pause`, `resume`, `step`, `stop`, `turn`, and what comes with it."""

    name: str
    args: dict[str, Any]
    id: str  # no two are alike


class Turn(NamedTuple):
    """One knob turned between two steps."""

    step: int  # steps done by then: the next one is the first to feel it
    knob: str  # one of `core.live_settings.CHANGEABLE`
    value: Any


class StepDetail(BaseModel):
    """One step seen closely (`closeup.json`): a few pieces of its batch, and which part was pushed how hard."""

    model_config = ConfigDict(frozen=True)

    step: int
    loss: float | None  # nats a token, over the whole batch; None where it is no finite number
    batch_size: int  # pieces in the whole batch
    inputs: list[list[int]]  # token ids, the first pieces of the batch
    targets: list[list[int]]
    losses: list[list[float | None]]  # nats, of the same tokens
    gradient_norms: dict[str, float | None]  # by part of the model (`wte`, `h.0.attn`, ...), before clipping
    weight_norms: dict[str, float | None]  # before the step
    before: float | None = None  # nats a token over the whole batch, without dropout, before the step; None: not known
    after: float | None = None  # the same behind it


class Probe(NamedTuple):
    """What the live board draws, as the model was at one step."""

    step: int
    attention: np.ndarray  # uint8 (L, H, T, T), 255 is all of a row's attention; L = H = 0 for a bigram
    embedding: np.ndarray  # float16 (V, C)
    tokens: list[str]  # the T tokens of the probe sentence


def library_versions() -> dict[str, str]:
    """Versions of what decides a run's numbers."""
    return {"python": platform.python_version()} | {
        name: metadata.version(name) for name in ("torch", "numpy", "safetensors")
    }
