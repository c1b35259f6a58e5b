"""Arguments that several commands share: settings and values, the selected run, and the config of a new run."""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.atomic_io import parse_json
from core.config import SETTINGS, RunConfig
from core.errors import ConfigError, RunError, TextError
from core.formatting import memory_in_words, whole_number
from core.paths import data_dir
from core.presets import PRESETS, preset
from core.runs.folder import RUN_ID, RunFolder, list_runs
from core.runs.gallery import gallery_runs
from core.terminal import print_line

if TYPE_CHECKING:
    from core.runs.supervisor import Supervisor
    from core.text.own_text import Corpus

FIRST_PRESET = next(iter(PRESETS))
_HUB = "hf:"  # prefix of dataset names
_MEANS = "a run's id or its first characters, its name or its path, or: latest"


def assignment(text: str, where: str, example: str) -> tuple[str, Any]:
    """Split `model.n_layer=6` into path and value (JSON, else a string); raises ConfigError naming option `where`."""
    path, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{where} needs a setting and its value, such as {example}, not {text!r}.")
    try:
        return path.strip(), parse_json(value)
    except ValueError:
        return path.strip(), value.strip()


def add_run(parser: argparse.ArgumentParser, *, at_step: bool = False) -> None:
    """Add the argument for `find_run`, or with `at_step` for `find_run_at`."""
    if at_step:
        parser.add_argument(
            "wanted",
            metavar="RUN[@STEP]",
            help=f"{_MEANS}; @STEP chooses weights saved at a step (default: the newest)",
        )
    else:
        parser.add_argument("wanted", metavar="RUN", help=_MEANS)


def add_track(parser: argparse.ArgumentParser) -> None:
    """Add the option for `choose_trackers`."""
    parser.add_argument(
        "--track",
        metavar="NAME",
        action="append",
        default=[],
        help="tracker for runs: tensorboard (event files beside the run), wandb, trackio or mlflow (with their own "
        "clients, installed separately), or none; may be given several times (default: tensorboard)",
    )


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the options for `choose_engine`, which say where runs train."""
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        help="where runs train: on this machine (local), or on the hosts of a Ray cluster (ray, which needs "
        "requirements-ray.txt); default: ray if GPT_EXPLORER_RAY names a cluster",
    )
    address = "address of the cluster's head (default: GPT_EXPLORER_RAY, else auto)"
    parser.add_argument("--ray-address", metavar="HOST:PORT", help=address)
    parser.add_argument(
        "--ray-storage",
        metavar="URL",
        default=os.environ.get("GPT_EXPLORER_RAY_STORAGE", ""),
        help="an object store, such as s3://bucket/runs, through which runs travel to hosts that do not share the "
        "folder of runs (default: GPT_EXPLORER_RAY_STORAGE)",
    )


def choose_engine(options: argparse.Namespace) -> None:
    """Make `engine_wanted` return the engine of these options; raises ExplorerError if no cluster answers."""
    if options.engine == "local":
        os.environ.pop("GPT_EXPLORER_RAY", None)
        return
    address = options.ray_address or os.environ.get("GPT_EXPLORER_RAY") or ("auto" if options.engine else "")
    if address:
        _connect_to_ray(address, options.ray_storage)


def new_supervisor() -> "Supervisor":
    """Return a supervisor for the data folder with the engine from `choose_engine` or the environment."""
    from core.runs.engines.engine import engine_wanted
    from core.runs.supervisor import Supervisor

    return Supervisor(data_dir(), engine=engine_wanted())


def _connect_to_ray(address: str, storage: str) -> None:
    """Make runs train on a Ray cluster, and print each host's resources or why it cannot train."""
    from core.runs.engines.ray_engine import RayEngine

    engine = RayEngine(address, storage)
    try:
        hosts = engine.connect(data_dir())
    finally:
        engine.close()
    for host in hosts:
        print_line(f"{host.name}: {host.problem or f'{host.cpus:.0f} cores, {host.gpus:.0f} GPUs'}")
    os.environ |= {"GPT_EXPLORER_RAY": address, "GPT_EXPLORER_RAY_STORAGE": storage}


