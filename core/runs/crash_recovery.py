"""What becomes of a run whose worker has died: another worker resumes it, unless that one would die, too."""

import re
from pathlib import Path

from core.runs.records import Status

# In a row, without a save in between: more attempts would end the same way.
MOST_CRASHES = 3  # of the process by itself
MOST_KILLS = 10  # from outside: by its user, or by the machine
_CRASH = "Fatal Python error"  # how the output of Python's faulthandler begins, which every worker has
_WILL_RESUME, _RESUMED = "it goes on by itself from", "it went on by itself from"
# How Python introduces the frames of a traceback or of a crash.
_UNINFORMATIVE = ("Traceback (most recent", "Current thread 0x", "Thread 0x", "Extension modules:")


def after_crash(status: Status, log_lines: str, saved_step: int) -> Status:
    """Return the status of a run whose worker left this one behind and has died.

    It is queued, to go on from its newest checkpoint (`saved_step`, -1 if it has none); or paused as before; or failed.
    """
    from core.training.hardware import killed_for_memory  # imports torch, which a list of runs does not need

    status = status.without_process()
    if status.state == "paused" and not status.problem:
        return status
    start = f"step {saved_step:,}" if saved_step >= 0 else "the beginning"
    if killed_for_memory(status.oom_kills):
        reason = (
            f"The system ended its process at step {status.step:,} because the machine had no memory left. Choose a "
            "smaller batch, a shorter context or a smaller model, or end other programs. Resumed, it goes on from "
            f"{start}."
        )
        return status.end("failed", reason, "memory")
    crashes = status.crashes + 1
    if crashes < (MOST_CRASHES if _CRASH in log_lines else MOST_KILLS):
        notice = f"Its process was ended at step {status.step:,}; {_WILL_RESUME} {start}."
        return status.without_process(state="queued", reason="", notice=notice, problem="", crashes=crashes)
    reason = f"Its process ended {crashes} times without a save in between."
    reason += f" Its last words: {log_lines}" if log_lines else " It did not say why."
    return status.end("failed", reason).model_copy(update={"crashes": crashes})


def after_resume(notice: str) -> str:
    """Return the notice of a crash as it reads once another worker has the run."""
    return notice.replace(_WILL_RESUME, _RESUMED)


def last_log_lines(path: Path, lines: int = 3) -> str:
    """Return the last informative lines of a worker's log, without the (indented) frames of a traceback."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 20_000))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    printed = [line.rstrip() for line in text.splitlines() if re.match(r"\S", line) and re.search(r"\w", line)]
    informative = [line for line in printed if not line.startswith(_UNINFORMATIVE)]
    return "\n".join(line[:300] for line in informative[-lines:])
