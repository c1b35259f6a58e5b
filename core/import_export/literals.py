"""Plain data as Python source that a person can read: as much on a line as fits."""

from typing import Any

_WIDTH = 108


def literal(value: Any, indent: int = 0) -> str:
    """The source of a value made of dicts, lists, tuples, strings, numbers and None; evaluated it is equal to it.

    Args:
        indent: of the line it begins on, in characters.
    """
    brackets = {dict: "{}", list: "[]", tuple: "()"}.get(type(value))
    flat = repr(value)
    if brackets is None or indent + len(flat) <= _WIDTH:
        return flat
    inner = indent + 4
    if isinstance(value, dict):
        items = [f"{key!r}: {literal(item, inner)}" for key, item in value.items()]
    else:
        items = [literal(item, inner) for item in value]
    gap = "\n" + " " * inner
    lines, line = [], ""
    for item in items:
        # Short things share a line; what spans several has lines of its own.
        if line and ("\n" in item or "\n" in line or inner + len(line) + len(item) > _WIDTH):
            lines.append(line)
            line = ""
        line = f"{line} {item},".strip()
    return brackets[0] + "".join(gap + line for line in [*lines, line]) + "\n" + " " * indent + brackets[1]
