"""What a container, a service or a shell allows of the machine's memory, and what of that is left.

Control groups (cgroups(7)) lie in one another, and each may have a limit: the tightest one counts. What a group uses
includes copies of files that the system gives up as soon as somebody needs the room; those count as free.
"""

import re
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

GROUPS, OWN_GROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


class _Version(NamedTuple):
    """How one of the two versions of control groups names things."""

    own: re.Pattern  # finds this process's group
    under: str  # the folder that the groups lie in
    limit: str
    used: str
    given_up: str  # in memory.stat: copies of files not looked at for a while


_VERSIONS = (
    _Version(re.compile(r"^0::(/.*)$", re.M), "", "memory.max", "memory.current", "inactive_file"),
    _Version(
        re.compile(r"^\d+:(?:\w+,)*memory(?:,\w+)*:(/.*)$", re.M),
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        "total_inactive_file",
    ),
)


def allowed_memory(groups: Path = GROUPS, own_group: Path = OWN_GROUP) -> int | None:
    """Bytes that the control groups of this process may use; None where none of them has a limit.

    Args:
        groups: where the system shows control groups as folders.
        own_group: the file that names those of this process.
    """
    return min((limit for limit, _ in _limits(groups, own_group)), default=None)


def memory_left(groups: Path = GROUPS, own_group: Path = OWN_GROUP) -> int | None:
    """Bytes that this process may still take, by its control groups and by its shell (`ulimit -v`); None if no limit.

    Args: see `allowed_memory`.
    """
    left = [max(0, limit - used) for limit, used in _limits(groups, own_group)]
    space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if space != resource.RLIM_INFINITY and sys.platform == "linux":  # others only write it down
        left.append(max(0, space - psutil.Process().memory_info().vms))
    return min(left, default=None)


def _limits(groups: Path, own_group: Path) -> Iterator[tuple[int, int]]:
    """The limit of each group around this process that has one, and the bytes used that nothing but its end frees."""
    named = _read(own_group)
    for version in _VERSIONS:
        found = version.own.search(named)
        if found is None:
            continue
        top = groups / version.under
        inside = Path(found[1].lstrip("/"))
        for group in (inside, *inside.parents):  # in a container, often only the last of these can be seen
            limit, used = _read(top / group / version.limit).strip(), _read(top / group / version.used).strip()
            if limit.isdigit() and used.isdigit():
                given_up = re.search(rf"^{version.given_up} (\d+)$", _read(top / group / "memory.stat"), re.M)
                yield int(limit), max(0, int(used) - int(given_up[1] if given_up else 0))


def _read(path: Path) -> str:
    """A file's text, empty where this system has no such file."""
    try:
        return path.read_text()
    except OSError:
        return ""
