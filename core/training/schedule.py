"""The learning rate schedule: linear warm-up, then cosine or linear decay over the whole run or its end."""

import math

from core.config import TrainConfig


def fraction_at(step: int, config: TrainConfig) -> float:
    """Return the learning rate at one update, counted from 0, as a fraction of its peak, as in nanoGPT.

    The warm-up is linear and starts above zero, so that the first step already learns. Then the rate falls from
    `learning_rate` to `min_learning_rate` until the last step or `decay_steps`: along half a cosine wave (Loshchilov
    and Hutter 2016), linearly (Defazio 2023), or linearly over only the last `decay_share` of the steps
    (warmup-stable-decay, Hu 2024). A constant schedule stays at the peak. A restarted schedule repeats all of this from
    `schedule_start` on.
    """
    done = max(0, step - config.schedule_start)
    if done < config.warmup_steps:
        return (done + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    lowest = min(1.0, config.min_learning_rate / config.learning_rate)  # the decay never raises the rate
    end = (config.decay_steps or config.steps) - config.schedule_start
    if done >= end:
        return lowest
    falling = end - config.warmup_steps  # steps over which the rate falls
    if config.schedule == "wsd":
        falling = min(falling, max(1, round(config.decay_share * end)))
    progress = max(0.0, (done - end + falling) / falling)  # 0 to 1
    height = 0.5 * (1 + math.cos(math.pi * progress)) if config.schedule == "cosine" else 1 - progress  # 1 to 0
    return lowest + height * (1 - lowest)


_SHOWN_STEPS = 200  # points of a learning rate curve


def learning_rates(first: int, last: int, config: TrainConfig) -> list[tuple[int, float]]:
    """Return some steps from `first` to `last`, each with the learning rate of the next update."""
    stride = max(1, -(-(last - first) // _SHOWN_STEPS))
    steps = sorted({*range(first, last, stride), max(first, last - 1)})
    return [(step, learning_rate_at(step, config)) for step in steps]


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """Return the learning rate of one update, counted from 0."""
    return config.learning_rate * fraction_at(step, config)


WARMUP_SHARE = 0.1  # of a schedule's steps; the warm-ups of nanoGPT and our presets are shorter
LONG_WARMUP = (
    "The warm-up takes {warmup} of {steps} steps, so the learning rate is at its peak only briefly or never. Set the "
    "warm-up to {fitting} steps (train.warmup_steps={fitting})."
)
LATE_DECAY = (
    "The learning rate falls until step {decay}, but the run ends at step {steps}, before it is low. "
    "Let it fall until the last step (train.decay_steps=0)."
)


def schedule_notice(config: TrainConfig) -> tuple[str, dict[str, int]] | None:
    """Return a sentence on a schedule that does not fit the run's length, and its numbers; None if it fits."""
    if config.warmup_steps > 2 * WARMUP_SHARE * config.steps:
        fitting = int(WARMUP_SHARE * config.steps)
        return LONG_WARMUP, {"warmup": config.warmup_steps, "steps": config.steps, "fitting": fitting}
    if config.schedule != "constant" and config.decay_steps > config.steps:
        return LATE_DECAY, {"decay": config.decay_steps, "steps": config.steps}
    return None
