"""How a run's worker is told something: a file for every command, taken in the order they were sent."""

import json
import secrets
import time
from collections.abc import Container
from typing import Any

from core.atomic_io import FULL, parse_json, write_json
from core.runs.paths import RunPaths
from core.runs.records import Command


class RunCommands(RunPaths):
    """The part of a run's folder in which commands wait for the worker."""

    def send(self, command: str, **args: Any) -> None:
        """Ask something of the worker."""
        path = self.commands / f"{time.time_ns():020d}-{secrets.token_hex(4)}.{command}.json"
        with self._writing(f"told to {command}"):
            try:
                write_json(path, {"command": command, **args})
            except OSError as error:
                if args or error.errno not in FULL:
                    raise
                path.touch()  # a full disk has room for a name

    def waiting_commands(self) -> list[Command]:
        """What has been asked and is not done yet, in order. A file that is none of ours has no name."""
        waiting = []
        for path in sorted(self.commands.glob("[0-9]*.json")):
            try:
                data = parse_json(path.read_bytes() or json.dumps({"command": path.name.split(".")[1]}))
                waiting.append(Command(str(data.pop("command")), data, path.name))
            except FileNotFoundError:  # done by the worker meanwhile
                continue
            except (ValueError, KeyError, AttributeError, TypeError):
                waiting.append(Command("", {}, path.name))
        return waiting

    def done(self, command: Command) -> None:
        """Forget a command; said after its effect is written down, so that no death in between loses it."""
        (self.commands / command.id).unlink(missing_ok=True)

    def take_commands(self, *, but: Container[str] = ()) -> list[Command]:
        """What has been asked since the last time, in order. What is taken is gone.

        Args:
            but: names of commands to leave where they are.
        """
        taken = [command for command in self.waiting_commands() if command.name not in but]
        for command in taken:
            self.done(command)
        return [command for command in taken if command.name]
