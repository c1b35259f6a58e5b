"""Run the benchmarks, print a table and write it as JSON.

python -m tests.benchmarks [--text FILE] [--only quality|live ...] [--out benchmarks.json]
"""

import argparse
import json
from pathlib import Path

from rich.console import Console
from rich.table import Table

from core.training.hardware import find_hardware
from tests.benchmarks import live, quality


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--text", type=Path, help="Tiny Shakespeare, for the losses published on it")
    parser.add_argument("--only", nargs="+", choices=("quality", "live"), default=("quality", "live"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks.json"))
    arguments = parser.parse_args()
    if "quality" in arguments.only and not arguments.text:
        parser.error("quality needs --text, the file of Tiny Shakespeare that the published losses are on")

    machine = find_hardware()
    figures = {"machine": machine.sentence, "versions": machine.versions}
    if "quality" in arguments.only:
        figures["quality"] = quality.measure(arguments.text)
    if "live" in arguments.only:
        figures["live"] = live.measure()

    arguments.out.write_text(json.dumps(figures, indent=2) + "\n")
    table = Table("what", "measured", title=machine.sentence)
    for room in arguments.only:
        for what, value in figures[room].items():
            table.add_row(what, str(value))
    Console().print(table)


if __name__ == "__main__":
    main()
