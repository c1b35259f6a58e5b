"""Errors whose messages are written for the user."""

from typing import Literal

Problem = Literal["", "not_finite", "memory", "disk"]


class ExplorerError(Exception):
    """An error that a user can understand and correct; pages and the command line show its message."""

    problem: Problem = ""  # set if a page offers help besides the message


class ConfigError(ExplorerError):
    """An unknown setting, or a value out of bounds; the message names field, value and bounds."""


class TextError(ExplorerError):
    """A text that cannot be read or trained on."""


class UnknownCharacterError(TextError):
    """A character outside the tokenizer's vocabulary, and its index in the text."""

    def __init__(self, character: str, position: int):
        self.character, self.position = character, position
        super().__init__(
            f"The character {character!r} (U+{ord(character):04X}) at position {position} does not occur in the text "
            "that this model learned from. Leave it out or choose another."
        )


class RunError(ExplorerError):
    """A run folder that is missing, damaged, or in a state that does not allow the request."""


class DiskFullError(RunError):
    """A write to a full disk; the previous content is unchanged."""

    problem = "disk"


class OutOfMemoryEstimate(ExplorerError):
    """Raised before training starts if the settings need more memory than the machine has."""

    problem = "memory"


class OutOfMemory(RunError):
    """Training that ran out of memory."""

    problem = "memory"


class TrainingError(ExplorerError):
    """Training that cannot continue: the loss is not finite, or a saved state belongs to another model."""


class NotFiniteError(TrainingError):
    """A loss, gradient or weight that is not a finite number."""

    problem = "not_finite"
