"""Commands for a run's worker, including setting changes.

A command is a file; the worker takes them in the order they were sent. It records a setting change as an event, and
repeats it at the same step on every resume. On disk a change is called `turn`, and its setting `knob`, as in the first
release.
"""

import json
import math
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from core.atomic_io import FULL, parse_json, write_json
from core.config import RunConfig
from core.errors import ConfigError, RunError
from core.live_settings import CHANGEABLE, RESTART, STEPS, SettingChange, with_change
from core.runs.folder import RunFolder
from core.runs.records import Command, Status
from core.settings import value_at

CHANGE = "turn"  # the command to change a setting, and the kind of its event
Schedule = Literal["restart", "stay"]  # what the learning rate does when an ended run is extended
NO_TRAINING_OF_ITS_OWN = (
    "An imported model has no training of its own to continue. Fork it instead: that starts a new run from its weights."
)


def send_command(run: RunFolder, name: str, **args: Any) -> None:
    """Write a command for the run's worker."""
    path = run.commands / f"{time.time_ns():020d}-{secrets.token_hex(4)}.{name}.json"
    with run.writing(f"told to {name}"):
        try:
            write_json(path, {"command": name, **args})
        except OSError as error:
            if args or error.errno not in FULL:
                raise
            path.touch()  # an empty file still fits on a full disk


def command_files(run: RunFolder) -> list[Path]:
    """Return the files of the pending commands, in order."""
    return sorted(run.commands.glob("[0-9]*.json"))


def waiting_commands(run: RunFolder) -> list[Command]:
    """Return the pending commands, in order. A damaged one has the name ""."""
    waiting = []
    for path in command_files(run):
        try:
            data = parse_json(path.read_bytes() or json.dumps({"command": path.name.split(".")[1]}))
            waiting.append(Command(str(data.pop("command")), data, path.name))
        except FileNotFoundError:  # done by the worker meanwhile
            continue
        except (ValueError, KeyError, AttributeError, TypeError):
            waiting.append(Command("", {}, path.name))
    return waiting


def remove_command(run: RunFolder, command: Command) -> None:
    """Remove a command. Call this only after its effect is written, so that a crash in between does not lose it."""
    (run.commands / command.id).unlink(missing_ok=True)


def drop_commands(run: RunFolder) -> None:
    """Remove all pending commands except setting changes: they were meant for the last process."""
    for command in waiting_commands(run):
        if command.name != CHANGE:
            remove_command(run, command)


def check_unchanged(run: RunFolder, shown: Status | None) -> None:
    """Raise RunError if a run has changed since its button was drawn, because the button was for the earlier state."""
    if shown is None:
        return
    if not run.path.is_dir():
        raise RunError("This run has been deleted since the page was drawn.")
    now = run.status()
    # While a run trains, its step and state may change; a different attempt means that it ended in between.
    same = now.attempt == shown.attempt or (shown.state == "queued" and now.attempt == shown.attempt + 1)
    if not same or (shown.ended and (now.state, now.step) != (shown.state, shown.step)):
        raise RunError(
            f"The run {run.name!r} has changed since the page was drawn: it is {now.state} at step {now.step:,}. "
            "Nothing was done; if you still want this, press again."
        )


def setting_changes(run: RunFolder) -> list[SettingChange]:
    """Return the changes that took effect, ordered by step.

    After a crash, changes at steps after the last save are repeated, unless a new change of the setting precedes them.
    """
    changes: list[SettingChange] = []
    for row in run.rows("events"):
        step, setting = row.get("step"), row.get("knob")
        if row.get("kind") == CHANGE and isinstance(step, int) and isinstance(setting, str) and setting in CHANGEABLE:
            change = SettingChange(step, setting, row.get("before"), row.get("value"))
            changes = [before for before in changes if before.setting != change.setting or before.step <= change.step]
            changes.append(change)
    return sorted(changes, key=lambda change: change.step)


def requested_changes(run: RunFolder) -> list[tuple[str, Any]]:
    """Return the requested settings and values that no worker has applied yet, in the order of the requests."""
    return _changes_of(waiting_commands(run))