def find_run_at(wanted: str, data_dir: Path) -> tuple[RunFolder, int | None]:
    """Return the run and the step of `RUN` or `RUN@STEP`. Raises RunError like `find_run`."""
    name, at, number = wanted.rpartition("@")
    step = whole_number(number) if at else None
    return find_run(wanted if step is None else name, data_dir), step


def find_run(wanted: str, data_dir: Path) -> RunFolder:
    """Return the run for an id or its prefix, a name, a folder's path or `latest`; RunError if not exactly one fits."""
    path = Path(wanted)
    if RUN_ID.fullmatch(path.name) and path.name != wanted and path.is_dir():
        listed = data_dir / "runs" / path.name
        return RunFolder(listed if listed.is_dir() and listed.samefile(path) else path.absolute())
    runs = list_runs(data_dir)
    if wanted == "latest" and runs:
        return runs[0]
    candidates = [*runs, *gallery_runs()]
    matches = [run for run in candidates if wanted and run.id.startswith(wanted)]
    matches = matches or [run for run in candidates if run.name == wanted]
    if not matches:
        if not runs:
            raise RunError("There are no runs yet. Start one: python -m core train")
        raise RunError(f"There is no run {wanted[:80]!r}. List them: python -m core runs")
    if len(matches) > 1:
        some = ", ".join(run.id for run in matches[:5]) + (", ..." if len(matches) > 5 else "")
        raise RunError(f"{wanted!r} matches {len(matches)} runs: {some}. Say which one.")
    return matches[0]


def add_config_options(parser: argparse.ArgumentParser) -> None:
    devices = SETTINGS["train.device"]
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument("--preset", metavar="NAME", help=f"{', '.join(PRESETS)} (default: {FIRST_PRESET})")
    origin.add_argument(
        "--from",
        dest="parent",
        metavar="RUN[@STEP]",
        help="fork: start from a run's settings and its weights, the newest or those saved at a step; the optimizer, "
        "the schedule and the steps start over (default: no fork)",
    )
    origin.add_argument(
        "--minutes",
        type=float,
        metavar="N",
        help="choose all settings so that the run takes about N minutes on this machine, with the lowest loss expected "
        "(default: a preset's settings)",
    )
    text = parser.add_mutually_exclusive_group()
    text.add_argument(
        "--corpus", metavar="NAME", help="a text by its name; see: python -m core corpora (default: the preset's)"
    )
    text.add_argument(
        "--text", metavar="FILE", type=Path, help="a text of your own: plain text, a table (.csv, .jsonl), .pdf, "
        ".docx, .epub or a .zip of such files; nanoGPT's train.bin, with val.bin beside it; hf:OWNER/NAME, a dataset "
        "of Hugging Face's hub; - reads standard input (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--column",
        default="",
        help="the column or field of a table that contains the text (default: the one with the most text)",
    )
    parser.add_argument(
        "--tokenizer", metavar="FILE", type=Path, help="the file that defines the tokens of a train.bin: a "
        "tokenizer.json, nanoGPT's meta as JSON, or the text whose characters they are (default: meta.json, "
        "tokenizer.json or input.txt beside it)",
    )  # fmt: skip
    parser.add_argument(
        "--encoding", default="", help="encoding of a text that is not UTF-8, such as cp1252 (default: UTF-8)"
    )
    parser.add_argument(
        "--config", metavar="FILE", type=Path, help="read settings from a JSON or YAML file, as --dump-config writes "
        "them; settings that it leaves out are the preset's (default: none)",
    )  # fmt: skip
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="model.n_layer=6",
        help="change any setting, including those in the file; may be given several times; see: python -m core "
        "settings (default: none)",
    )
    parser.add_argument("--steps", type=int, help="the same as --set train.steps=... (default: the preset's)")
    parser.add_argument("--device", help=f"{devices.help} One of {', '.join(devices.choices)} (default: the preset's)")


