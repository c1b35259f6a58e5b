"""What decides the last digits of a run's numbers: settled by its first worker, kept by later ones where they can.

Sums of floating-point numbers depend on their order, so on the number of threads, the library and the machine. A run
that goes on with the same ones goes on bit for bit; one that cannot says so.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from core.runs.capacity import threads_for
from core.runs.machine import run_precision
from core.runs.records import RunRecord
from core.training.hardware import Hardware

_DECIDE = ("torch", "numpy", "cuda")  # libraries, by their name in the versions


class Circumstances(NamedTuple):
    """How this attempt computes."""

    threads: int
    precision: str  # float32 or bfloat16
    changes: dict[str, Any]  # to the run's record
    notice: str  # a sentence where it is not as the run began; else empty


def resolve_numerics(
    record: RunRecord, hardware: Hardware, most_threads: int, data_dir: Path, *, begun: bool
) -> Circumstances:
    """Threads and precision for this attempt, and what to tell about it.

    Args:
        most_threads: that a run which begins may take. One that goes on takes as many as it began with, if the machine
            has them.
        home: where the speed of this machine is kept, which decides the precision that the settings leave open.
        begun: there is a checkpoint to go on from.
    """
    threads = min(record.threads or threads_for(record.config, most_threads), hardware.cores)
    precision = record.precision or run_precision(record.config, hardware, threads, data_dir).precision
    ours = {"machine": hardware.name, "threads": threads, "precision": precision, "versions": dict(hardware.versions)}
    if begun:  # what an old run's record lacks is filled in; what it has stays
        told = "; ".join(_differences(record, hardware, threads))
        ours = {name: value for name, value in ours.items() if not getattr(record, name)}
    else:
        told = ""
    changes = {"hardware": hardware.sentence} | ours
    return Circumstances(threads, precision, changes, f"Not exact: {told}." if told else "")


def _differences(record: RunRecord, hardware: Hardware, threads: int) -> Iterator[str]:
    """What is not as the run began, and changes the last digits."""
    if record.machine and record.machine != hardware.name:
        yield f"{record.machine} began it, {hardware.name} goes on"
    for name in _DECIDE:
        before, now = record.versions.get(name), hardware.versions.get(name)
        if before and now and before != now:
            yield f"{name} {before} began it, {now} goes on"
    if record.threads and record.threads != threads:
        yield f"{record.threads} threads began it, this machine has {threads}"
