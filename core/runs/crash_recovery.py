"""What becomes of a run whose process has died: it goes on by itself, unless it would only die again."""

from core.runs.memory_kills import killed_for_memory
from core.runs.records import Status

# In a row, with not one step saved in between: what ends it would do so for ever.
MOST_CRASHES = 3  # of the process by itself
MOST_KILLS = 10  # from outside: by its user, or by the machine
_CRASH = "Fatal Python error"  # how Python's faulthandler, which every worker has, begins
_GOES_ON, _WENT_ON = "it goes on by itself from", "it went on by itself from"
_GONE = {"pid": None, "pid_started": None, "seconds_left": None}


def after_death(status: Status, last_words: str, saved: int) -> Status:
    """How a run fares whose worker left this status behind and is gone.

    Args:
        last_words: of its log.
        saved: the step of its newest checkpoint; -1 if it has none.

    Returns:
        Queued, to go on from its save; paused as before, without a process; or failed, where the system had no memory
        for it, or where it has died again and again.
    """
    status = status.model_copy(update=_GONE)
    if status.state == "paused" and not status.problem:
        return status
    beginning = f"step {saved:,}" if saved >= 0 else "the beginning"
    if killed_for_memory(status.oom_kills):
        reason = (
            f"The system ended its process at step {status.step:,} because the machine had no memory left. Choose a "
            "smaller batch, a shorter context or a smaller model, or end other programs. Resumed, it goes on from "
            f"{beginning}."
        )
        return status.model_copy(update={"state": "failed", "reason": reason, "notice": "", "problem": "memory"})
    deaths = status.deaths + 1
    if deaths < (MOST_CRASHES if _CRASH in last_words else MOST_KILLS):
        notice = f"Its process was ended at step {status.step:,}; {_GOES_ON} {beginning}."
        waits = {"state": "queued", "reason": "", "notice": notice, "problem": "", "deaths": deaths}
        return status.model_copy(update=waits)
    reason = f"Its process ended {deaths} times without a save in between."
    if last_words:
        reason += f" Its last words: {last_words}"
    else:
        reason += " It did not say why."
    return status.model_copy(
        update={"state": "failed", "reason": reason, "notice": "", "problem": "", "deaths": deaths}
    )


def taken_up(notice: str) -> str:
    """What the notice of a death says once another worker has the run."""
    return notice.replace(_GOES_ON, _WENT_ON)
