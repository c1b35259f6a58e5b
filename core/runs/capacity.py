"""How many runs this machine bears at once, and how many threads each of them gets."""

import os
import re

from core.config import RunConfig
from core.training.hardware import Hardware, find_hardware
from core.training.work import work_per_token

_FLOPS_WORTH_A_THREAD = 1.5e9  # of one step; measured with gpt-quick (0.6e9) and gpt-tiny (3.7e9)
_SOME_VOCABULARY = 80
_MEMORY_PER_RUN = 2**30  # bytes: torch itself takes a third of it, the models of the presets for a processor the rest


def slots() -> int:
    """Runs that may train at once: two cores and a gigabyte for each, at least one; on a GPU just one."""
    return slots_on(find_hardware())


def slots_on(hardware: Hardware) -> int:
    if hardware.device != "cpu":
        return 1
    return max(1, min(hardware.cores // 2, hardware.memory_bytes // _MEMORY_PER_RUN))


def threads() -> int:
    """Threads for one run: its share of the cores, or what GPT_EXPLORER_THREADS says."""
    asked = os.environ.get("GPT_EXPLORER_THREADS", "")
    return int(asked) if re.fullmatch("[1-9][0-9]{0,3}", asked) else max(1, find_hardware().cores // slots())


def threads_for(config: RunConfig, most: int) -> int:
    """Threads that a run has use for, at most so many.

    Where a step is short, threads spend it waiting for each other: gpt-quick trains as fast with one as with two that
    share their cores with a browser, and leaves the other core to it.
    """
    flops = config.train.batch_size * config.model.block_size * work_per_token(config.model, _SOME_VOCABULARY).flops
    return max(1, min(most, round(flops / _FLOPS_WORTH_A_THREAD)))
