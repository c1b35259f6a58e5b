"""Whether the system has ended a process for want of memory.

It does so by SIGKILL, as anyone might, and leaves no word with the process; but it counts: for each control group
(cgroup v2: `memory.events`, v1: `memory.oom_control`) and for the whole machine (`/proc/vmstat`). A worker writes down
what these counters say a few times a second. If it is gone and its counter has risen since, that was it.
"""

import re
from pathlib import Path

_GROUPS = (  # how /proc/self/cgroup names a group, and where its counter lies
    (re.compile(r"^0::(/.*)$", re.MULTILINE), "/sys/fs/cgroup{}/memory.events"),
    (re.compile(r"^\d+:(?:\w+,)*memory(?:,\w+)*:(/.*)$", re.MULTILINE), "/sys/fs/cgroup/memory{}/memory.oom_control"),
)
_MACHINE = "/proc/vmstat"


def memory_kills() -> dict[str, int]:
    """What the counters that would count this process say now, the narrowest first; empty where the system has none."""
    said = {path: _count(path) for path in _counters()}
    return {path: count for path, count in said.items() if count is not None}


def killed_for_memory(before: dict[str, int]) -> bool:
    """Whether the narrowest counter that can still be read has risen since a process wrote down `memory_kills()`."""
    for path, count in before.items():
        now = _count(path)
        if now is not None:
            return now > count
    return False


def _counters() -> list[str]:
    own = _read("/proc/self/cgroup")
    found = [(pattern.search(own), where) for pattern, where in _GROUPS]
    return [*(where.format(group[1].rstrip("/")) for group, where in found if group), _MACHINE]


def _count(path: str) -> int | None:
    found = re.search(r"^oom_kill (\d+)$", _read(path), re.MULTILINE)
    return int(found[1]) if found else None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
