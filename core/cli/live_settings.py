"""`set`: change settings of a run while it trains."""

import argparse
from typing import Any

from core.cli.assignments import assignment
from core.cli.find import add_run, find_run
from core.config import RunConfig
from core.live_settings import LIVE_SETTINGS
from core.paths import data_dir
from core.settings import fields_of, value_at

_EXAMPLE = "learning_rate=3e-4"
_SHORT = {knob.rpartition(".")[2]: knob for knob in LIVE_SETTINGS}


def add_to(commands: argparse._SubParsersAction) -> None:
    labels = dict(fields_of(RunConfig))
    parser = commands.add_parser(
        "set",
        aliases=["turn"],
        help="change settings of a run while it trains",
        description="Change settings of a run while it trains: a change takes effect at its next step, or when a run "
        "that does not train now goes on. Without a setting, all that can be changed are shown with their values.",
        epilog="Settings: " + "; ".join(f"{name} ({labels[knob].label})" for name, knob in _SHORT.items()) + ".",
    )
    add_run(parser)
    parser.add_argument("settings", nargs="*", metavar=_EXAMPLE, help="a setting and its new value")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from core.runs.continuation import turn_all
    from core.runs.supervisor_lock import beside_supervisors

    folder = find_run(options.wanted, data_dir())
    changes = [_change(text) for text in options.settings]
    with beside_supervisors(folder.path.parent):
        before = folder.config_now()
        now = turn_all(folder, changes)
    for name, knob in _SHORT.items():
        was, is_now = value_at(before, knob), value_at(now, knob)
        if was != is_now:
            print(f"{name}: {was} -> {is_now}")
        elif not changes:
            print(f"{name}: {is_now}")
    if changes and folder.status().pid is None:
        print("The run does not train now, so this waits until it goes on.")
    return 0


def _change(text: str) -> tuple[str, Any]:
    name, value = assignment(text, "set", _EXAMPLE)
    return _SHORT.get(name, name), value
