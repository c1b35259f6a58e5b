"""What was measured: one JSON that every benchmark adds to, and each one's table in markdown."""

import json
from pathlib import Path
from typing import Any

from core.training.hardware import find_hardware

_out = Path("bench.json")


def send_to(path: Path) -> None:
    """Collect into this file from now on."""
    global _out
    _out = path


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """Keep one benchmark's rows under its name, in place of those of an earlier time, and print them as a table.

    Args:
        rows: of the same keys, which are the heads of the columns.
    """
    machine = find_hardware()
    figures = json.loads(_out.read_text("utf-8")) if _out.exists() else {}
    figures |= {"machine": machine.sentence, "versions": machine.versions, name: rows}
    _out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(f"\n### {name}\n\n{table(rows)}\n", flush=True)


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a markdown table, its columns aligned for whoever reads it as text."""
    heads = list(rows[0])
    cells = [heads, *([str(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
