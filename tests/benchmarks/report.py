"""Collect the results of all benchmarks in one JSON file, and write their tables into `docs/benchmarks.md`."""

import json
import os
import re
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from core.training.hardware import find_hardware, knows_bfloat16

_MEASURED = re.compile(r"^Measured on: (.*)$", re.MULTILINE)
_MEASURES = ("nanoGPT", "llama2.c", "ours")  # columns of figures; those in front of them say what a row measures
_WARNING = "Differs by more than a third between machines: "

_out = Path("bench.json")
_document = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def send_to(out: Path, document: Path) -> None:
    """Collect figures into this JSON file and this document from now on."""
    global _out, _document
    _out, _document = out, document


def why_not_writable(path: Path) -> str:
    """Return why figures cannot be written to this path, or ""; a missing file will be created."""
    path = path.absolute()
    if path.is_dir():
        return f"{path} is a folder, not a file"
    if not path.parent.is_dir():
        return f"{path.parent}, the folder of {path.name}, does not exist"
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        return f"{path} cannot be written to"
    return ""


def report(name: str, rows: list[dict[str, Any]]) -> None:
    """Store one benchmark's rows under its name, in place of earlier ones, and print them as a table.

    Args:
        rows: of the same keys, which are the heads of the columns.
    """
    machine = find_hardware()
    sentence = f"{machine.sentence[:-1]}, {'with' if knows_bfloat16('cpu') else 'without'} bfloat16 instructions."
    figures = json.loads(_out.read_text("utf-8")) if _out.exists() else {}
    figures |= {"machine": sentence, "versions": machine.versions, name: rows}
    _out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    text = f"{table(rows)}\n\nMeasured on: {sentence}\n"
    document = _document.read_text("utf-8") if _document.exists() else "# Benchmarks\n"
    _document.write_text(replace_section(document, name, text), "utf-8")
    print(f"\n### {name}\n\n{text}", flush=True)


def replace_section(document: str, name: str, text: str) -> str:
    """Return a markdown document with `text` below the heading `## name`; a new section goes to the end.

    Tables of other machines, each ended by its line "Measured on", stay in front of it, with a warning where a ratio
    differs. Notes, the paragraphs that begin with `>`, stay below the text.
    """
    heading = f"## {name}\n"
    before, present, rest = f"{document.rstrip()}\n".partition(f"\n{heading}")
    if not present:
        return f"{before}\n{heading}\n{text}"
    section, next_heading, after = rest.partition("\n## ")
    machine = _MEASURED.search(text)
    blocks = [block for block in _blocks(section) if machine and _MEASURED.search(block)[1] != machine[1]] + [text]
    text = "\n".join(blocks + [f"{_WARNING}{warning}\n" for warning in differing_ratios(blocks)])
    notes = "\n".join(re.findall(r"(?:^>.*\n?)+", section, re.MULTILINE))
    return f"{before}\n{heading}\n{text}" + (f"\n{notes.rstrip()}\n" if notes else "") + next_heading + after


def _blocks(section: str) -> list[str]:
    return [block[0] for block in re.finditer(r"(?:^\|.*\n)+\n+Measured on: .*\n", section, re.MULTILINE)]


def differing_ratios(blocks: list[str]) -> list[str]:
    """Return a sentence for each row whose ratio differs by more than a third between two machines' tables."""
    measured: dict[tuple[str, str], list[float]] = {}
    for block in blocks:
        lines = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in block.splitlines() if "|" in line]
        heads, rows = lines[0], lines[2:]
        labels = list(takewhile(lambda head: head not in _MEASURES and "ratio" not in head, heads))
        for row in rows:
            for head, cell in zip(heads, row, strict=True):
                with suppress(ValueError):
                    if "ratio" in head:
                        measured.setdefault((", ".join(row[: len(labels)]), head), []).append(float(cell))
    return [
        f"{label}: {head} is {' and '.join(f'{value:g}' for value in values)}."
        for (label, head), values in measured.items()
        if max(values) > min(values) * 4 / 3
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """Return rows as a markdown table, with columns that are aligned as text."""
    heads = list(rows[0])
    cells = [heads, *([str(row[head]) for head in heads] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(heads))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |" for line in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
