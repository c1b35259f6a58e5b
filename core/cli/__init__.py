"""What the shell can do: parses the line, calls a command, and turns our errors into one sentence.

Commands import what they need when they run: listing presets should not wait for torch.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from core.cli import control, generate, import_export, lists, train
from core.errors import ExplorerError
from core.terminal import prepare_output, print_line

_COMMANDS = (train, control, generate, lists, import_export)


def parser() -> argparse.ArgumentParser:
    """Return what parses all commands."""
    made = argparse.ArgumentParser(prog="python -m core", description="Train a bigram model or a GPT on any text.")
    commands = made.add_subparsers(required=True, title="commands", metavar="COMMAND")
    for module in _COMMANDS:
        module.add_to(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code: 0, or 2 after an error that a sentence explains."""
    prepare_output()
    options = parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()  # here, so that what it raises is told below
        return code
    except ExplorerError as error:
        print_line(str(error), sys.stderr)
        return 2
    except BrokenPipeError:  # whoever read our output, `head` say, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(
            f"The system refused what this needs ({error.strerror or type(error).__name__}). "
            "Check the disk and the permissions, then try again.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        return 130
