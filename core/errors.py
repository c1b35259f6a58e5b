"""Errors whose message is a sentence for the person at the screen or the shell."""

from typing import Literal

Problem = Literal["", "not_finite", "memory", "disk"]


class ExplorerError(Exception):
    """Something a user can understand and mend; pages and the command line show its message as it is.

    Attributes:
        problem: which of the kinds of trouble it is that a page offers more than a sentence for; mostly none.
    """

    problem: Problem = ""


class ConfigError(ExplorerError):
    """A setting is unknown or out of its bounds; the message names the field, the value and the bounds."""


class TextError(ExplorerError):
    """A text cannot be read, or is unfit to train on."""


class UnknownCharacterError(TextError):
    """A character that the tokenizer has never seen.

    Attributes:
        character: the character itself.
        position: its index in the text, counted from 0.
    """

    def __init__(self, character: str, position: int):
        self.character, self.position = character, position
        super().__init__(
            f"The character {character!r} (U+{ord(character):04X}) at position {position} does not occur in the "
            "text this model learned from, so the model has no number for it. Leave it out or choose another."
        )


class RunError(ExplorerError):
    """A run folder is missing, damaged, or not in a state that allows what was asked."""


class DiskFullError(RunError):
    """There was no room on the disk for what had to be written; what was there before is still there."""

    problem = "disk"


class OutOfMemoryEstimate(ExplorerError):
    """The settings need more memory than the machine has; raised before anything starts."""

    problem = "memory"


class OutOfMemory(RunError):
    """The machine had not as much memory as training asked for."""

    problem = "memory"


class TrainingError(ExplorerError):
    """Training cannot go on: the loss is no longer a number, or a saved state is of another model."""


class NotFiniteError(TrainingError):
    """The loss, its gradient or the weights are no longer finite numbers."""

    problem = "not_finite"
