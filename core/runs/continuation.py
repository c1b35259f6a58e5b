"""What may be asked of a run beyond pausing and stopping: turn a knob, or go on for longer."""

from collections.abc import Iterable
from typing import Any, Literal

from core.config import RunConfig
from core.errors import ConfigError, RunError
from core.live_settings import RESTART, with_change
from core.runs.folder import RunFolder
from core.runs.records import Status
from core.runs.setting_changes import TURN
from core.settings import value_at

STEPS = "train.steps"
Schedule = Literal["restart", "stay"]  # of the learning rate, when a run that has ended goes on for longer
NO_TRAINING_OF_ITS_OWN = (
    "An imported model has no training of its own to go on with. Try from here with other settings: that starts a new "
    "run with its weights."
)


def check_unchanged(folder: RunFolder, seen: Status | None) -> None:
    """Raise RunError where a run has gone on since somebody saw it, because what they ask for was meant for that state.

    While a run trains, its step and a pause change by themselves; another attempt means that it was ended in between.

    Args:
        seen: its status as a page or a shell showed it; None passes.
    """
    if seen is None:
        return
    if not folder.path.is_dir():
        raise RunError("This run has been deleted since the page was drawn.")
    now = folder.status()
    attempts = (seen.attempt, seen.attempt + 1) if seen.state == "queued" else (seen.attempt,)
    if seen.ended:
        same = (now.state, now.attempt, now.step) == (seen.state, seen.attempt, seen.step)
    else:
        same = now.attempt in attempts
    if not same:
        raise RunError(
            f"The run {folder.name!r} has changed since the page was drawn: it is {now.state} at step {now.step:,}. "
            "Nothing was done; if you still want this, press again."
        )


def turn(folder: RunFolder, knob: str, value: Any) -> RunConfig:
    """`turn_all` of one knob."""
    return turn_all(folder, [(knob, value)])


def turn_all(folder: RunFolder, changes: Iterable[tuple[str, Any]]) -> RunConfig:
    """Ask for knobs to be turned, all or none: taken between two steps where the run trains, else when it goes on.

    It writes the status of a run that no worker trains, so the caller holds the supervisor lock
    (`core.runs.supervisor_lock`).

    Returns:
        The settings as they will be then.

    Raises:
        ConfigError: no such knob, or no value for it.
        RunError: the run is damaged, or was deleted.
    """
    if folder.record().origin:
        raise RunError(NO_TRAINING_OF_ITS_OWN)
    status, config = folder.status(), folder.config_now()
    asked = []
    for knob, value in changes:
        config = with_change(config, knob, value)
        asked.append((knob, value_at(config, knob)))
        if knob == STEPS and config.train.steps < status.step:
            raise ConfigError(
                f"The run {folder.name!r} is at step {status.step:,} already, so it cannot end at step "
                f"{config.train.steps:,}. Choose a later step, or stop it."
            )
    for knob, value in asked:
        folder.send(TURN, knob=knob, value=value)
    if status.pid is None and config.train.steps != status.steps:  # nobody else writes how it fares
        folder.write_status(status.model_copy(update={"steps": config.train.steps}))
    return config


def extended(step: int, more_steps: int, schedule: Schedule) -> list[tuple[str, Any]]:
    """Return the changes of settings that let a run go on from a step for so many more.

    Args:
        schedule: "restart" warms up and decays once more over the additional steps; "stay" leaves the schedule alone,
            so that after its end the learning rate stays at its last value.
    """
    restart = [(RESTART, step)] if schedule == "restart" else []
    return [(STEPS, step + more_steps), *restart]


def extended_config(config: RunConfig, step: int, more_steps: int, schedule: Schedule) -> RunConfig:
    """Return the settings that a run would have after `extended`. Raises ConfigError as `turned`."""
    for knob, value in extended(step, more_steps, schedule):
        config = with_change(config, knob, value)
    return config


def extend(folder: RunFolder, more_steps: int, schedule: Schedule = "stay") -> RunConfig:
    """Ask for so many steps more than it has taken; for a run that has ended. Raises as `turn_all` does.

    Args:
        schedule: as of `extended`.
    """
    status = folder.status()
    if not status.ended:
        raise RunError(f"The run {folder.name!r} has not ended. Turn the step at which it shall end instead.")
    if more_steps < 1:
        raise ConfigError(f"A run can go on for 1 step or more, not for {more_steps}.")
    return turn_all(folder, extended(status.step, more_steps, schedule))


def has_steps_left(folder: RunFolder) -> bool:
    """Whether a worker would find something to do: a finished run has steps left once its end was turned."""
    return not folder.record().origin and folder.status().step < folder.config_now().train.steps
