"""`model.n_layer=6`: how settings and their values are written in a shell."""

import re
from typing import Any

from core.atomic_io import parse_json
from core.errors import ConfigError


def is_step(text: str) -> bool:
    """Return whether a text is a number of steps: a whole number, no longer than any run's."""
    return re.fullmatch("[0-9]{1,9}", text) is not None


def assignment(text: str, where: str, example: str) -> tuple[str, Any]:
    """`model.n_layer=6` as a path and a value: JSON where it is JSON, a word otherwise.

    Raises ConfigError, which says where it was written and gives an example, for anything else.
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{where} needs a setting and its value, such as {example}, not {text!r}.")
    try:
        return path.strip(), parse_json(value)
    except ValueError:
        return path.strip(), value.strip()
