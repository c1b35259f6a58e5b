"""The command line: parses the arguments, runs a command, and prints an error as one sentence.

Commands import their dependencies when they run, so that listing presets does not wait for torch.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from core.cli import control, lists, models, scaling_study, sweep, train
from core.errors import ConfigError, ExplorerError
from core.terminal import prepare_output, print_line

_COMMANDS = (train, sweep, scaling_study, control, models, lists)


def parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    made = argparse.ArgumentParser(prog="python -m core", description="Train a bigram model or a GPT on any text.")
    commands = made.add_subparsers(required=True, title="commands", metavar="COMMAND")
    for module in _COMMANDS:
        module.add_to(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 2 after an error with a message."""
    prepare_output()
    if train.processes_of_torchrun() <= 1:
        return _run(arguments)
    from core.runs.followers import follow_leader, release, torchrun_place

    place = torchrun_place()
    if place.rank:  # only the first process runs the command; the others train with it
        return follow_leader(place)
    try:
        return _run(arguments)
    finally:
        release(place.store)


def _run(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    try:
        if train.processes_of_torchrun() > 1 and options.run not in (train.train_command, train.resume_command):
            raise ConfigError(
                "Only the commands train and resume run in several processes. Run this one without torchrun."
            )
        code = options.run(options) or 0
        sys.stdout.flush()  # so that write errors are handled below
        return code
    except ExplorerError as error:
        print_line(str(error), sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of our output, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(
            f"The operating system refused an operation ({error.strerror or type(error).__name__}). Check the disk "
            "and the permissions, then try again.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130