def config_wanted(options: argparse.Namespace) -> tuple[RunConfig, RunFolder | None, int | None, str | None]:
    """Return a new run's config, its parent if it is a fork, the step of the parent's weights, and an unsaved own text.

    Raises ExplorerError if the options are wrong.
    """
    in_file = dict(_flat(_read_config(options.config))) if options.config else {}
    named, text = in_file.pop("preset", None), _own_text(options) if options.text else None
    changes = in_file | dict(assignment(text, "--set", "model.n_layer=6") for text in options.set)
    short = {"train.steps": options.steps, "train.device": options.device, "data.corpus": options.corpus}
    changes |= {path: value for path, value in short.items() if value is not None}
    if options.minutes is not None:
        length = options.text.stat().st_size if options.text and _is_large(options.text) else None
        parent, step, config = None, None, _recipe(options.minutes, changes, text, length)
    elif options.parent is None:
        parent, step, config = None, None, preset(options.preset or named or FIRST_PRESET)
    else:
        from core.runs.ancestry import fork_config

        parent, step = find_run_at(options.parent, data_dir())
        config = fork_config(parent, step)
    return config.replace(changes), parent, step, text


def _recipe(minutes: float, changes: dict[str, Any], text: str | None, length: int | None) -> RunConfig:
    """Return the recipe for a run of `minutes` on this machine, given settings `changes` that the user has fixed.

    Without an own `text`, it is for the text in `changes`. `length` is given if `text` is only the start of a file.
    """
    from core.runs.machine import estimate_run
    from core.text.corpora import load_corpus
    from core.text.tokenizers import CharTokenizer
    from core.training.timed_recipe import recipe_for

    if "train.steps" in changes:
        raise ConfigError("--minutes chooses the number of steps. Leave out train.steps, or the minutes.")
    read = text or load_corpus(preset(FIRST_PRESET).replace(changes).data.corpus, data_dir())
    vocab_size = CharTokenizer.from_text(read).vocab_size

    def seconds(config: RunConfig) -> float:
        return estimate_run(config.replace(changes), vocab_size, data_dir()).seconds

    return recipe_for(minutes, length or len(read), seconds)


def save_own_text(file: Path, text: str) -> "Corpus":
    """Save the own text of `config_wanted`; if the file is too large for memory, `text` is only its beginning."""
    from core.text.large_text import save_large_text
    from core.text.own_text import save_text

    if not _is_large(file):
        return save_text(text, file.absolute().parent.name if file.suffix == ".bin" else file.stem, data_dir())
    print_line(f"Saving the text of {memory_in_words(file.stat().st_size)} ...")
    with file.open("rb") as source:
        return save_large_text(source, file.stem, data_dir())


def _is_large(file: Path) -> bool:
    from core.text.file_formats import is_plain
    from core.text.own_text import MAX_BYTES

    return file.is_file() and file.stat().st_size > MAX_BYTES and is_plain(file.name)


def _own_text(options: argparse.Namespace) -> str:
    from core.text.file_formats import text_of_file
    from core.text.nanogpt_data import PARTS, read_data_folder
    from core.text.own_text import MAX_BYTES, read_text

    if options.text.name in PARTS:
        return read_text(read_data_folder(options.text, options.tokenizer))
    if options.tokenizer:
        raise TextError("--tokenizer is for --text path/to/train.bin only. Leave it out.")
    if _is_large(options.text):
        with options.text.open("rb") as file:
            return read_text(file.read(MAX_BYTES).decode(errors="ignore"))
    if str(options.text).startswith(_HUB):
        return read_text(_text_of_hub(str(options.text).removeprefix(_HUB), options.column))
    data = _read(options.text)
    return read_text(text_of_file(options.text.name, data, column=options.column, encoding=options.encoding))


def _text_of_hub(name: str, column: str) -> str:
    from core.text.hub_datasets import columns_of_dataset, fetch_dataset, find_dataset

    dataset = find_dataset(name)
    columns = columns_of_dataset(dataset, dataset.parts[0])
    if column and column not in columns:
        raise TextError(f"There is no column {column!r} with text in {name}: {', '.join(columns)}.")
    *_, last = fetch_dataset(dataset, dataset.parts[0], column or columns[0])
    return last.text


def _read_config(file: Path) -> Mapping[str, Any]:
    import yaml

    class Loader(yaml.SafeLoader):
        pass

    # YAML's words for truth values stay strings, because `compile: on` is one of three choices.
    # pyrefly: ignore[instance-var-assign]
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
            f"The file {file} does not contain settings in JSON or YAML. This writes one that does: python -m core "
            "train --dump-config"
        )
    return data


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
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
