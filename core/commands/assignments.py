"""`model.n_layer=6`: how settings and their values are written in a shell."""

import json
from typing import Any

from core.errors import ConfigError


def assignment(text: str, where: str, example: str) -> tuple[str, Any]:
    """`model.n_layer=6` as a path and a value: JSON where it is JSON, a word otherwise.

    Raises ConfigError, which says where it was written and gives an example, for anything else.
    """
    path, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{where} needs a setting and its value, such as {example}, not {text!r}.")
    try:
        return path.strip(), json.loads(value)
    except ValueError:
        return path.strip(), value.strip()
