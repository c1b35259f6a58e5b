"""All that a report tells of a run, whoever read it off the run's folder."""

from typing import Any, NamedTuple

import numpy as np

from core.config import RunConfig
from core.text.corpora import Corpus


class Ancestor(NamedTuple):
    """The run that this one goes out from."""

    name: str
    config: RunConfig  # as it was when this one left it
    step: int | None  # of its weights that this one began with; None where it took the settings only
    val_loss: float | None  # where it ended, nats a token
    same_text: bool  # whether the two losses compare
    rows: list[dict[str, Any]]  # its measured rows


class Facts(NamedTuple):
    """One run, as far as it has come."""

    name: str  # a label by anybody
    id: str
    created: str  # ISO 8601, UTC
    config: RunConfig  # as it began
    state: str  # finished, running, ...
    step: int
    seconds: float  # of training
    reason: str  # why it stopped or failed
    progress: str  # how training went, in one sentence; "" before the first measurement
    origin: str  # where an imported model comes from; else ""
    corpus: Corpus | None  # None where the text is gone
    corpus_hash: str
    vocabulary: tuple[str, ...]  # the tokens by id; empty before training begins
    parameters: int  # 0 before training begins
    rows: list[dict[str, Any]]  # metrics
    baselines: dict[str, float] | None
    samples: list[dict[str, Any]]
    opening: str  # what every sample continues, as it is shown; empty before training begins
    turns: list[tuple[int, str]]  # step and words
    attention: np.ndarray | None  # uint8 (L, H, T, T), 255 is all of a row's attention
    attention_step: int
    tokens: list[str]  # the T tokens of the sentence read
    table: np.ndarray | None  # of a bigram: probabilities (V, V) of what follows
    parent: Ancestor | None
    precision: str
    threads: int
    hardware: str
    versions: dict[str, str]
    titles: dict[str, str]  # of all texts, by the name that the settings have

    @property
    def letters(self) -> str:
        """What the model reads, in a word."""
        return "letters" if self.config.data.tokenizer == "char" else "tokens"

    @property
    def train_loss(self) -> float | None:
        return self._last("train_loss")

    @property
    def val_loss(self) -> float | None:
        return self._last("val_loss")

    @property
    def uniform(self) -> float | None:
        """The loss of the uniform guess, nats a token; None where it was not counted."""
        return (self.baselines or {}).get("uniform")

    def _last(self, name: str) -> float | None:
        """As measured last, nats a token."""
        return next((row[name] for row in reversed(self.rows) if row.get(name) is not None), None)
