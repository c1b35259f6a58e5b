"""How far each step may move the weights: up over the warm-up, then down along half a cosine wave or a line."""

import math

from core.config import TrainConfig


def fraction_at(step: int, config: TrainConfig) -> float:
    """The share of its highest learning rate that one update gets, counted from 0, as in nanoGPT.

    The warm-up is linear and never quite zero, so that the first step already learns. After it the rate falls from
    `learning_rate` to `min_learning_rate` over the steps that are left, or those until `decay_steps`: along half a
    cosine wave (Loshchilov and Hutter 2016), in a straight line (Defazio 2023), or it stays. A restarted schedule
    does all of this again from `schedule_start` on.
    """
    done = max(0, step - config.schedule_start)
    if done < config.warmup_steps:
        return (done + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return 1.0
    lowest = min(1.0, config.min_learning_rate / config.learning_rate)  # it never rises
    end = (config.decay_steps or config.steps) - config.schedule_start
    if done >= end:
        return lowest
    progress = (done - config.warmup_steps) / (end - config.warmup_steps)  # 0 to 1
    height = 1 - progress if config.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress))  # 1 to 0
    return lowest + height * (1 - lowest)


def learning_rates(first: int, last: int, config: TrainConfig, most: int = 200) -> list[tuple[int, float]]:
    """Return steps done from `first` to `last`, at most so many of them, each with the rate of the update after it."""
    stride = max(1, -(-(last - first) // most))
    steps = sorted({*range(first, last, stride), max(first, last - 1)})
    return [(step, learning_rate_at(step, config)) for step in steps]


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of one update, counted from 0."""
    return config.learning_rate * fraction_at(step, config)