def _changes_of(commands: Iterable[Command]) -> list[tuple[str, Any]]:
    args = [command.args for command in commands if command.name == CHANGE]
    return [(each.get("knob"), each.get("value")) for each in args if each.get("knob") in CHANGEABLE]


def config_now(run: RunFolder) -> RunConfig:
    """Return the settings with all changes, applied or only requested; raises RunError if one cannot be used."""
    # Commands are read before events: otherwise a change that its worker takes in between would be in neither.
    requested = _changes_of(command for command in waiting_commands(run) if not is_written(run, command.id))
    config = config_at(run)
    for setting, value in requested:
        with suppress(ConfigError):  # the worker ignores it too
            config = with_change(config, setting, value)
    return config


def config_at(run: RunFolder, step: float = math.inf) -> RunConfig:
    """Return the settings after `step` steps. Raises RunError like `config_now`."""
    config = run.record().config
    try:
        for change in setting_changes(run):
            if change.step <= step:
                config = with_change(config, change.setting, change.value)
    except ConfigError as error:
        raise RunError(f"A setting changed in run {run.id} cannot be used: {error}") from None
    return config


def write_setting_change(run: RunFolder, change: SettingChange, command_id: str) -> None:
    """Record a change that a worker has taken from a command."""
    row = {"step": change.step, "kind": CHANGE, "time": time.time(), "knob": change.setting, "value": change.value}
    # Durable, so that after a crash no weights affected by the change exist without its event.
    run.append("events", row | {"before": change.before, "asked": command_id}, durable=True)


def is_written(run: RunFolder, command_id: str) -> bool:
    """Return whether a command's change is already recorded: its worker died before removing the command."""
    return any(row.get("asked") == command_id for row in run.rows("events") if row.get("kind") == CHANGE)


def change_settings(run: RunFolder, *changes: tuple[str, Any]) -> RunConfig:
    """Request all changes or none, and return the settings after them; raises ConfigError or RunError.

    Writes the status if the run has no worker, so the caller must hold the supervisor lock.
    """
    if run.record().origin:
        raise RunError(NO_TRAINING_OF_ITS_OWN)
    status, config = run.status(), config_now(run)
    requested = []
    for setting, value in changes:
        config = with_change(config, setting, value)
        requested.append((setting, value_at(config, setting)))
        if setting == STEPS and config.train.steps < status.step:
            raise ConfigError(
                f"The run {run.name!r} is already at step {status.step:,}, so it cannot end at step "
                f"{config.train.steps:,}. Choose a later step, or stop it."
            )
    for setting, value in requested:
        send_command(run, CHANGE, knob=setting, value=value)
    if status.pid is None and config.train.steps != status.steps:  # no worker writes the status
        run.write_status(status.model_copy(update={"steps": config.train.steps}))
    return config


def extended(step: int, more_steps: int, schedule: Schedule) -> list[tuple[str, Any]]:
    """Return the changes that extend a run by `more_steps`, with a restarted schedule or at its last rate."""
    restart = [(RESTART, step)] if schedule == "restart" else []
    return [(STEPS, step + more_steps), *restart]


def extended_config(config: RunConfig, step: int, more_steps: int, schedule: Schedule) -> RunConfig:
    """Return the settings that a run would have after `extended`. Raises ConfigError like `with_change`."""
    for setting, value in extended(step, more_steps, schedule):
        config = with_change(config, setting, value)
    return config


def extend(run: RunFolder, more_steps: int, schedule: Schedule = "stay") -> RunConfig:
    """Request `more_steps` for an ended run, and return its new settings. Raises like `change_settings`."""
    status = run.status()
    if not status.ended:
        raise RunError(f"The run {run.name!r} has not ended. Change the step at which it ends instead.")
    if more_steps < 1:
        raise ConfigError(f"A run can continue for 1 step or more, not for {more_steps}.")
    return change_settings(run, *extended(status.step, more_steps, schedule))


def has_steps_left(run: RunFolder) -> bool:
    """Return whether a worker would have steps to train: a finished run has some once its end has been moved."""
    return not run.record().origin and run.status().step < config_now(run).train.steps
