"""`train` and `resume`: a run in this very process, with its progress on the terminal."""

import argparse
import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from core.commands.find import find_run
from core.commands.progress import progress
from core.config import RunConfig, TrainConfig
from core.errors import ConfigError, TextError
from core.home import home
from core.presets import PRESETS, preset
from core.runs.folder import RunFolder
from core.settings import fields_of


def add_to(commands: argparse._SubParsersAction) -> None:
    devices = dict(fields_of(TrainConfig))["device"]
    train = commands.add_parser("train", help="train a model", description="Train a model on a text.")
    train.add_argument("--preset", default=next(iter(PRESETS)), metavar="NAME", help=", ".join(PRESETS))
    text = train.add_mutually_exclusive_group()
    text.add_argument("--corpus", metavar="NAME", help="a text by its name; see: python -m core corpora")
    text.add_argument("--text", metavar="FILE", type=Path, help="a text of your own, in UTF-8")
    train.add_argument("--set", action="append", default=[], metavar="model.n_layer=6", help="change any setting")
    train.add_argument("--steps", type=int, help="the same as --set train.steps=...")
    train.add_argument("--device", help=f"{devices.help} ({', '.join(devices.choices)})")
    train.add_argument("--name", help="a label for the run")
    train.add_argument("--out", type=Path, metavar="DIR", help="where to put the run's folder (your runs)")
    train.set_defaults(run=begin)

    resume = commands.add_parser("resume", help="go on with a run", description="Go on from a run's last save.")
    resume.add_argument("wanted", metavar="RUN", help="id, the beginning of one, name or path of a run, or: latest")
    resume.add_argument("--device", help=f"{devices.help} ({', '.join(devices.choices)})")
    resume.set_defaults(run=go_on)


def begin(options: argparse.Namespace) -> int:
    """Make a run of what was asked for, and train it; refused before anything is written if it cannot work."""
    from core.text.corpora import load_corpus
    from core.text.own_text import check_trainable, read_text, save_text

    changes = dict(_assignment(text) for text in options.set)
    for path, value in (("train.steps", options.steps), ("train.device", options.device)):
        if value is not None:
            changes[path] = value
    if options.corpus:
        changes["data.corpus"] = options.corpus
    config = preset(options.preset).replace(changes)
    if options.text:
        text = read_text(_read(options.text))
        check_trainable(text, config.model.block_size, config.data.val_fraction)
        config = config.replace({"data.corpus": save_text(text, options.text.stem, home()).name})
    else:
        text = load_corpus(config.data.corpus, home())
        check_trainable(text, config.model.block_size, config.data.val_fraction)
    _check_fits(config, len(set(text)))
    folder = RunFolder.create(home(), config, options.name, inside=options.out and options.out.absolute())
    return _train(folder)


def go_on(options: argparse.Namespace) -> int:
    folder = find_run(options.wanted, home())
    return _train(folder, options.device, afresh=True)


def _train(folder: RunFolder, device: str | None = None, *, afresh: bool = False) -> int:
    from core.runs.engine import train_run

    meant = folder.id if folder.path.parent == home() / "runs" else str(folder.path)
    with progress(folder) as show, _stopping_politely(folder, show.note):
        status = train_run(folder, home(), device=device, on_status=show, afresh=afresh)
    show.note(status.reason or f"The run is {status.state}.")
    if status.state == "finished":
        show.note(f"Let it write: python -m core generate {meant}")
        return 0
    show.note(f"Go on: python -m core resume {meant}")
    return 130


@contextmanager
def _stopping_politely(folder: RunFolder, note) -> Iterator[None]:
    """The first Ctrl-C saves and stops between two steps; the second one ends at once."""

    def stop(number: int, frame: Any) -> None:
        signal.signal(number, before[number])
        folder.send("stop", reason="Stopped from the shell.")
        note("Saving; press Ctrl-C again to stop without.")

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _check_fits(config: RunConfig, vocab_size: int) -> None:
    """Refuse what needs more memory than there is, as the page does."""
    from core.training.estimate import check_fits, estimate
    from core.training.hardware import find_hardware
    from core.training.speed import MachineSpeed

    hardware = find_hardware(config.train.device)
    # Only the memory is asked for, so the machine need not be timed.
    prices = dict.fromkeys(("step_seconds", "layer_seconds", "flop_seconds", "number_seconds", "drop_seconds"), 0.0)
    check_fits(estimate(config, vocab_size, MachineSpeed(device=hardware.device, threads=1, **prices)), hardware)


def _assignment(text: str) -> tuple[str, Any]:
    """`model.n_layer=6` as a path and a value: JSON where it is JSON, a word otherwise."""
    path, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"--set needs a setting and its value, such as model.n_layer=6, not {text!r}.")
    try:
        return path.strip(), json.loads(value)
    except ValueError:
        return path.strip(), value.strip()


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise TextError(f"The file {file} cannot be read ({error.strerror}).") from None
