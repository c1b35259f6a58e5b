"""A run's speed compared with its machine's: what its time is spent on, and what would give more tokens per second.

The run itself measures its steps, evaluations, samples and writing (`core.training.pace`). The parts of a step are the
estimates of `core.training.cost`, scaled to the measured step time.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from core.config import RunConfig
from core.errors import ConfigError
from core.training.cost import MachineSpeed, evaluation_seconds, memory_needed, parts_of_a_step, tokens_of_a_step
from core.training.pace import Pace
from core.training.work import work_of_update, work_per_token

# What a run's time is spent on, in the order of the chart.
PARTS = {
    "peak": "Matrix products, at the peak",
    "products": "Matrix products, below the peak",
    "memory": "Reading and writing numbers",
    "casting": "Casting to bfloat16 and back",
    "calls": "Calls of PyTorch functions",
    "dropout": "Random numbers of dropout",
    "waiting": "Other programs",
    "evaluation": "Evaluation",
    "sampling": "Sampling",
    "logging": "Logging and saving",
    "step": "Training steps",  # in place of the first six, if the machine was not measured
}
ADVICE = {
    "batch": "Batch size {before} → {after}: {times}× the tokens per second.",
    "accumulation": "Gradient accumulation {before} → {after}: {times}× the tokens per second.",
    "precision": "Precision {before} → {after}: {times}× the tokens per second.",
    "evaluation": "Evaluate every {before} → {after} steps: {times}× the tokens per second.",
    "sampling": "Sample every {before} → {after} steps: {times}× the tokens per second.",
    "waiting": "Other programs use the processor. Without them: {times}× the tokens per second.",
}
_BATCHES = (8, 16, 32, 64, 128, 256, 512)
_ENOUGH = 0.9  # share of the highest speed of all larger batches; a batch beyond it gains little
_OFTEN = 4  # factor by which advice lengthens the interval of evaluations or samples
_WORTH_IT = 1.1  # smallest factor in tokens per second that advice is shown for
_MAX_ADVICE = 3


class Advice(NamedTuple):
    """One change that would make a run faster on its own."""

    kind: str  # one of ADVICE
    times: float  # factor in tokens per second
    changes: dict[str, Any]  # to the settings
    before: str = ""
    after: str = ""

    @property
    def numbers(self) -> dict[str, str]:
        return {"before": self.before, "after": self.after, "times": f"{self.times:.1f}"}


class Gauge(NamedTuple):
    """The speed of a run compared with its machine's."""

    tokens_per_second: float  # with evaluations, samples and writing
    peak: float | None  # the machine's measured speed of matrix products, FLOP/s; None if unknown
    peak_share: float | None  # share of the peak that the run uses
    shares: dict[str, float]  # of the run's seconds, by the keys of PARTS; the sum is 1
    advice: list[Advice]  # most helpful first


def gauge(
    config: RunConfig,
    vocab_size: int,
    precision: str,
    pace: Pace,
    speed: MachineSpeed | None,
    free: float = float("inf"),
) -> Gauge:
    """Compare a run's pace with its machine; advice must fit in `free` bytes of memory."""
    tokens = tokens_of_a_step(config) * config.train.processes
    seconds = _parts_of_the_step(config, vocab_size, precision, pace, speed)
    seconds |= {name: getattr(pace, name) for name in ("waiting", "evaluation", "sampling", "logging")}
    whole = max(1e-9, pace.whole)
    peak = speed.peak[precision] if speed and precision in speed.peak else None
    share = _seconds_at_peak(config, vocab_size, precision, speed) / whole if speed and peak else None
    advice = sorted(
        (each for each in _advice(config, vocab_size, precision, pace, speed, free) if each.times >= _WORTH_IT),
        key=lambda each: -each.times,
    )
    shares = {name: seconds[name] / whole for name in PARTS if seconds.get(name)}
    return Gauge(tokens / whole, peak, share, shares, advice[:_MAX_ADVICE])


