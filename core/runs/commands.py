"""The commands that a run's worker obeys: a file for each, taken in the order they were sent."""

import json
import secrets
import time
from typing import Any

from core.atomic_io import FULL, parse_json, write_json
from core.errors import RunError
from core.runs.folder import RunFolder
from core.runs.records import Command, Status

CHANGE = "turn"  # the command to change a setting, and the kind of its event


def send_command(run: RunFolder, name: str, **args: Any) -> None:
    """Write a command for the run's worker."""
    path = run.commands / f"{time.time_ns():020d}-{secrets.token_hex(4)}.{name}.json"
    with run.writing(f"told to {name}"):
        try:
            write_json(path, {"command": name, **args})
        except OSError as error:
            if args or error.errno not in FULL:
                raise
            path.touch()  # a full disk still takes a name


def waiting_commands(run: RunFolder) -> list[Command]:
    """Return the commands that are not done yet, in order. One that is damaged has no name."""
    waiting = []
    for path in sorted(run.commands.glob("[0-9]*.json")):
        try:
            data = parse_json(path.read_bytes() or json.dumps({"command": path.name.split(".")[1]}))
            waiting.append(Command(str(data.pop("command")), data, path.name))
        except FileNotFoundError:  # done by the worker meanwhile
            continue
        except (ValueError, KeyError, AttributeError, TypeError):
            waiting.append(Command("", {}, path.name))
    return waiting


def remove_command(run: RunFolder, command: Command) -> None:
    """Remove a command after its effect is written down, so that no crash in between loses it."""
    (run.commands / command.id).unlink(missing_ok=True)


def drop_commands(run: RunFolder) -> None:
    """Remove the waiting commands but setting changes: they were for the last process."""
    for command in waiting_commands(run):
        if command.name != CHANGE:
            remove_command(run, command)


def check_unchanged(run: RunFolder, shown: Status | None) -> None:
    """Raise RunError where a run has changed since a button was drawn for it, because the button meant that state."""
    if shown is None:
        return
    if not run.path.is_dir():
        raise RunError("This run has been deleted since the page was drawn.")
    now = run.status()
    # While a run trains, its step and a pause change by themselves; another attempt means that it ended in between.
    same = now.attempt == shown.attempt or (shown.state == "queued" and now.attempt == shown.attempt + 1)
    if not same or (shown.ended and (now.state, now.step) != (shown.state, shown.step)):
        raise RunError(
            f"The run {run.name!r} has changed since the page was drawn: it is {now.state} at step {now.step:,}. "
            "Nothing was done; if you still want this, press again."
        )
