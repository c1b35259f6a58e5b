"""Processes identified by pid and start time, and how they are signaled and ended."""

import fcntl
import os
import signal
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import psutil

Started = float | str  # see `ProcessId`
_CLOCK_TOLERANCE = 2.0  # seconds; the system adjusts its clock now and then


class ProcessId(NamedTuple):
    """A pid with the start time of its process: unlike a pid alone, never reused.

    The start is "BOOT:TICKS": Linux's boot id, and the clock ticks from boot to the start of the process, which do not
    depend on the time of day. On other systems, and in folders of older versions: seconds since 1970.
    """

    pid: int
    started: Started


def this_process() -> ProcessId:
    me = identify(os.getpid())
    assert me is not None  # it is running
    return me


def identify(pid: int) -> ProcessId | None:
    """Return the identity of a running process; None if there is none with that pid."""
    try:
        if not _boot():
            return ProcessId(pid, psutil.Process(pid).create_time())
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, with any characters; the start is the 22nd (proc(5)).
    return ProcessId(pid, f"{_boot()}:{int(stat.rpartition(')')[2].split()[19])}")


def is_alive(process: ProcessId) -> bool:
    """Return whether that very process is still running. A zombie (dead but not yet reaped) is not."""
    try:
        return _has_pid(process) and psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_locked(path: Path) -> bool:
    """Return whether a process, possibly on another host, holds the lock of a file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def _has_pid(process: ProcessId) -> bool:
    """Return whether the process that has the pid now, running or a zombie, is that very process."""
    if isinstance(process.started, str):
        return identify(process.pid) == process
    try:
        return abs(psutil.Process(process.pid).create_time() - process.started) < _CLOCK_TOLERANCE
    except psutil.NoSuchProcess:
        return False


@cache
def _boot() -> str:
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def not_ignored(*numbers: signal.Signals) -> list[signal.Signals]:
    """Return the signals that may be handled: all except those already ignored when this process started (`nohup`)."""
    return [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]


def send_signal(process: ProcessId, number: signal.Signals) -> None:
    """Send a signal to that very process, or to its whole process group if it leads one."""
    if not is_alive(process):
        return
    with suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, number)
        else:  # started from a shell, whose other processes are not ours
            os.kill(process.pid, number)


def kill(process: ProcessId, seconds: float = 10.0) -> None:
    """Kill a process and all its descendants, even stopped or hung ones, and wait until they are gone."""
    killed = {process}
    with suppress(psutil.NoSuchProcess):
        if is_alive(process):
            children = psutil.Process(process.pid).children(recursive=True)  # some may have left its group
            killed |= {identity for child in children if (identity := identify(child.pid)) is not None}
    send_signal(process, signal.SIGKILL)
    for one in killed:
        send_signal(one, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    while any(map(is_alive, killed)) and time.monotonic() < deadline:
        time.sleep(0.005)


def end_orphans(process: ProcessId) -> None:
    """Kill the remaining processes of the session that a dead process led."""
    if isinstance(process.started, str):
        was_before_this_boot = process.started.partition(":")[0] != _boot()
    else:
        was_before_this_boot = process.started < psutil.boot_time()
    if was_before_this_boot or (identify(process.pid) is not None and not _has_pid(process)):
        return  # the pid was reused, so the session may be somebody else's
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if pid != process.pid and os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)
