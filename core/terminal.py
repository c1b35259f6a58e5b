"""Output that is safe on every terminal, even if it contains a user's text."""

import codecs
import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TextIO

from core.text.token_display import CONTROL_SIGNS, printable

_SPELLED = {"·": "-", "…": "...", "–": "-", "—": "-", "→": "->"} | {
    sign: f"^{chr(ord(control) ^ 64)}" for control, sign in CONTROL_SIGNS.items()
}


def prepare_output() -> None:
    """Make stdout and stderr write characters that their encoding lacks (`PYTHONIOENCODING=ascii`) as ASCII."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="spell")


def print_line(text: str, file: TextIO | None = None) -> None:
    """Print a line that may contain a user's input: a name, a path, a text."""
    print(printable(text), file=file)


class SafeStream:
    """A stream that never raises, even if the terminal is closed, the disk full or the reader gone."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        self._try(self._stream.write, text)
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _try(self, do: Callable[..., object], *arguments: str) -> None:
        try:
            do(*arguments)
        except (ValueError, RuntimeError):  # closed; or a signal handler writes while something is being written
            pass
        except OSError:  # discard all further output
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_SPELLED.get(character, "?") for character in error.object[error.start : error.end]), error.end


codecs.register_error("spell", _spell)
