"""From scores to probabilities to surprise, by hand: what `F.cross_entropy` does in one call."""

from typing import NamedTuple

from torch import Tensor


class CrossEntropySteps(NamedTuple):
    """One guess, worked out."""

    score: float  # the logit of the token that came
    power: float  # e to that score
    total: float  # the sum of such powers over the whole alphabet
    probability: float  # power / total
    loss: float  # -ln probability, in nats


def cross_entropy_steps(logits: Tensor, target: int) -> CrossEntropySteps:
    """How surprised a model with these logits (V,) is by the token that truly came: its cross-entropy."""
    powers = logits.exp()  # every score becomes positive
    total = powers.sum()  # and divided by their sum they are shares of one whole
    probability = powers[target] / total
    loss = -probability.log()
    return CrossEntropySteps(*(float(number) for number in (logits[target], powers[target], total, probability, loss)))
