"""This machine's capacity and speed, the results of trials of settings, and the numerics of its runs.

A run that is resumed with the same threads, libraries and machine continues bit for bit.
"""

import hashlib
import os
import re
import threading
import time
from collections import deque
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch

from core.atomic_io import parse_json, write_json
from core.config import RunConfig
from core.errors import ConfigError
from core.paths import class_root
from core.runs.queue import Queue
from core.runs.records import RunRecord
from core.training.cost import TYPICAL_VOCABULARY, Correction, Estimate, MachineSpeed, contention, estimate
from core.training.gauge import Gauge, gauge
from core.training.hardware import Hardware, find_hardware, knows_bfloat16
from core.training.pace import Pace
from core.training.speed import PROBES_VERSION, WHY, Choice, choose_precision, measure_correction, measure_speed
from core.training.work import work_per_token

_FLOPS_WORTH_A_THREAD = 1.5e9  # per step; measured with gpt-quick (0.6e9) and gpt-tiny (3.7e9)
_MEMORY_PER_RUN = 2**30  # bytes; torch itself takes a third of it, the models of the CPU presets the rest
_BUSY_PERCENT = 40.0  # of all cores
_MAX_TRIALS = 200
_LOOK_SECONDS, _LOOKS = 1.0, 3  # between two measurements of other programs' CPU time, and how many are kept
_MIN_SECONDS = 0.2  # that such a measurement covers
# The training settings that change the time of a step. The number of steps needs no trial.
_OF_A_STEP = {"batch_size", "gradient_accumulation", "processes", "optimizer", "grad_clip", "compile"}
_DECIDE = ("torch", "numpy", "cuda")  # libraries that change the last digits, by their names in the versions


