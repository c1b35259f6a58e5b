"""Whether a process written down earlier is still the same one, and alive."""

import os
import signal
import time
from contextlib import suppress
from typing import NamedTuple

import psutil

_CLOCK_TOLERANCE = 2.0  # seconds; the start time is counted from boot, and clocks are corrected now and then


class ProcessId(NamedTuple):
    """A pid with the time its process began: unlike the pid alone, never reused."""

    pid: int
    started: float  # seconds since 1970


def this_process() -> ProcessId:
    return ProcessId(os.getpid(), psutil.Process().create_time())


def identify(pid: int) -> ProcessId | None:
    """The identity of a running process; None where there is none of that pid."""
    try:
        return ProcessId(pid, psutil.Process(pid).create_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(process: ProcessId) -> bool:
    """Whether that very process still runs. A zombie, dead but not yet reaped, does not."""
    try:
        found = psutil.Process(process.pid)
        same = abs(found.create_time() - process.started) < _CLOCK_TOLERANCE
        return same and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def send_signal(process: ProcessId, how: signal.Signals) -> None:
    """Signal that very process, and its children with it where it leads a group of its own."""
    if not is_alive(process):
        return
    with suppress(ProcessLookupError):
        if os.getpgid(process.pid) == process.pid:
            os.killpg(process.pid, how)
        else:  # started from somebody's shell, whose other processes are none of our business
            os.kill(process.pid, how)


def kill(process: ProcessId, seconds: float = 10.0) -> None:
    """End a process at once with all that it has started, stopped or hung as they may be; wait until they are gone."""
    doomed = {process, *_descendants(process)}  # some may have left its group
    send_signal(process, signal.SIGKILL)
    for one in doomed:
        send_signal(one, signal.SIGKILL)
    deadline = time.monotonic() + seconds
    while any(map(is_alive, doomed)) and time.monotonic() < deadline:
        time.sleep(0.005)


def end_orphans(process: ProcessId) -> None:
    """End what is left of the session that a dead process led."""
    if process.started < psutil.boot_time() or (identify(process.pid) or process) != process:
        return  # the number is somebody else's by now, and so may the session be
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if pid != process.pid and os.getsid(pid) == process.pid:
                os.kill(pid, signal.SIGKILL)


def _descendants(process: ProcessId) -> list[ProcessId]:
    with suppress(psutil.NoSuchProcess):
        if is_alive(process):
            found = psutil.Process(process.pid).children(recursive=True)
            return [identity for child in found if (identity := identify(child.pid)) is not None]
    return []
