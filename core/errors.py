"""Errors whose message is a sentence for the person at the screen or the shell."""


class ExplorerError(Exception):
    """Something a user can understand and mend; pages and the command line show its message as it is."""


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


class OutOfMemoryEstimate(ExplorerError):
    """The settings need more memory than the machine has; raised before anything starts."""


class TrainingError(ExplorerError):
    """Training cannot go on: the loss is no longer a number, or a saved state is of another model."""
