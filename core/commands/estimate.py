"""`estimate`: what a run would take, after a moment of its real training on this machine."""

import argparse
import sys

from core.commands.assignments import assignment
from core.config import RunConfig
from core.errors import ConfigError
from core.home import home
from core.presets import PRESETS, preset
from core.words import duration_in_words, memory_in_words

_MOST_TOKENS = 1_000_000


def add_to(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser(
        "estimate",
        help="tell what a run would take",
        description="Tell how much memory and time a run would take, after a moment of its real training. What is "
        "found out is kept, and the page Train tells it too.",
    )
    parser.add_argument("--preset", metavar="NAME", help=", ".join(PRESETS))
    parser.add_argument("--corpus", metavar="NAME", help="a text by its name; see: python -m core corpora")
    parser.add_argument("--set", action="append", default=[], metavar="model.n_layer=6", help="change any setting")
    parser.add_argument("--settings", action="store_true", help="read all settings as JSON from standard input instead")
    parser.add_argument("--tokens", type=int, help="the model knows, if not one for each character of the text")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    from core.runs.capacity import threads, threads_for
    from core.runs.machine import machine_speed, run_precision
    from core.runs.trials import run_trial
    from core.text.corpora import load_corpus
    from core.training.estimate import estimate
    from core.training.hardware import find_hardware
    from core.training.memory import keep_freed_memory

    if options.settings:
        config = RunConfig.parse(sys.stdin.read())
    else:
        changes = dict(assignment(text, "--set", "model.n_layer=6") for text in options.set)
        changes |= {"data.corpus": options.corpus} if options.corpus else {}
        config = preset(options.preset or next(iter(PRESETS))).replace(changes)
    tokens = options.tokens
    if tokens is None:
        tokens = len(set(load_corpus(config.data.corpus, home())))
    elif not 2 <= tokens <= _MOST_TOKENS:
        raise ConfigError(f"--tokens cannot be {tokens}: it must be a whole number from 2 to {_MOST_TOKENS:,}.")
    hardware = find_hardware(config.train.device)
    keep_freed_memory()  # as a worker does
    count = threads_for(config, threads())
    correction = run_trial(config, tokens, hardware, count, home())
    choice, speed = run_precision(config, hardware, count, home()), machine_speed(home(), hardware, count)
    figures = estimate(config, tokens, speed, choice.precision, correction)
    print(f"{figures.parameters:,} parameters")
    print(f"{memory_in_words(figures.memory_bytes)} of memory while it trains, beside what Python and torch take")
    print(f"about {duration_in_words(figures.seconds)} for {config.train.steps:,} steps")
    print(f"computed in {choice.sentence}")
    return 0
