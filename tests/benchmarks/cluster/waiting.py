"""Simulate how long 1,000 runs of 100 students wait for 16 GPUs: the queue's rule against first come, first served.

The queue is the real one, with a simulated clock. Ten students start a sweep of forty runs each within the first hour.
Ninety start six or seven runs each, one at a time, over four hours. Durations are exponential, on average four minutes.
"""

import heapq
import random
import tempfile
from pathlib import Path

import numpy as np

from core.runs.queue import Queue

GPUS, STUDENTS, RUNS, SWEEPS, SWEEP_RUNS = 16, 100, 1000, 10, 40
HOURS, MEAN_MINUTES = 4.0, 4.0


def measure() -> dict[str, float]:
    """Return the minutes that runs wait under both rules."""
    figures: dict[str, float] = {}
    for rule, fair in (("fair queue", True), ("first come, first served", False)):
        waits = _simulate(fair)
        for who, of in (("a student's single runs", False), ("the runs of sweeps", True)):
            minutes = [wait for is_sweep, wait in waits if is_sweep == of]
            figures[f"{rule}: {who} wait, mean minutes"] = round(float(np.mean(minutes)), 1)
            figures[f"{rule}: {who} wait, 95th percentile"] = round(float(np.percentile(minutes, 95)), 1)
        figures[f"{rule}: all runs wait, mean minutes"] = round(float(np.mean([wait for _is_sweep, wait in waits])), 1)
    return figures


def _simulate(fair: bool) -> list[tuple[bool, float]]:
    """Return for each run whether it is one of a sweep, and the minutes that it waited."""
    rng = random.Random(1337)
    arrivals = _arrivals(rng)
    minutes = {id: rng.expovariate(1 / MEAN_MINUTES) for _time, id, _student, _sweep in arrivals}
    waits, ends, sweeps = [], list[tuple[float, str]](), {id: sweep for _time, id, _student, sweep in arrivals}
    arrived = {id: time for time, id, _student, _sweep in arrivals}
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        (Path(folder) / "runs").mkdir()
        queue, coming = Queue(Path(folder)), list(reversed(arrivals))
        while coming or ends:
            if coming and (not ends or coming[-1][0] <= ends[0][0]):
                now, id, student, _sweep = coming.pop()
                queue.put(id, student if fair else "")
            else:
                now, id = heapq.heappop(ends)
                queue.remove(id)
            while id := queue.claim("simulation", GPUS):
                waits.append((sweeps[id], now - arrived[id]))
                heapq.heappush(ends, (now + minutes[id], id))
    return waits


def _arrivals(rng: random.Random) -> list[tuple[float, str, str, bool]]:
    """Return the minute, id and student of each run, in order, and whether it is one of a sweep."""
    arrivals = []
    for student in range(SWEEPS):
        start = rng.uniform(0, 60)
        arrivals += [(start, f"sweep-{student}-{run}", f"student-{student}", True) for run in range(SWEEP_RUNS)]
    for run in range(RUNS - len(arrivals)):
        student = SWEEPS + run % (STUDENTS - SWEEPS)
        arrivals.append((rng.uniform(0, 60 * HOURS), f"single-{run}", f"student-{student}", False))
    return sorted(arrivals)


if __name__ == "__main__":
    for name, figure in measure().items():
        print(f"{name}: {figure:.1f}")
