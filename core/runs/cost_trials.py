"""What trials of settings have shown on this machine: each tried once, then kept in the home for every process."""

import hashlib
from pathlib import Path

import torch

from core.atomic_io import parse_json, write_json
from core.config import RunConfig
from core.errors import ConfigError
from core.runs.machine import machine_speed, run_precision
from core.runs.queue import Queue
from core.training.cost import Correction
from core.training.hardware import Hardware
from core.training.speed import try_out

_MOST_KEPT = 200
# Of training, what changes how long a step takes. How many there are is counted, not tried.
_OF_A_STEP = {"batch_size", "optimizer", "grad_clip", "compile"}


def kept_correction(
    config: RunConfig, vocab_size: int, hardware: Hardware, threads: int, data_dir: Path
) -> Correction | None:
    """What an earlier trial of such a model has shown; None if there was none."""
    entry = _kept(data_dir, hardware).get(_key(config, vocab_size, hardware, threads, data_dir))
    try:
        return Correction.parse(entry) if entry else None
    except ConfigError:
        return None


def run_trial(config: RunConfig, vocab_size: int, hardware: Hardware, threads: int, data_dir: Path) -> Correction:
    """Try the settings out (one to three seconds) and keep what that shows.

    Meant for a process of its own that does nothing else, as a worker: it sets torch's threads.
    """
    speed = machine_speed(data_dir, hardware, threads)
    precision = run_precision(config, hardware, threads, data_dir).precision
    torch.set_num_threads(threads)
    found = try_out(config, vocab_size, speed, precision)
    if Queue(data_dir).active():  # somebody has begun to train meanwhile: that is no fair trial
        return found
    kept = _kept(data_dir, hardware)
    kept.pop(key := _key(config, vocab_size, hardware, threads, data_dir), None)
    newest = [*kept.items(), (key, found.model_dump())][-_MOST_KEPT:]
    write_json(_path(data_dir), {"machine": _machine(hardware), "trials": dict(newest)})
    return found


def _key(config: RunConfig, vocab_size: int, hardware: Hardware, threads: int, data_dir: Path) -> str:
    """Stands for all that a trial depends on: the same for runs that differ in their length, say."""
    speed = machine_speed(data_dir, hardware, threads)
    parts = [
        config.model.model_dump_json(),
        config.train.model_dump_json(include=_OF_A_STEP),
        run_precision(config, hardware, threads, data_dir).precision,
        speed.to_json(),  # corrected is what was reckoned with it
        str((vocab_size, threads)),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:24]


def _kept(data_dir: Path, hardware: Hardware) -> dict[str, dict]:
    try:
        found = parse_json(_path(data_dir).read_bytes())
        return dict(found["trials"]) if found["machine"] == _machine(hardware) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _path(data_dir: Path) -> Path:
    return data_dir / "trials.json"


def _machine(hardware: Hardware) -> str:
    return f"{hardware.name}, torch {hardware.versions['torch']}"
