"""What may be turned while a run trains, and what turning it means."""

from typing import Any

from core.config import RunConfig
from core.errors import ConfigError
from core.settings import value_at

KNOBS = (
    "train.learning_rate",
    "model.dropout",
    "train.batch_size",
    "train.sample_temperature",
    "train.eval_interval",
    "train.steps",
)


def turned(config: RunConfig, knob: str, value: Any) -> RunConfig:
    """The config from the next step on, after one knob was turned.

    The learning rate scales its whole schedule: where it ends, and the rate of Muon if that is at work, move in
    proportion. The step to stop at leaves the schedule alone: the rate falls until where it would have fallen, and
    stays there, so that nothing ever jumps.

    Raises:
        ConfigError: the knob is unknown, or the value out of its bounds.
    """
    if knob not in KNOBS:
        raise ConfigError(f"{knob!r} cannot be turned while a run trains. These can: {', '.join(KNOBS)}.")
    changed = config.replace({knob: value})
    if knob == "train.learning_rate":
        ratio = changed.train.learning_rate / config.train.learning_rate
        along = ["train.min_learning_rate"] + ["train.muon_learning_rate"] * (config.train.optimizer == "muon")
        return changed.replace({path: value_at(config, path) * ratio for path in along})
    if knob == "train.steps" and not config.train.decay_steps:
        return changed.replace({"train.decay_steps": config.train.steps})
    return changed
