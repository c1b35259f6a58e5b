"""The knobs turned in a run: asked as commands, kept as events, and taken again at the same steps on every resume.

A turn lies among the commands until a worker takes it between two steps, however long that may be; then it is an event
with the step it took effect on. So what a run's settings were at any step can be told from its folder alone.
"""

import time
from contextlib import suppress
from typing import Any

from core.config import RunConfig
from core.errors import ConfigError, RunError
from core.live_settings import CHANGEABLE, with_change
from core.runs.commands import RunCommands
from core.runs.records import Turn
from core.runs.rows import RunRows
from core.runs.run_record import RunIdentity

TURN = "turn"  # the command, and the kind of the event


class RunTurns(RunIdentity, RunRows, RunCommands):
    """The part of a run's folder that tells how it was steered."""

    def turns(self) -> list[Turn]:
        """The turns taken, in order of effect.

        After a death, training goes on from an earlier step, and turns wait ahead until theirs is reached again. One
        that somebody turns anew before that overrules them.
        """
        turns: list[Turn] = []
        for row in self.read_events():
            turn = Turn(row.get("step"), row.get("knob"), row.get("value"))
            if row.get("kind") == TURN and isinstance(turn.step, int) and turn.knob in CHANGEABLE:
                turns = [before for before in turns if before.knob != turn.knob or before.step <= turn.step]
                turns.append(turn)
        return sorted(turns, key=lambda turn: turn.step)

    def turns_asked(self) -> list[tuple[str, Any]]:
        """Knobs and values that wait for a worker to take them, in the order they were asked."""
        waiting = [command.args for command in self.waiting_commands() if command.name == TURN]
        return [(args.get("knob"), args.get("value")) for args in waiting if args.get("knob") in CHANGEABLE]

    def config_now(self) -> RunConfig:
        """The settings with all turns applied, also those that still wait for a worker.

        Raises RunError where the record or a turn cannot be used.
        """
        config = self._turned(self.turns())
        for knob, value in self.turns_asked():
            with suppress(ConfigError):  # the worker passes it over too
                config = with_change(config, knob, value)
        return config

    def config_at(self, step: int) -> RunConfig:
        """The settings as they were when so many steps were done. Raises RunError as `config_now`."""
        return self._turned([turn for turn in self.turns() if turn.step <= step])

    def _turned(self, turns: list[Turn]) -> RunConfig:
        config = self.record().config
        try:
            for turn in turns:
                config = with_change(config, turn.knob, turn.value)
        except ConfigError as error:
            raise RunError(f"A setting turned in run {self.id} cannot be used: {error}") from None
        return config

    def write_turn(self, turn: Turn, before: Any, asked: str) -> None:
        """Keep a turn for good.

        Args:
            before: what the knob was at.
            asked: id of the command that asked for it.
        """
        row = {"step": turn.step, "kind": TURN, "time": time.time(), "knob": turn.knob, "value": turn.value}
        # Before any later save can be on disk: weights that have felt a turn must never outlast it.
        self.append_event(row | {"before": before, "asked": asked}, durable=True)

    def was_taken(self, asked: str) -> bool:
        """Whether the command of that id is an event already: its worker died before it could forget it."""
        return any(row.get("asked") == asked for row in self.read_events() if row.get("kind") == TURN)
