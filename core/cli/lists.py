"""`runs`, `corpora`, `presets` and `settings`: the commands that print lists."""

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from core.atomic_io import write_file
from core.config import SETTINGS
from core.paths import data_dir
from core.presets import PRESETS
from core.settings import Setting
from core.terminal import print_line
from core.text.token_display import printable


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    for name, show, about in (
        ("corpora", corpora_command, "list the texts to train on"),
        ("presets", presets_command, "list the presets"),
    ):
        commands.add_parser(name, help=about, description=about).set_defaults(run=show)
    about = "list your runs, newest first"
    parser = commands.add_parser("runs", help=about, description=about)
    parser.add_argument(
        "--export", metavar="FILE", type=Path, help="write them as one parquet table instead: a row for each run, with "
        "its losses and all settings (default: none)",
    )  # fmt: skip
    parser.add_argument("--force", action="store_true", help="replace a file that exists")
    parser.add_argument("--all", action="store_true", help="also list the runs of sweeps")
    parser.set_defaults(run=runs_command)
    about = "list all settings of a run, with default, bounds and help"
    parser = commands.add_parser("settings", help=about, description=about)
    parser.add_argument("--json", action="store_true", help="write them as JSON")
    parser.set_defaults(run=settings_command)


def runs_command(options: argparse.Namespace) -> None:
    from core.runs.folder import list_runs
    from core.sweeps.folder import single_runs

    runs = list_runs(data_dir())
    if options.export:
        from core.runs.documents import runs_as_parquet

        write_file(options.export.absolute(), runs_as_parquet(runs), options.force)
        print_line(f"The table of runs is in {options.export}.")
        return
    table = new_table("name", "state", "step", "validation loss", "id")
    shown = runs if options.all else list(single_runs(data_dir(), runs))
    for folder in shown:
        status = folder.status()
        loss = "" if status.val_loss is None else f"{status.val_loss:.3f}"
        table.add_row(
            Text(printable(folder.name)), status.state, f"{status.step:,} of {status.steps:,}", loss, folder.id
        )
    if folded := len(runs) - len(shown):
        table.add_row(f"... and {folded} of sweeps (runs --all)")
    print_table(table, "There are no runs yet. Start one: python -m core train")


def corpora_command(_: argparse.Namespace) -> None:
    from core.text.corpora import catalogue, preview

    table = new_table("name", "title", "characters", "language", "license", "begins")
    for corpus in catalogue(data_dir()):
        size = f"{corpus.characters:,}" if corpus.characters else "?"
        begins = Text(printable(preview(corpus, data_dir())) or "(downloaded when first used)" * corpus.download)
        table.add_row(corpus.name, Text(printable(corpus.title)), size, corpus.language, corpus.license, begins)
    print_table(table)


def presets_command(_: argparse.Namespace) -> None:
    table = new_table("name", "layers", "heads", "width", "context", "batch", "steps", "what it is")
    for name, make in PRESETS.items():
        config = make()
        model, train = config.model, config.train
        shape = (model.n_layer, model.n_head, model.n_embd) if model.kind == "gpt" else ("", "", "")
        numbers = map(str, (*shape, model.block_size, train.batch_size, train.steps))
        table.add_row(name, *numbers, (make.__doc__ or "").split("\n")[0])
    print_table(table)


def settings_command(options: argparse.Namespace) -> None:
    if options.json:
        print(json.dumps({path: _as_json(setting) for path, setting in SETTINGS.items()}, indent=2))
        return
    table = new_table("setting", "default", "bounds", "what it is")
    for path, setting in SETTINGS.items():
        table.add_row(path, Text(_in_words(setting.default)), Text(_bounds(setting)), Text(setting.help))
    print_table(table)


def _as_json(setting: Setting) -> dict[str, Any]:
    bounds = {"choices": list(setting.choices)} if setting.choices else {"low": setting.low, "high": setting.high}
    what = {"type": setting.type.__name__ if isinstance(setting.type, type) else "str", "unit": setting.unit}
    return {"default": setting.default, **bounds, **what, "label": setting.label, "help": setting.help}


def _bounds(setting: Setting) -> str:
    if setting.choices:
        return ", ".join(map(str, setting.choices))
    if setting.type is bool:
        return "true, false"
    if setting.low is None or setting.high is None:
        return ""
    return f"{_in_words(setting.low)} to {_in_words(setting.high)} {setting.unit}".strip()


def _in_words(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def new_table(*columns: str) -> Table:
    """Return a table without lines; columns that are too long for a terminal fold."""
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_table(table: Table, otherwise: str = "") -> None:
    """Print a table, uncut in a pipe, or the sentence `otherwise` if it has no rows."""
    console = Console(width=None if Console().is_terminal else 200)
    console.print(table if table.row_count else otherwise)
