"""`estimate`: what a run would take, after a moment of its real training on this machine."""

import argparse
import sys

from core.cli.configs import Wanted, add_config_options, config_wanted
from core.config import RunConfig
from core.errors import ConfigError
from core.formatting import duration_in_words, memory_in_words
from core.paths import data_dir

_MOST_TOKENS = 1_000_000


def add_to(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "estimate",
        help="tell what a run would take",
        description="Tell how much memory and time a run would take, after a moment of its real training. What is "
        "found out is kept, and the page Train tells it too.",
    )
    add_config_options(parser)
    parser.add_argument("--settings", action="store_true", help="read all settings as JSON from standard input instead")
    parser.add_argument(
        "--tokens", type=int, metavar="N", help="size of the vocabulary (default: one token for each character of the "
        "text, or the parent's)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from core.fast.allocator import keep_freed_memory
    from core.runs.capacity import threads, threads_for
    from core.runs.checks import check_startable
    from core.runs.cost_trials import run_trial
    from core.runs.machine import machine_speed, run_precision
    from core.text.corpora import load_corpus
    from core.training.cost import estimate
    from core.training.hardware import find_hardware

    tokens = options.tokens
    if tokens is not None and not 2 <= tokens <= _MOST_TOKENS:
        raise ConfigError(f"--tokens cannot be {tokens}: it must be a whole number from 2 to {_MOST_TOKENS:,}.")
    wanted = Wanted(RunConfig.parse(sys.stdin.read()), None, None, None) if options.settings else config_wanted(options)
    config = wanted.config
    if tokens is None:
        tokens = check_startable(data_dir(), config, wanted.parent, wanted.text)
    length = 0 if options.settings else len(wanted.text or load_corpus(config.data.corpus, data_dir()))
    hardware = find_hardware(config.train.device)
    keep_freed_memory()  # as a worker does
    count = threads_for(config, threads())
    correction = run_trial(config, tokens, hardware, count, data_dir())
    choice, speed = run_precision(config, hardware, count, data_dir()), machine_speed(data_dir(), hardware, count)
    figures = estimate(config, tokens, speed, choice.precision, correction, length)
    print(f"{figures.parameters:,} parameters")
    print(f"{memory_in_words(figures.memory_bytes)} of memory while it trains, beside what Python and torch take")
    print(f"about {duration_in_words(figures.seconds)} for {config.train.steps:,} steps")
    print(f"computed in {choice.sentence}")
    return 0
