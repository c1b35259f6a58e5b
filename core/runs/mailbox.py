"""How a run's worker is told something: a file for every command, taken in the order they were sent."""

import json
import secrets
import time
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

    def take_commands(self) -> list[Command]:
        """What has been asked since the last time, in order. What is taken is gone."""
        taken = []
        for path in sorted(self.commands.glob("[0-9]*.json")):
            try:
                data = json.loads(path.read_bytes())
                taken.append(Command(data.pop("command"), data))
            except (ValueError, KeyError, AttributeError):  # nothing we have written
                pass
            path.unlink(missing_ok=True)
        return taken
