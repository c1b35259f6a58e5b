"""What decides the last digits of a run's numbers: settled by its first worker, kept by later ones where they can.

Sums of floating-point numbers depend on their order, so on the number of threads, the library and the machine. A run
that goes on with the same ones goes on bit for bit; one that cannot says so.
"""

from typing import Any, NamedTuple

from core.runs.capacity import threads_for
from core.runs.records import RunRecord
from core.training.hardware import Hardware

_DECIDE = ("torch", "numpy", "cuda")  # libraries, by their name in the versions


class Circumstances(NamedTuple):
    """How this attempt computes."""

    threads: int
    precision: str  # float32 or bfloat16
    changes: dict[str, Any]  # to the run's record
    notice: str  # a sentence where it is not as the run began; else empty


def settle(record: RunRecord, hardware: Hardware, most_threads: int, *, begun: bool) -> Circumstances:
    """Threads and precision for this attempt, and what to tell about it.

    Args:
        most_threads: that a run which begins may take. One that goes on takes as many as it began with, if the machine
            has them.
        begun: there is a checkpoint to go on from.
    """
    threads = record.threads or threads_for(record.config, most_threads)
    here = {"hardware": hardware.sentence}
    if threads > hardware.cores:
        threads = threads_for(record.config, most_threads)
    precision = record.precision or _precision(record)
    ours = {"machine": hardware.name, "threads": threads, "precision": precision, "versions": dict(hardware.versions)}
    if not begun:
        return Circumstances(threads, precision, here | ours, "")
    unknown = {
        name: value for name, value in ours.items() if not getattr(record, name)
    }  # a run of before they were kept
    reasons = []
    if record.machine not in (None, hardware.name):
        reasons.append(f"{record.machine} began it, {hardware.name} goes on")
    for name in _DECIDE:
        before, now = record.versions.get(name), hardware.versions.get(name)
        if record.versions and before != now:
            reasons.append(f"{name} {before or 'not installed'} began it, {now or 'without it'} goes on")
    if record.threads not in (None, threads):
        reasons.append(
            f"{_threads(record.threads)} began it, {_threads(threads)} {'goes' if threads == 1 else 'go'} on"
        )
    return Circumstances(threads, precision, here | unknown, f"Not exact: {'; '.join(reasons)}." if reasons else "")


def _precision(record: RunRecord) -> str:
    return "float32" if record.config.train.precision == "auto" else record.config.train.precision


def _threads(count: int) -> str:
    return f"{count} thread" + "s" * (count != 1)
