"""The hardware that training can use: device, cores, memory, and the limits of containers and shells."""

import os
import platform
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy
import psutil
import safetensors
import torch

from core.errors import ExplorerError
from core.formatting import memory_in_words

SENTENCES = {
    "cuda": "This trains on the graphics card: {name}, {memory} of memory.",
    "mps": "This trains on Apple's GPU: {name}, {memory} of memory shared with the processor.",
    "cpu": "No GPU found, so this trains on the processor: {name}, {cores}, {memory} of memory.",
    "asked": "As the settings ask, this trains on the processor: {name}, {cores}, {memory} of memory.",
}


# Control groups (cgroups(7)) are nested, and each may have a limit: the tightest one counts. A group's usage includes
# cached files that the system drops when memory is needed; these count as free.
GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class _Version(NamedTuple):
    own: re.Pattern[str]  # finds this process's group
    under: str  # the folder of the groups
    limit: str
    used: str
    inactive: str  # in memory.stat: cached files that were not used recently
    events: str  # file that counts processes killed for lack of memory


_VERSIONS = (
    _Version(re.compile(r"^0::(/.*)$", re.M), "", "memory.max", "memory.current", "inactive_file", "memory.events"),
    _Version(
        re.compile(r"^\d+:(?:\w+,)*memory(?:,\w+)*:(/.*)$", re.M),
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
        "memory.oom_control",
    ),
)


@dataclass(frozen=True)
class Hardware:
    """The device that training runs on."""

    device: str  # `cuda`, `mps` or `cpu`
    name: str  # of the graphics card or the processor
    sentence: str  # the hardware in words
    cores: int  # CPU cores that this process may use
    memory_bytes: int  # memory that training may use: the graphics card's own, else the machine's
    versions: dict[str, str]  # of Python, the libraries whose numbers matter, and the operating system
    template: str = ""  # the entry of SENTENCES that `sentence` fills in


@lru_cache(maxsize=4)
def find_hardware(device: str = "auto") -> Hardware:
    """Return a device's hardware (auto: NVIDIA GPU, else Apple's, else CPU); raises ExplorerError if it is missing.

    Each process looks it up only once: a page asks for it 17 times, which took a seventh of the page's time.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    best = next(filter(there.get, there))
    chosen = best if device == "auto" else device
    if not there.get(chosen):
        kind = {"cuda": "an NVIDIA GPU", "mps": "Apple's GPU"}.get(chosen, f"a device called {chosen!r}")
        raise ExplorerError(
            f"The settings ask for {kind}, but PyTorch {torch.__version__} finds none here. Set the device to auto, "
            "which uses the best one available."
        )
    cores = _cores()
    if chosen == "cuda":
        name, memory = torch.cuda.get_device_name(0), torch.cuda.get_device_properties(0).total_memory
    else:
        total, allowed = psutil.virtual_memory().total, allowed_memory()
        name, memory = _processor(), total if allowed is None else min(total, allowed)
    template = SENTENCES["asked" if chosen == "cpu" != best else chosen]
    counted = f"{cores} core" + "s" * (cores != 1)
    sentence = template.format(name=name, cores=counted, memory=memory_in_words(memory))
    return Hardware(chosen, name, sentence, cores, memory, _versions(), template)


def knows_bfloat16(device: str) -> bool:
    """Return whether the device has instructions for bfloat16 products; without them they are emulated."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device == "cpu" and any("bf16" in name and there for name, there in torch.cpu.get_capabilities().items())


def free_memory(hardware: Hardware) -> int:
    """Return the bytes that this process could allocate now; on a GPU, asking costs a few hundred megabytes."""
    if hardware.device == "cuda":
        reusable = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        return torch.cuda.mem_get_info()[0] + reusable
    free, left = psutil.virtual_memory().available, memory_left()
    return min(hardware.memory_bytes, free if left is None else min(free, left))


def memory_for_queued(hardware: Hardware) -> int:
    """Return the bytes for a queued run: all of a GPU's, because it trains one run at a time, else those free now."""
    return hardware.memory_bytes if hardware.device == "cuda" else free_memory(hardware)


