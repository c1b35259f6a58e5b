"""`worker`: the process behind the app; not meant to be typed."""

import argparse

from core.errors import RunError


def add_to(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("worker")
    parser.add_argument("run_id", nargs="?")
    parser.add_argument("--standby", action="store_true")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from core.runs.worker import prewarm, work

    if options.standby:
        return prewarm()
    if not options.run_id:
        raise RunError("A worker needs the id of its run, or --standby.")
    return work(options.run_id)
