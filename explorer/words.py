"""Runs and numbers in words, the same on every page."""

import re
from datetime import UTC, datetime
from typing import Any

from core.config import ModelConfig, RunConfig
from core.runs.records import Status
from core.settings import fields_of
from core.words import loss_in_words as loss_in_words  # told on every page
from core.words import number

_STATES = {
    "queued": "waiting",
    "starting": "starting",
    "running": "training",
    "paused": "paused",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
}
_PARTS = {
    "wte": "letters",
    "wpe": "positions",
    "ln_1": "first norm",
    "attn": "attention",
    "ln_2": "second norm",
    "mlp": "feed-forward",
    "ln_f": "last norm",
    "lm_head": "output",
    "token_embedding_table": "table",
}
STATE_COLORS = {  # of a badge; the word beside it says the same
    "queued": "gray",
    "starting": "blue",
    "running": "blue",
    "paused": "orange",
    "finished": "green",
    "stopped": "gray",
    "failed": "red",
}


def state_in_words(status: Status) -> str:
    """One word for how a run fares."""
    return _STATES[status.state]


def model_in_words(model: ModelConfig) -> str:
    """Which model, in a few words: "Bigram", or "GPT · 4 layers"."""
    if model.kind == "bigram":
        return "Bigram"
    return f"GPT · {model.n_layer} layer{'s' * (model.n_layer != 1)}"


def look_in_words(causal: bool) -> str:
    """The question that pictures of attention answer; a model that is not causal sees later letters too."""
    return f"Which {'earlier ' if causal else ''}letters does each letter look at?"


def part_in_words(part: str) -> str:
    """A part of a model by its name in the weights: `h.0.attn` is "layer 1, attention"."""
    block = re.fullmatch(r"h\.(\d+)\.(\w+)", part)
    if block:
        return f"layer {int(block[1]) + 1}, {_PARTS.get(block[2], block[2])}"
    return _PARTS.get(part, part)


def turn_in_words(knob: str, before: Any, value: Any) -> str:
    """What was turned, as it is written beside its mark on the curve: "learning rate 1e-3 → 3e-4"."""
    return f"{_label(knob)} {number(before)} → {number(value)}"


def asked_in_words(knob: str, value: Any) -> str:
    """A knob that is being turned: "learning rate → 3e-4"."""
    return f"{_label(knob)} → {number(value)}"


def _label(path: str) -> str:
    return next((known.label.lower() for other, known in fields_of(RunConfig) if other == path), path)


def when_in_words(created: str, now: datetime | None = None) -> str:
    """How long ago an ISO 8601 time was, roughly; "" for anything else."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return ""
    seconds = ((now or datetime.now(UTC)) - then.astimezone(UTC)).total_seconds()
    for size, word in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = int(seconds // size)
            return f"{count} {word}{'s' * (count != 1)} ago"
    return "just now"
