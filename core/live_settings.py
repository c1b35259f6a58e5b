"""Live settings, which can be changed while a run trains, and the effects of each change."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from core.config import RATES, SETTINGS, RunConfig, optimizer_of
from core.errors import ConfigError
from core.settings import value_at

RATE, STEPS = "train.learning_rate", "train.steps"
LIVE_SETTINGS = (
    RATE,
    "model.dropout",
    "train.batch_size",
    "train.sample_temperature",
    "train.eval_interval",
    STEPS,
)
RESTART = "train.schedule_start"  # the step to restart the schedule at; only continuing a run changes it
CHANGEABLE = (*LIVE_SETTINGS, RESTART)


class SettingChange(NamedTuple):
    """One setting changed while a run trained."""

    step: int  # steps done before the change; it affects the next step
    setting: str  # its dotted path, one of CHANGEABLE
    before: Any
    value: Any


def with_change(config: RunConfig, setting: str, value: Any) -> RunConfig:
    """Return the config after one setting change, valid from the next step; raises ConfigError if it is not allowed.

    A new learning rate scales the whole schedule: the final rate and the optimizer's own rate (Muon's) change in
    proportion. A new number of steps leaves the schedule unchanged. `RESTART` restarts it over the remaining steps.
    """
    if setting not in CHANGEABLE:
        raise ConfigError(f"{setting!r} cannot be changed while a run trains. These can: {', '.join(LIVE_SETTINGS)}.")
    changed = config.replace({setting: value})
    if setting == RATE:
        return _with_all_rates(config, changed)
    if setting == STEPS and not config.train.decay_steps:
        return changed.replace({"train.decay_steps": config.train.steps})
    if setting == RESTART:  # the warm-up takes the same fraction of the remaining steps, at most half
        train = config.train
        length = max(1, (train.decay_steps or train.steps) - train.schedule_start)
        warmup = round(min(0.5, train.warmup_steps / length) * max(0, train.steps - value))
        return changed.replace({"train.decay_steps": 0, "train.warmup_steps": warmup})
    return changed


def _with_all_rates(config: RunConfig, changed: RunConfig) -> RunConfig:
    now, wanted = value_at(config, RATE), value_at(changed, RATE)
    moved: dict[str, float] = {}
    own = [path for path in RATES if optimizer_of(path) == config.train.optimizer]
    for path in ["train.min_learning_rate", *own]:
        along, value = SETTINGS[path], value_at(config, path)
        low, high = along.low or 0.0, along.high or math.inf
        lowest, highest = (now * low / value, now * high / value) if value else (0.0, math.inf)
        if not lowest <= wanted <= highest:
            too_high = wanted > highest
            bound = _short(highest, math.floor) if too_high else _short(lowest, math.ceil)
            raise ConfigError(
                f"{RATE} cannot be {wanted:g} in this run: it can be at {'most' if too_high else 'least'} {bound}, "
                f"because '{along.label}' ({value:g} now) changes in proportion and can be from {low:g} to "
                f"{high:g}."
            )
        moved[path] = min(high, max(low, value * (wanted / now)))  # the product may round past a bound
    return changed.replace(moved)


def _short(number: float, rounding: Callable[[float], int]) -> str:
    """Return a positive bound with three digits, rounded to the allowed side."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 2)
    return f"{rounding(number / unit + 1e-9 * (1 if rounding is math.floor else -1)) * unit:.3g}"