def slots(hardware: Hardware | None = None) -> int:
    """Return how many runs may train at once: one per two cores and gigabyte of memory, at least one; on a GPU one."""
    hardware = hardware or find_hardware()
    if hardware.device != "cpu":
        return 1
    return max(1, min(hardware.cores // 2, hardware.memory_bytes // _MEMORY_PER_RUN))


def threads_per_run() -> int:
    """Return the number of threads for one run: its share of the cores, or GPT_EXPLORER_THREADS."""
    variable = os.environ.get("GPT_EXPLORER_THREADS", "")
    return int(variable) if re.fullmatch("[1-9][0-9]{0,3}", variable) else max(1, find_hardware().cores // slots())


def threads_for_run(config: RunConfig, most: int) -> int:
    """Return how many threads speed up each process of a run; all processes together have at most `most`.

    In short steps, threads wait for each other: next to a browser, gpt-quick trains as fast with one as with two.
    """
    sequences, processes = config.train.batch_size // config.train.processes, config.train.processes
    flops = sequences * config.model.block_size * work_per_token(config.model, TYPICAL_VOCABULARY).flops
    return max(1, min(most // processes, round(flops / _FLOPS_WORTH_A_THREAD)))


def most_processes(hardware: Hardware) -> int:
    """Return how many processes can train one run here: one for each NVIDIA GPU, or for each core."""
    if hardware.device == "cpu":
        return hardware.cores
    return torch.cuda.device_count() if hardware.device == "cuda" else 1


def gains_by_processes(hardware: Hardware) -> bool:
    """Return whether several processes may train a run faster here, which needs several GPUs.

    On a CPU threads are enough. Processes are faster only next to other programs, because threads wait for each other
    at every operation, processes once a step (measured with 18 programs on two cores: 2.6 to 7 times as fast).
    """
    return hardware.device != "cpu" and most_processes(hardware) > 1


def check_processes(config: RunConfig, device: str | None = None) -> None:
    """Raise ConfigError if a run needs more processes than this machine has GPUs or cores."""
    wanted = config.train.processes
    if wanted == 1:
        return
    hardware = find_hardware(device or config.train.device)
    most = most_processes(hardware)
    if wanted > most:
        what = {"cpu": "core", "cuda": "NVIDIA GPU"}.get(hardware.device, "GPU that processes can share")
        raise ConfigError(
            f"{wanted} processes are too many: this machine has {most} {what}{'s' * (most != 1)}, and each process "
            "needs one."
        )


def is_measured(data_dir: Path, hardware: Hardware, threads: int) -> bool:
    """Return whether the machine's speed with that many threads is cached and was measured while it was idle."""
    cached = _cached_speeds(data_dir, hardware).get(threads)
    return cached is not None and not cached["busy"]


def machine_speed(data_dir: Path, hardware: Hardware, threads: int, *, again_if_busy: bool = False) -> MachineSpeed:
    """Return this machine's speed with that many threads; measure it if not cached (or if it was busy, on request)."""
    cached = _cached_speeds(data_dir, hardware)
    if threads in cached and not (again_if_busy and cached[threads]["busy"]):
        return MachineSpeed.parse(cached[threads]["speed"])
    busy = psutil.cpu_percent(interval=0.2) > _BUSY_PERCENT
    if busy and threads in cached:
        return MachineSpeed.parse(cached[threads]["speed"])
    speed = measure_speed(threads, hardware.device)
    cached = _cached_speeds(data_dir, hardware) | {threads: {"busy": busy, "speed": speed.model_dump()}}
    _write_cache(data_dir, hardware, "machine.json", speeds=list(cached.values()))
    return speed


def run_precision(config: RunConfig, hardware: Hardware, threads: int, data_dir: Path) -> Choice:
    """Return the precision in the settings, else the fastest. The machine is measured only if needed."""
    if config.train.precision != "auto":
        return Choice(config.train.precision, WHY["asked"])
    if hardware.device == "cuda" and knows_bfloat16("cuda"):
        return Choice("bfloat16", WHY["graphics card"])
    return choose_precision(config, machine_speed(data_dir, hardware, threads))


def _cached_speeds(data_dir: Path, hardware: Hardware) -> dict[int, dict[str, Any]]:
    try:
        entries = _read_cache(data_dir, hardware, "machine.json")["speeds"]
        return {MachineSpeed.parse(entry["speed"]).threads: {"busy": bool(entry["busy"])} | entry for entry in entries}
    except (KeyError, TypeError, ConfigError):
        return {}


def _read_cache(data_dir: Path, hardware: Hardware, name: str) -> dict[str, Any]:
    """Return a cache from the data folder (a class shares one); empty if it is damaged or from another machine."""
    try:
        data = parse_json((class_root(data_dir) / name).read_bytes())
        return data if data["machine"] == _machine(hardware) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _write_cache(data_dir: Path, hardware: Hardware, name: str, **content: Any) -> None:
    write_json(class_root(data_dir) / name, {"machine": _machine(hardware), **content})


def _machine(hardware: Hardware) -> str:
    return f"{hardware.name}, torch {hardware.versions['torch']}, probes {PROBES_VERSION}"


class Numerics(NamedTuple):
    """The threads and the precision of one attempt at a run."""

    threads: int
    precision: str  # float32 or bfloat16
    changes: dict[str, Any]  # to the run's record
    notice: str  # a sentence if they differ from the run's first attempt, else empty


def resolve_numerics(
    record: RunRecord, hardware: Hardware, most_threads: int, data_dir: Path, *, begun: bool
) -> Numerics:
    """Return the threads and precision for an attempt, and a notice if the run cannot continue exactly.

    A run keeps its first number of threads if it can. `begun`: it continues from a checkpoint.
    """
    threads = min(record.threads or threads_for_run(record.config, most_threads), hardware.cores)
    precision = record.precision or run_precision(record.config, hardware, threads, data_dir).precision
    fields = {"machine": hardware.name, "threads": threads, "precision": precision, "versions": dict(hardware.versions)}
    notice = ""
    if begun:  # only fill in fields that an old run's record lacks
        fields = {name: value for name, value in fields.items() if not getattr(record, name)}
        if differences := "; ".join(_differences(record, hardware, threads)):
            notice = f"Not exact: {differences}."
    return Numerics(threads, precision, {"hardware": hardware.sentence} | fields, notice)


def _differences(record: RunRecord, hardware: Hardware, threads: int) -> Iterator[str]:
    if record.machine and record.machine != hardware.name:
        yield f"{record.machine} at the start, {hardware.name} now"
    for name in _DECIDE:
        before, now = record.versions.get(name), hardware.versions.get(name)
        if before and now and before != now:
            yield f"{name} {before} at the start, {now} now"
    if record.threads and record.threads != threads:
        yield f"{record.threads} threads at the start, {threads} now"


def cached_correction(
    config: RunConfig, vocab_size: int, hardware: Hardware, threads: int, data_dir: Path
) -> Correction | None:
    """Return the correction from an earlier trial of such a model; None if there was none."""
    key = _trial_key(config, vocab_size, hardware, threads, data_dir)
    try:
        return Correction.parse(_read_cache(data_dir, hardware, "trials.json")["trials"][key])
    except (KeyError, TypeError, ConfigError):
        return None


def estimate_run(
    config: RunConfig, vocab_size: int, data_dir: Path, text_length: int = 0, correction: Correction | None = None
) -> Estimate:
    """Estimate the cost of a run on this machine, assuming that nothing else computes.

    `correction` scales the time; by default it is that of an earlier trial of such a model, if there was one.
    """
    hardware, threads = find_hardware(config.train.device), threads_for_run(config, threads_per_run())
    speed = machine_speed(data_dir, hardware, threads)
    precision = run_precision(config, hardware, threads, data_dir).precision
    correction = correction or cached_correction(config, vocab_size, hardware, threads, data_dir)
    return estimate(config, vocab_size, speed, precision, correction or Correction(), text_length)


def run_gauge(record: RunRecord, config: RunConfig, pace: Pace, vocab_size: int, data_dir: Path) -> Gauge:
    """Compare the pace of a run, with its current settings, with this machine.

    The machine's part is left out if it was not measured yet, or if another machine trains the run.
    """
    hardware, speed = find_hardware(config.train.device), None
    if record.machine == hardware.name and (cached := _cached_speeds(data_dir, hardware).get(record.threads or 0)):
        speed = MachineSpeed.parse(cached["speed"])
    return gauge(config, vocab_size, record.precision or "float32", pace, speed, hardware.memory_bytes)


def run_trial(config: RunConfig, vocab_size: int, hardware: Hardware, threads: int, data_dir: Path) -> Correction:
    """Try the settings (one to three seconds), and cache and return the correction; sets torch's threads.

    The effect of other processes' CPU time is removed. The system's load average cannot be used for this, because it
    still contains processes that have ended, such as the previous run.
    """
    speed = machine_speed(data_dir, hardware, threads)
    precision = run_precision(config, hardware, threads, data_dir).precision
    torch.set_num_threads(threads)
    before, began = _seconds_of_others(), time.perf_counter()
    measured = measure_correction(config, vocab_size, speed, precision)
    others = (_seconds_of_others() - before) / (time.perf_counter() - began)
    times_as_long = contention(threads, _cores(hardware), max(0.0, others)) if hardware.device == "cpu" else 1.0
    correction = Correction(**{part: factor / times_as_long for part, factor in measured.model_dump().items()})
    if Queue(data_dir).active():  # a run has started meanwhile, so the result is not cached
        return correction
    trials = _read_cache(data_dir, hardware, "trials.json").get("trials", {})
    trials.pop(key := _trial_key(config, vocab_size, hardware, threads, data_dir), None)
    newest = [*trials.items(), (key, correction.model_dump())][-_MAX_TRIALS:]
    _write_cache(data_dir, hardware, "trials.json", trials=dict(newest))
    return correction


def contention_now(hardware: Hardware, threads: int, ours: int = 0) -> float:
    """Return the factor by which other programs now lengthen a run; `ours` threads of our own do not count."""
    if hardware.device != "cpu":
        return 1.0
    return contention(threads, _cores(hardware), max(0.0, other_programs().busy_cores() - ours))


class OtherPrograms:
    """CPU load of all other processes, measured by a thread, because a page cannot wait for seconds."""

    def __init__(self) -> None:
        self._looks = deque([self._look()], maxlen=_LOOKS)
        threading.Thread(target=self._watch, daemon=True, name="other programs").start()

    def busy_cores(self) -> float:
        """Return how many cores other processes kept busy in the last seconds, on average."""
        before, began = self._looks[0]
        time.sleep(max(0.0, began + _MIN_SECONDS - time.monotonic()))  # waits only right after the start
        now, ended = self._look()
        return max(0.0, (now - before) / (ended - began))

    @staticmethod
    def _look() -> tuple[float, float]:
        return _seconds_of_others(), time.monotonic()

    def _watch(self) -> None:
        while True:
            time.sleep(_LOOK_SECONDS)
            self._looks.append(self._look())


@cache
def other_programs() -> OtherPrograms:
    """Return the process's only instance, which starts measuring at the first call."""
    return OtherPrograms()


def _cores(hardware: Hardware) -> int:
    """Return the cores of the whole machine, because the system reports its whole load even in a container."""
    return max(hardware.cores, psutil.cpu_count() or 1)


def _seconds_of_others() -> float:
    """Return the CPU seconds of all other processes since the machine started."""
    machine, own = psutil.cpu_times(), psutil.Process().cpu_times()
    return sum(machine) - machine.idle - getattr(machine, "iowait", 0.0) - own.user - own.system


def _trial_key(config: RunConfig, vocab_size: int, hardware: Hardware, threads: int, data_dir: Path) -> str:
    """Return a hash of everything that a trial depends on; runs that differ only in length have the same hash."""
    speed = machine_speed(data_dir, hardware, threads)
    parts = [
        config.model.model_dump_json(),
        config.train.model_dump_json(include=_OF_A_STEP),
        run_precision(config, hardware, threads, data_dir).precision,
        speed.to_json(),  # a correction is valid only for the speed it was computed with
        str((vocab_size, threads)),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]