def _versions() -> dict[str, str]:
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "safetensors": safetensors.__version__,
        "system": f"{platform.system()} {platform.release()}",
        "code": code_version(),
    }
    return versions | ({"cuda": torch.version.cuda} if torch.version.cuda else {})


@lru_cache(maxsize=1)
def code_version() -> str:
    """Return eight digits of a hash of the code that decides a run's numbers: texts, models and training."""
    core, digest = Path(__file__).parents[1], sha256()
    for folder in ("text", "model", "fast", "training"):
        for path in sorted((core / folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:8]


def _cores() -> int:
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else psutil.cpu_count() or 1
    quota = _read("/sys/fs/cgroup/cpu.max").split()  # "200000 100000": two cores' worth; "max 100000": all
    if len(quota) == 2 and quota[0].isdigit():
        allowed = min(allowed, max(1, int(quota[0]) // int(quota[1])))
    return allowed


def _processor() -> str:
    if sys.platform == "darwin":
        name = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True).stdout
    else:
        line = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo"), re.MULTILINE)
        name = line[1] if line else platform.processor()
    name = re.sub(r"\((R|TM|tm|r)\)|\bCPU\b|@.*$|\b\d+-Core Processor\b", "", name)
    return " ".join(name.split()) or platform.machine() or "of unknown make"


def allowed_memory(groups: Path = GROUPS, own_group: Path = OWN_GROUP) -> int | None:
    """Return the bytes that the control groups of this process may use; None if none has a limit."""
    return min((limit for limit, _ in _limits(groups, own_group)), default=None)


def memory_left(groups: Path = GROUPS, own_group: Path = OWN_GROUP) -> int | None:
    """Return the bytes that control groups and shell (`ulimit -v`) still allow; None if there is no limit."""
    left = [max(0, limit - used) for limit, used in _limits(groups, own_group)]
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and sys.platform == "linux":  # other systems do not enforce it
        left.append(max(0, space - psutil.Process().memory_info().vms))
    return min(left, default=None)


def _limits(groups: Path, own_group: Path) -> Iterator[tuple[int, int]]:
    """Yield the limit of each group that has one, and the bytes used that the system cannot reclaim."""
    for top, own, version in _own_groups(groups, own_group):
        for group in (own, *own.parents):  # in a container, often only the last of these is visible
            limit, used = _read(top / group / version.limit).strip(), _read(top / group / version.used).strip()
            if limit.isdigit() and used.isdigit():
                inactive = re.search(rf"^{version.inactive} (\d+)$", _read(top / group / "memory.stat"), re.M)
                yield int(limit), max(0, int(used) - int(inactive[1] if inactive else 0))


def memory_kills() -> dict[str, int]:
    """Return how many processes the system has killed for lack of memory, by counter, the narrowest first.

    The system sends no message, but it counts: if a worker is gone and the count has risen, that was the reason.
    """
    files = [top / own / version.events for top, own, version in _own_groups(GROUPS, OWN_GROUP)]
    counts = {str(path): _kill_count(path) for path in (*files, Path("/proc/vmstat"))}
    return {path: count for path, count in counts.items() if count is not None}


def killed_for_memory(before: dict[str, int]) -> bool:
    """Return whether the narrowest counter that can still be read has risen since `memory_kills` returned `before`."""
    counts = ((_kill_count(path), count) for path, count in before.items())
    return next((now > count for now, count in counts if now is not None), False)


def _kill_count(path: str | Path) -> int | None:
    count = re.search(r"^oom_kill (\d+)$", _read(path), re.MULTILINE)
    return int(count[1]) if count else None


def _own_groups(groups: Path, own_group: Path) -> Iterator[tuple[Path, Path, _Version]]:
    names = _read(own_group)
    for version in _VERSIONS:
        if match := version.own.search(names):
            yield groups / version.under, Path(match[1].lstrip("/")), version


def _read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
