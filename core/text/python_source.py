"""The source of Python's own library: a text that every machine that runs this has."""

import sysconfig
from pathlib import Path

from core.errors import TextError

MAX_CHARACTERS = 6_000_000  # a bound for Pythons with a larger library; today's has about 4.4 million


def python_source(folder: Path | None = None) -> str:
    """The single-file modules of the standard library, by name, with a blank line between two.

    Files with anything but ASCII are left out, which keeps the vocabulary near 96 characters.

    Args:
        folder: where the library lies; this Python's own unless given.

    Raises:
        TextError: there is no source (some installations carry the library compiled, in an archive).
    """
    folder = folder or Path(sysconfig.get_path("stdlib"))
    parts, size = [], 0
    for file in sorted(folder.glob("*.py")):
        data = file.read_bytes()
        if not data.isascii() or b"\0" in data or not data.strip():
            continue
        if size + len(data) > MAX_CHARACTERS:
            break
        parts.append(data.decode("ascii").replace("\r\n", "\n").strip("\n") + "\n")
        size += len(data)
    if not parts:
        raise TextError(
            f"Python's library should have its source in {folder}, but there is none: this Python was installed "
            "without it. Choose another text."
        )
    return "\n".join(parts)
