"""How many runs this machine bears at once, and how many threads each of them gets."""

import os

from core.training.hardware import find_hardware

_MEMORY_PER_RUN = 2**30  # bytes: torch itself takes a third of it, the models of the presets for a processor the rest


def slots() -> int:
    """Runs that may train at once: two cores and a gigabyte for each, and at least one."""
    hardware = find_hardware()
    return max(1, min(hardware.cores // 2, hardware.memory_bytes // _MEMORY_PER_RUN))


def threads() -> int:
    """Threads for one run: its share of the cores, or what GPT_EXPLORER_THREADS says."""
    asked = os.environ.get("GPT_EXPLORER_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else max(1, find_hardware().cores // slots())
