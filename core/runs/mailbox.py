"""How a run's worker is told something: a file for every command, taken in the order they were sent."""

import json
import secrets
import time
from collections.abc import Container
from typing import Any

from core.files import write_json
from core.runs.paths import RunPaths
from core.runs.records import Command


class RunMailbox(RunPaths):
    """The part of a run's folder in which commands wait for the worker."""

    def send(self, command: str, **args: Any) -> None:
        """Ask something of the worker."""
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}.json"
        with self._writing(f"told to {command}"):
            write_json(self.commands / name, {"command": command, **args})

    def waiting_commands(self) -> list[Command]:
        """What has been asked and is not done yet, in order. A file that is none of ours has no name."""
        waiting = []
        for path in sorted(self.commands.glob("[0-9]*.json")):
            try:
                data = json.loads(path.read_bytes())
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