def _parts_of_the_step(
    config: RunConfig, vocab_size: int, precision: str, pace: Pace, speed: MachineSpeed | None
) -> dict[str, float]:
    """Return the seconds in which a step computes, split among its parts in proportion to their estimates."""
    computing = pace.training - pace.waiting
    if speed is None:
        return {"step": computing}
    expected = parts_of_a_step(config, vocab_size, speed, precision)._asdict()
    at_peak = min(computing, _seconds_at_peak(config, vocab_size, precision, speed))
    expected["products"] = max(0.0, expected["products"] - at_peak)
    scale = (computing - at_peak) / max(1e-12, sum(expected.values()))
    return {"peak": at_peak} | {name: seconds * scale for name, seconds in expected.items()}


def _seconds_at_peak(config: RunConfig, vocab_size: int, precision: str, speed: MachineSpeed) -> float:
    """Return the seconds of one step's matrix products at the machine's measured peak."""
    products = tokens_of_a_step(config) * work_per_token(config.model, vocab_size, precision).flops
    update = work_of_update(config.model, vocab_size, config.train.optimizer).flops
    fastest = max(speed.peak.values())  # Muon's products use bfloat16 if the machine supports it
    return products / speed.peak.get(precision, fastest) + update / fastest


def _advice(
    config: RunConfig, vocab_size: int, precision: str, pace: Pace, speed: MachineSpeed | None, free: float
) -> Iterator[Advice]:
    train = config.train
    for kind, path, spent in (
        ("evaluation", "eval_interval", pace.evaluation),
        ("sampling", "sample_interval", pace.sampling),
    ):
        before = getattr(train, path)
        if (after := min(_OFTEN * before, train.steps)) > before:
            times = pace.whole / (pace.whole - spent + spent * before / after)
            yield Advice(kind, times, {f"train.{path}": after}, f"{before:,}", f"{after:,}")
    if speed is None:
        return
    other = "bfloat16" if precision == "float32" else "float32"
    if other in speed.peak:
        times = _times(config, config, vocab_size, pace, speed, (precision, other))
        yield Advice("precision", times, {"train.precision": other}, precision, other)
    yield Advice("waiting", pace.slowdown, {})
    for kind, path, values in (
        ("batch", "batch_size", [batch for batch in _BATCHES if batch > train.batch_size]),
        ("accumulation", "gradient_accumulation", [1] if train.gradient_accumulation > 1 else []),
    ):
        changes = [{f"train.{path}": value} for value in values]
        fitting = [each for each in changes if _fits(config, each, vocab_size, precision, free)]
        speeds = [_step_speed(config.replace(each), vocab_size, precision, speed) for each in fitting]
        for change, reached in zip(fitting, speeds, strict=True):
            if reached >= _ENOUGH * max(speeds):
                times = _times(config, config.replace(change), vocab_size, pace, speed, (precision, precision))
                yield Advice(kind, times, change, str(getattr(train, path)), str(*change.values()))
                break


def _fits(config: RunConfig, changes: dict[str, Any], vocab_size: int, precision: str, free: float) -> bool:
    try:
        return memory_needed(config.replace(changes), vocab_size, precision) <= free
    except ConfigError:  # the processes cannot share such a batch
        return False


def _step_speed(config: RunConfig, vocab_size: int, precision: str, speed: MachineSpeed) -> float:
    """Return the expected tokens per second of steps alone: a larger batch must not win by making evaluations rarer."""
    return tokens_of_a_step(config) / sum(parts_of_a_step(config, vocab_size, speed, precision))


def _times(
    config: RunConfig, changed: RunConfig, vocab_size: int, pace: Pace, speed: MachineSpeed, precisions: tuple[str, str]
) -> float:
    """Return the factor by which changed settings would raise the tokens per second of a run with this pace."""
    both = list(zip((config, changed), precisions, strict=True))
    step, step_then = (sum(parts_of_a_step(each, vocab_size, speed, precision)) for each, precision in both)
    windows, windows_then = (evaluation_seconds(each, vocab_size, speed, precision) for each, precision in both)
    then = pace.training * step_then / step + pace.evaluation * windows_then / windows + pace.sampling + pace.logging
    return pace.whole / then * tokens_of_a_step(changed) / tokens_of_a_step(config)
