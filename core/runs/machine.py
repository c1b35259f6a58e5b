"""What is known of this machine's speed: measured once, then kept in the home for every process."""

from pathlib import Path

import psutil

from core.atomic_io import parse_json, write_json
from core.config import RunConfig
from core.errors import ConfigError
from core.training.cost import MachineSpeed
from core.training.hardware import Hardware, knows_bfloat16
from core.training.speed import WHY, Choice, choose_precision, measure_speed

_BUSY_PERCENT = 40.0  # of all cores


def machine_speed(data_dir: Path, hardware: Hardware, threads: int, *, again_if_busy: bool = False) -> MachineSpeed:
    """How fast this machine trains with so many threads: as kept, else measured, which takes a few seconds.

    Args:
        hardware: what is trained on.
        again_if_busy: measure again what was measured while the machine was busy with something else, and is
            therefore only a makeshift.
    """
    machine = f"{hardware.name}, torch {hardware.versions['torch']}"
    path = data_dir / "machine.json"
    kept = _kept(path, machine)
    if threads in kept and not (again_if_busy and kept[threads]["busy"]):
        return MachineSpeed.parse(kept[threads]["speed"])
    busy = psutil.cpu_percent(interval=0.2) > _BUSY_PERCENT
    if busy and threads in kept:
        return MachineSpeed.parse(kept[threads]["speed"])
    speed = measure_speed(threads, hardware.device)
    kept = _kept(path, machine) | {threads: {"busy": busy, "speed": speed.model_dump()}}
    write_json(path, {"machine": machine, "speeds": list(kept.values())})
    return speed


def run_precision(config: RunConfig, hardware: Hardware, threads: int, data_dir: Path) -> Choice:
    """What the settings ask for, else what is fastest. The machine is measured only where that is open."""
    if config.train.precision != "auto":
        return Choice(config.train.precision, WHY["asked"])
    if hardware.device == "cuda" and knows_bfloat16("cuda"):
        return Choice("bfloat16", WHY["graphics card"])
    return choose_precision(config, machine_speed(data_dir, hardware, threads))


def _kept(path: Path, machine: str) -> dict[int, dict]:
    """By number of threads; none where they were never measured, or on another machine."""
    try:
        found = parse_json(path.read_bytes())
        entries = found["speeds"] if found["machine"] == machine else []
        return {MachineSpeed.parse(entry["speed"]).threads: {"busy": bool(entry["busy"])} | entry for entry in entries}
    except (OSError, ValueError, KeyError, TypeError, ConfigError):
        return {}
