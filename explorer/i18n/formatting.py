"""Runs and numbers in words, the same on every page, in the language on view."""

import re
from datetime import UTC, datetime
from typing import Any

from core.config import ModelConfig, RunConfig
from core.formatting import SCHEDULE_RESTARTED, loss_as_choice, memory_in_words
from core.formatting import number as english_number
from core.lessons.lesson_text import ENGLISH
from core.live_settings import RESTART
from core.runs.records import Status
from core.settings import fields_of
from core.training.hardware import Hardware
from explorer.i18n.language import language, later, say

_STATES = {
    "queued": later("waiting"),
    "starting": later("starting"),
    "running": later("training"),
    "paused": later("paused"),
    "finished": later("finished"),
    "stopped": later("stopped"),
    "failed": later("failed"),
}
_PARTS = {
    "wte": later("letters"),
    "wpe": later("positions"),
    "ln_1": later("first norm"),
    "attn": later("attention"),
    "ln_2": later("second norm"),
    "mlp": later("feed-forward"),
    "ln_f": later("last norm"),
    "lm_head": later("output"),
    "token_embedding_table": later("table"),
}
_AGO = (  # seconds, and how one and several of them are told
    (86_400, later("1 day ago"), later("{count} days ago")),
    (3600, later("1 hour ago"), later("{count} hours ago")),
    (60, later("1 minute ago"), later("{count} minutes ago")),
)
STATE_COLORS = {  # of a badge; the word beside it says the same
    "queued": "gray",
    "starting": "blue",
    "running": "blue",
    "paused": "orange",
    "finished": "gray",
    "stopped": "gray",
    "failed": "red",
}


def state_in_words(status: Status) -> str:
    """One word for how a run fares."""
    return say(_STATES[status.state])


def model_in_words(model: ModelConfig) -> str:
    """Which model, in a few words: "Bigram", or "GPT · 4 layers"."""
    if model.kind == "bigram":
        return say("Bigram")
    return say("GPT · 1 layer") if model.n_layer == 1 else say("GPT · {count} layers", count=model.n_layer)


def hardware_in_words(hardware: Hardware) -> str:
    """What this machine trains on."""
    cores = say("1 core") if hardware.cores == 1 else say("{count} cores", count=hardware.cores)
    return say(hardware.told, name=hardware.name, cores=cores, memory=memory_in_words(hardware.memory_bytes))


def look_in_words(causal: bool) -> str:
    """The question that pictures of attention answer; a model that is not causal sees later letters too."""
    if causal:
        return say("Which earlier letters does each letter look at?")
    return say("Which letters does each letter look at?")


def part_in_words(part: str) -> str:
    """A part of a model by its name in the weights: `h.0.attn` is "layer 1, attention"."""
    block = re.fullmatch(r"h\.(\d+)\.(\w+)", part)
    if block:
        return say("layer {number}, {part}", number=int(block[1]) + 1, part=_part(block[2]))
    return _part(part)


def _part(name: str) -> str:
    return say(_PARTS[name]) if name in _PARTS else name


def loss_in_words(loss: float, unit: str = "letters") -> str:
    """As `core.formatting.loss_in_words`, in the language on view.

    Args:
        unit: what is chosen among, in English.
    """
    told, count = loss_as_choice(loss)
    return say(told, count=count, unit=say(unit))


def number(value: Any) -> str:
    """A value as it is written beside its slider."""
    if isinstance(value, bool):
        return say("on") if value else say("off")
    return english_number(value)


def turn_in_words(knob: str, before: Any, value: Any) -> str:
    """What was turned, as it is written beside its mark on the curve: "learning rate 1e-3 → 3e-4"."""
    if knob == RESTART:
        return say(SCHEDULE_RESTARTED)
    return f"{_label(knob)} {number(before)} → {number(value)}"


def asked_in_words(knob: str, value: Any) -> str:
    """A knob that is being turned: "learning rate → 3e-4"."""
    if knob == RESTART:
        return say(SCHEDULE_RESTARTED)
    return f"{_label(knob)} → {number(value)}"


def _label(path: str) -> str:
    label = next((known.label for other, known in fields_of(RunConfig) if other == path), None)
    if label is None:
        return path
    return label.lower() if language() == ENGLISH else say(label)  # elsewhere a noun may keep its capital


def when_in_words(created: str, now: datetime | None = None) -> str:
    """How long ago an ISO 8601 time was, roughly; "" for anything else."""
    try:
        then = datetime.fromisoformat(created)
    except ValueError:
        return ""
    seconds = ((now or datetime.now(UTC)) - then.astimezone(UTC)).total_seconds()
    for size, one, several in _AGO:
        if seconds >= size:
            count = int(seconds // size)
            return say(one) if count == 1 else say(several, count=count)
    return say("just now")
