"""How far each step may move the weights: up over the warm-up, then down along half a cosine wave."""

import math

from core.config import TrainConfig


def learning_rate_at(step: int, config: TrainConfig) -> float:
    """The learning rate of one update, counted from 0, as nanoGPT computes it.

    The warm-up is linear and never quite zero, so that the first step already learns. After it the rate falls from
    `learning_rate` to `min_learning_rate` over the steps that are left, or those until `decay_steps`
    (Loshchilov and Hutter 2016), or stays.
    """
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / (config.warmup_steps + 1)
    if config.schedule == "constant":
        return config.learning_rate
    end = config.decay_steps or config.steps
    if step >= end:
        return config.min_learning_rate
    progress = (step - config.warmup_steps) / (end - config.warmup_steps)  # 0 to 1
    height = 0.5 * (1 + math.cos(math.pi * progress))  # 1 to 0
    return config.min_learning_rate + height * (config.learning_rate - config.min_learning_rate)
