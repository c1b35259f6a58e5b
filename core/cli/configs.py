"""The options that say which run is meant to be trained, shared by `train` and `estimate`, and the config they make."""

import argparse
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from core.atomic_io import parse_json
from core.cli.assignments import assignment
from core.cli.find import find_run_at
from core.config import RunConfig, TrainConfig
from core.errors import ConfigError, TextError
from core.paths import data_dir
from core.presets import PRESETS, preset
from core.runs.folder import RunFolder
from core.settings import fields_of

FIRST_PRESET = next(iter(PRESETS))


class Wanted(NamedTuple):
    """A run that somebody describes in a shell."""

    config: RunConfig
    parent: RunFolder | None  # that it forks
    step: int | None  # of the parent's weights; None: the newest
    text: str | None  # of the user's own, not saved yet


def add_config_options(parser: argparse.ArgumentParser) -> None:
    devices = dict(fields_of(TrainConfig))["device"]
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument("--preset", metavar="NAME", help=f"{', '.join(PRESETS)} (default: {FIRST_PRESET})")
    origin.add_argument(
        "--from",
        dest="parent",
        metavar="RUN[@STEP]",
        help="fork: begin with a run's settings and weights, its newest or those it kept at a step; the optimizer, the "
        "schedule and the steps begin afresh (default: no fork)",
    )
    text = parser.add_mutually_exclusive_group()
    text.add_argument(
        "--corpus", metavar="NAME", help="a text by its name; see: python -m core corpora (default: the preset's)"
    )
    text.add_argument(
        "--text", metavar="FILE", type=Path, help="a plain text file of your own, of any ending; - reads it from "
        "standard input (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="read settings from a JSON or YAML file, as --dump-config writes "
        "them; what it leaves out is the preset's (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="model.n_layer=6",
        help="change any setting, also one of the file's; may be given several times; see: python -m core settings "
        "(default: none)",
    )
    parser.add_argument("--steps", type=int, help="the same as --set train.steps=... (default: the preset's)")
    parser.add_argument("--device", help=f"{devices.help} One of {', '.join(devices.choices)} (default: the preset's)")


def config_wanted(options: argparse.Namespace) -> Wanted:
    """Return what the options ask for. Raises ExplorerError, in a sentence, where that cannot be."""
    from core.text.own_text import read_text

    in_file = dict(_flat(_read_config(options.config))) if options.config else {}
    named = in_file.pop("preset", None)
    if options.parent is None:
        parent, step, config = None, None, preset(options.preset or named or FIRST_PRESET)
    else:
        from core.runs.forks import fork_config

        parent, step = find_run_at(options.parent, data_dir())
        config = fork_config(parent, step)
    changes = in_file | dict(assignment(text, "--set", "model.n_layer=6") for text in options.set)
    asked = {"train.steps": options.steps, "train.device": options.device, "data.corpus": options.corpus}
    changes |= {path: value for path, value in asked.items() if value is not None}
    text = read_text(_read(options.text)) if options.text else None
    return Wanted(config.replace(changes), parent, step, text)


def _read_config(file: Path) -> Mapping[str, Any]:
    """Return what a file of settings holds.

    YAML's words for truth values stay words, because `compile: on` is one of three choices; the config knows which
    settings are true or false.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    Loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith((":bool", ":timestamp"))]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    content = _read(file)
    try:
        try:
            data = parse_json(content)
        except ValueError:
            data = yaml.load(content, Loader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        data = None
    if not isinstance(data, dict):
        raise ConfigError(
            f"The file {file} does not hold settings in JSON or YAML. This writes one: python -m core train "
            "--dump-config"
        )
    return data


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested settings by their dotted paths, as deep as configs are."""
    for name, value in data.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and path in RunConfig.model_fields:
            yield from _flat(value, f"{path}.")
        else:
            yield path, value


def _read(file: Path) -> bytes:
    try:
        return sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
    except OSError as error:
        raise TextError(f"The file {file} cannot be read ({error.strerror}).") from None
