"""Readings of a run's health: a sentence on each measurement, with advice if it shows trouble."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from core.formatting import format_percent, head_name
from core.training.health import Health

TINY, LARGE = 0.02, 5.0  # root mean squares of the inputs of a nonlinearity; healthy ones lie around 0.1 to 2
MAX_APART = 100  # factor by which a gradient or the residual stream may grow between the ends of the model
SLOW, USUAL, FAST = 1e-4, 1e-3, 1e-2  # update-to-weight ratios; USUAL is the line of makemore, part 3
UNSTEADY = 0.1
MAX_DEAD = 0.1
UNIFORM, SATURATED = 0.98, 0.1  # entropies

SENTENCES = {
    "activations": "The inputs of every nonlinearity have a good size: root mean square {least} to {most}.",
    "activations attention": "The outputs of attention have root mean squares of {least} to {most}.",
    "activations tiny": "Block {block}: activations are tiny (root mean square {value}), so its nonlinearity is nearly "
    "a straight line. Use normalization, or larger initial weights.",
    "activations large": "Block {block}: activations are large (root mean square {value}), so units saturate or grow "
    "without bound. Use smaller initial weights, normalization, or a lower learning rate.",
    "gradients": "Gradients have a similar size in all blocks: {first} in the first, {last} in the last.",
    "gradients none": "No gradient reaches any block yet: that is the zero initialization.",
    "gradients zero": "No gradient reaches block {block}: its units are dead. Lower the learning rate, or use a "
    "smoother activation function such as gelu.",
    "gradients vanishing": "Gradients vanish on their way down: {first} in block 1, {last} in block {block}. Use "
    "residual connections and normalization.",
    "gradients exploding": "Gradients explode on their way down: {first} in block 1, {last} in block {block}. Use "
    "normalization, gradient clipping, or a lower learning rate.",
    "updates": "One step changes a matrix by {value} of its norm (median), near the line at 1e-3.",
    "updates none": "No step has been taken, so there is no update yet.",
    "updates absent": "The update was not measured at this step.",
    "updates fast": (
        "One step changes a matrix by {value} of its norm (median), above the line at 1e-3. Adam often starts like "
        "this; if the loss jumps, lower the learning rate."
    ),
    "updates unsteady": "One step changes a matrix by {value} of its norm (median), over a hundred times the line at "
    "1e-3. Lower the learning rate, or lengthen the warm-up.",
    "updates slow": "One step changes a matrix by {value} of its norm (median), far below the line at 1e-3: training "
    "is slow. Raise the learning rate.",
    "updates ending": "One step changes a matrix by {value} of its norm (median), because the schedule has the "
    "learning rate at {rate} of its peak.",
    "dead": "Almost no dead units: {share} at most, in block {block}.",
    "dead none": "No dead units: every unit passes on gradient at some token.",
    "dead many": "Block {block}'s MLP is {share} dead: these units pass on no gradient at any token. Lower the "
    "learning rate, or use a smoother activation function such as gelu.",
    "entropy": "Attention is neither uniform nor saturated: heads have {least} to {most} of the entropy of uniform "
    "attention.",
    "entropy uniform": (
        "Attention is still nearly uniform in all heads, as is usual in the first steps. If it stays uniform, use "
        "normalization or a higher learning rate."
    ),
    "entropy sharp": "Head {head} attends to about one token (entropy {value} of uniform attention). If the loss "
    "falls, that is a learned role.",
    "entropy saturated": "Block {block}: the softmax of all heads is saturated (entropy {value} of uniform attention), "
    "so they hardly learn. Scale attention, normalize queries and keys, or use a lower learning rate.",
    "norms": "The residual stream's norm goes from {first} before the first block to {last} after the last.",
    "norms exploding": "The residual stream explodes from {first} before the first block to {last} after the last. "
    "Use a lower learning rate, or smaller initial weights.",
    "norms vanishing": "The residual stream vanishes from {first} before the first block to {last} after the last. "
    "Use residual connections, or larger initial weights.",
}
_TROUBLE = ("tiny", "large", "zero", "vanishing", "exploding", "unsteady", "slow", "many", "saturated")


class Reading(NamedTuple):
    """The verdict on one measurement."""

    kind: str  # one of SENTENCES; its first word names the measurement
    numbers: dict[str, str]  # formatted values for the sentence's placeholders

    @property
    def trouble(self) -> bool:
        """Return whether the user should do something."""
        return self.kind.split()[-1] in _TROUBLE

    @property
    def sentence(self) -> str:
        return SENTENCES[self.kind].format(**self.numbers)


def read_all(health: Health) -> dict[str, Reading]:
    """Return the reading of every measurement, by its name; for dead units only if the model has units."""
    readings = [_activations(health), _gradients(health), _updates(health)]
    if len(health.dead):
        readings.append(_dead(health.dead))
    readings += [_entropy(health.entropy), _norms(health.norms)]
    return {reading.kind.split()[0]: reading for reading in readings}


def troubles(history: Iterable[Health]) -> list[tuple[int, Reading]]:
    """Return each kind of trouble in a training, with the step at which it was first measured."""
    first: dict[str, tuple[int, Reading]] = {}
    for health in history:
        for reading in read_all(health).values():
            if reading.trouble:
                first.setdefault(reading.kind, (health.step, reading))
    return list(first.values())


def _activations(health: Health) -> Reading:
    rms = health.activation_rms
    least, most = int(rms.argmin()), int(rms.argmax())
    if not len(health.dead):  # no feed-forward layers: attention's outputs may be small
        return Reading("activations attention", {"least": _short(rms[least]), "most": _short(rms[most])})
    if rms[least] < TINY:
        return Reading("activations tiny", {"block": str(least + 1), "value": _short(rms[least])})
    if rms[most] > LARGE:
        return Reading("activations large", {"block": str(most + 1), "value": _short(rms[most])})
    return Reading("activations", {"least": _short(rms[least]), "most": _short(rms[most])})


def _gradients(health: Health) -> Reading:
    rms = health.gradient_rms
    first, last = float(rms[0]), float(rms[-1])
    numbers = {"first": _short(first), "last": _short(last), "block": str(len(rms))}
    if not rms.all():
        zero = {"block": str(int(rms.argmin()) + 1)}
        return Reading("gradients zero", zero) if health.step else Reading("gradients none", {})
    if first * MAX_APART < last:
        return Reading("gradients vanishing", numbers)
    return Reading("gradients exploding" if last * MAX_APART < first else "gradients", numbers)


def _updates(health: Health) -> Reading:
    if not health.updates:
        return Reading("updates absent" if health.step else "updates none", {})
    ratio = float(np.median(list(health.updates.values())))
    numbers = {"value": _short(ratio), "rate": format_percent(health.rate)}
    if ratio < SLOW:
        return Reading("updates slow" if health.rate > 0.5 else "updates ending", numbers)
    kind = "updates unsteady" if ratio >= UNSTEADY else "updates fast" if ratio >= FAST else "updates"
    return Reading(kind, numbers)


def _dead(dead: np.ndarray) -> Reading:
    block = int(dead.argmax())
    if not dead[block]:
        return Reading("dead none", {})
    numbers = {"block": str(block + 1), "share": format_percent(float(dead[block]))}
    return Reading("dead many" if dead[block] > MAX_DEAD else "dead", numbers)


def _entropy(entropy: np.ndarray) -> Reading:
    of_layers = entropy.mean(axis=1)
    layer, head = np.unravel_index(int(entropy.argmin()), entropy.shape)
    if of_layers.min() < SATURATED:
        block = int(of_layers.argmin())
        return Reading("entropy saturated", {"block": str(block + 1), "value": format_percent(float(of_layers[block]))})
    if entropy.min() > UNIFORM:
        return Reading("entropy uniform", {})
    least, most = (format_percent(float(value)) for value in (entropy.min(), entropy.max()))
    if entropy.min() < SATURATED:
        return Reading("entropy sharp", {"head": head_name(int(layer), int(head)), "value": least})
    return Reading("entropy", {"least": least, "most": most})


def _norms(norms: np.ndarray) -> Reading:
    first, last = float(norms[0]), float(norms[-1])
    numbers = {"first": _short(first), "last": _short(last)}
    if last > MAX_APART * first:
        return Reading("norms exploding", numbers)
    return Reading("norms vanishing" if 10 * last < first else "norms", numbers)


def _short(value: float) -> str:
    """Format with two digits: 0.14, 12, 1.4e-5."""
    if value and not 0.01 <= abs(value) < 10_000:
        digits, exponent = f"{value:.1e}".split("e")
        return f"{digits}e{int(exponent)}"
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2g}"
