"""`set`, `pause`, `stop`, `show`, `rename` and `delete`: commands for one run."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any

from core.cli.arguments import add_run, assignment, find_run, new_supervisor
from core.cli.train import describe_status
from core.config import SETTINGS
from core.errors import RunError
from core.formatting import memory_in_words
from core.live_settings import LIVE_SETTINGS
from core.paths import data_dir
from core.runs.commands import config_now
from core.runs.folder import RunFolder
from core.settings import differences, value_at
from core.terminal import print_line
from core.trash import DAYS

_EXAMPLE = "learning_rate=3e-4"
_SHORT = {path.rpartition(".")[2]: path for path in LIVE_SETTINGS}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _command(
        commands,
        "set",
        "change settings of a run while it trains",
        set_live_settings,
        aliases=["turn"],
        description="Change settings of a run while it trains. A change takes effect at the next step, or when a "
        "run that is not training resumes. Without a setting, those that can be changed are shown with their values.",
        epilog="Settings: " + "; ".join(f"{name} ({SETTINGS[path].label})" for name, path in _SHORT.items()) + ".",
    )
    parser.add_argument("settings", nargs="*", metavar=_EXAMPLE, help="a setting and its new value")
    _command(commands, "pause", "pause a run after the current step", pause)
    _command(commands, "stop", "save a run and end its training", stop)
    parser = _command(
        commands, "show", "show a run: status, losses, settings that differ from its preset's, files", show
    )
    parser.add_argument("--json", action="store_true", help="write it as JSON, with all settings")
    parser = _command(commands, "rename", "rename a run", rename)
    parser.add_argument("name", metavar="NAME", help="the new name")
    parser = _command(commands, "delete", f"delete a run, which stays in the trash for {DAYS} days; asks first", delete)
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _command(commands: Any, name: str, about: str, run: Callable[..., None], **more: Any) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, **{"description": f"{about[0].upper()}{about[1:]}."} | more)
    add_run(parser)

    def run_on_folder(options: argparse.Namespace) -> None:
        run(find_run(options.wanted, data_dir()), options)

    parser.set_defaults(run=run_on_folder)
    return parser


def set_live_settings(folder: RunFolder, options: argparse.Namespace) -> None:
    from core.runs.commands import change_settings
    from core.runs.queue import existing_supervisor_lock

    changes = [_change(text) for text in options.settings]
    with existing_supervisor_lock(folder.path.parent):
        before = config_now(folder)
        now = change_settings(folder, *changes)
    for name, path in _SHORT.items():
        was, is_now = value_at(before, path), value_at(now, path)
        if was != is_now:
            print(f"{name}: {was} -> {is_now}")
        elif not changes:
            print(f"{name}: {is_now}")
    if changes and folder.status().pid is None:
        print("The run is not training now, so the change takes effect when it resumes.")


def _change(text: str) -> tuple[str, Any]:
    name, value = assignment(text, "set", _EXAMPLE)
    return _SHORT.get(name, name), value


def pause(folder: RunFolder, _: argparse.Namespace) -> None:
    new_supervisor().pause(folder)
    print_line(f"{folder.name} pauses after this step. Resume it: python -m core resume {folder.id}")


def stop(folder: RunFolder, _: argparse.Namespace) -> None:
    if folder.status().ended:
        raise RunError(f"The run {folder.name!r} is already {folder.status().state}, so there is nothing to stop.")
    new_supervisor().stop(folder)
    print_line(f"{folder.name} saves and stops after this step. Resume it later: python -m core resume {folder.id}")


def rename(folder: RunFolder, options: argparse.Namespace) -> None:
    before = folder.name
    folder.rename(options.name)
    print_line(f"{before} is now called {folder.name}.")


def delete(folder: RunFolder, options: argparse.Namespace) -> None:
    name = folder.name
    if options.yes or _confirmed(folder):
        new_supervisor().delete(folder)
        print_line(f"{name} is deleted.")
    else:
        print_line("Nothing was deleted.")


def _confirmed(folder: RunFolder) -> bool:
    if not sys.stdin.isatty():
        raise RunError("Deleting needs --yes, because nobody can be asked here.")
    status = folder.status()
    print_line(f"{folder.name}, {status.state} at step {status.step:,}: its weights, curves and texts are deleted too.")
    return input(f"Move it to the trash, where it stays for {DAYS} days? [y/N] ").strip().lower() in ("y", "yes")


def show(folder: RunFolder, options: argparse.Namespace) -> None:
    from core.runs.ancestry import preset_of
    from core.runs.weights import steps_with_weights

    record, status, config = folder.record(), folder.status(), config_now(folder)
    facts = {"id": folder.id, "name": record.name, "folder": str(folder.path.resolve()), "created": record.created}
    facts |= {"parent": record.parent, "parent_step": record.parent_step, "origin": record.origin}
    files = {"bytes": folder.size, "steps_with_weights": steps_with_weights(folder)}
    if options.json:
        everything = {**facts, "status": status.model_dump(), "config": config.model_dump(), "files": files}
        print(json.dumps(everything, indent=2, ensure_ascii=False))
        return
    for name, value in facts.items():
        if value is not None:
            print_line(f"{name}: {value}")
    print_line(f"state: {status.state}{f' ({status.reason})' if status.reason else ''}")
    print_line(f"progress: {describe_status(status)}")
    print_line(f"text: {config.data.corpus}")
    print_line(f"preset: {config.preset or 'none'}")
    base = preset_of(config)
    for path, value in differences(config, base).items():
        if path != "data.corpus":
            print_line(f"  {path}: {value} (preset: {value_at(base, path)})")
    steps = ", ".join(f"{step:,}" for step in files["steps_with_weights"])
    print_line(f"files: {memory_in_words(files['bytes'])}; weights of {f'steps {steps}' if steps else 'no step yet'}")
