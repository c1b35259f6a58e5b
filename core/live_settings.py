"""What may be turned while a run trains, and what turning it means."""

import math
from collections.abc import Callable
from typing import Any

from core.config import RunConfig
from core.errors import ConfigError
from core.settings import fields_of, value_at

RATE = "train.learning_rate"
KNOBS = (
    RATE,
    "model.dropout",
    "train.batch_size",
    "train.sample_temperature",
    "train.eval_interval",
    "train.steps",
)
RESTART = "train.schedule_start"  # the step to restart the schedule at; only a run that is continued changes it
CHANGES = (*KNOBS, RESTART)


def turned(config: RunConfig, knob: str, value: Any) -> RunConfig:
    """The config from the next step on, after one knob was turned.

    The learning rate scales its whole schedule: where it ends, and the rate of Muon if that is at work, move in
    proportion. The step to stop at leaves the schedule alone: the rate falls until where it would have fallen, and
    stays there, so that nothing ever jumps. `RESTART` begins the schedule again over the steps that are left.

    Raises:
        ConfigError: the knob is unknown, or the value out of its bounds.
    """
    if knob not in CHANGES:
        raise ConfigError(f"{knob!r} cannot be turned while a run trains. These can: {', '.join(KNOBS)}.")
    changed = config.replace({knob: value})
    if knob == RATE:
        return _with_all_rates(config, changed)
    if knob == "train.steps" and not config.train.decay_steps:
        return changed.replace({"train.decay_steps": config.train.steps})
    if knob == RESTART:
        return changed.replace({"train.decay_steps": 0, "train.warmup_steps": _warmup_of_restart(config, value)})
    return changed


def _warmup_of_restart(config: RunConfig, start: int) -> int:
    """As large a share of the steps from `start` on as the warm-up has of the schedule so far, and half at most."""
    train = config.train
    length = max(1, (train.decay_steps or train.steps) - train.schedule_start)
    share = min(0.5, train.warmup_steps / length)
    return round(share * max(0, train.steps - start))


def _with_all_rates(config: RunConfig, changed: RunConfig) -> RunConfig:
    """What moves along with the learning rate, moved; raises ConfigError where one of them would leave its bounds."""
    settings = dict(fields_of(RunConfig))
    now, wanted = value_at(config, RATE), value_at(changed, RATE)
    moved = {}
    for path in ["train.min_learning_rate"] + ["train.muon_learning_rate"] * (config.train.optimizer == "muon"):
        along, value = settings[path], value_at(config, path)
        lowest, highest = (now * along.low / value, now * along.high / value) if value else (0.0, math.inf)
        if not lowest <= wanted <= highest:
            where = (
                f"at most {_short(highest, math.floor)}"
                if wanted > highest
                else f"at least {_short(lowest, math.ceil)}"
            )
            raise ConfigError(
                f"{RATE} cannot be {wanted:g} in this run: it can be {where}, because {along.label} ({value:g} now) "
                f"moves along with it, and that goes from {along.low:g} to {along.high:g}."
            )
        moved[path] = min(along.high, max(along.low, value * (wanted / now)))  # however the product is rounded
    return changed.replace(moved)


def _short(number: float, to_whole: Callable[[float], int]) -> str:
    """A positive number with three digits, never rounded past the bound that it is."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 2)
    return f"{to_whole(number / unit + 1e-9 * (1 if to_whole is math.floor else -1)) * unit:.3g}"
