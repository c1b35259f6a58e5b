"""`generate`: generate text with a trained model."""

import argparse
import sys

from core.cli.arguments import add_run, find_run_at
from core.errors import ConfigError
from core.paths import data_dir
from core.sampling_config import GenerationConfig
from core.settings import fields_of

_SHORT = {"max_new_tokens": "tokens"}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "generate text with a trained model"
    parser = commands.add_parser("generate", help=about, description=f"{about.capitalize()}.")
    add_run(parser, at_step=True)
    parser.add_argument(
        "--prompt",
        default="",
        help="text to continue; \\n is a newline (default: empty, the model starts from scratch)",
    )
    parser.add_argument(
        "--stop", default="", metavar="CHARACTERS", help="end before any of these; \\n is a newline (default: none)"
    )
    parser.add_argument(
        "--samples", type=int, default=1, metavar="N", help="number of texts; each has the next seed (default: 1)"
    )
    earlier = {"dest": "evict_fraction", "type": float, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument("--forget", **earlier)  # the earlier name of --evict-fraction
    for name, setting in fields_of(GenerationConfig):
        flag = f"--{_SHORT.get(name, name).replace('_', '-')}"
        about = f"{setting.help} (default: {setting.default})".replace("%", "%%")
        parser.add_argument(flag, dest=name, type=setting.type, default=setting.default, help=about)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings = GenerationConfig.parse({name: getattr(options, name) for name, _ in fields_of(GenerationConfig)})
    if options.samples < 1:
        raise ConfigError(f"--samples cannot be {options.samples}: it must be a whole number from 1 up.")

    from core.runs.weights import load_model, require_weights
    from core.sampling import generate, text_of
    from core.text.token_display import printable, read_newlines
    from core.text.tokenizers import opening_ids

    folder, step = find_run_at(options.wanted, data_dir())
    model, tokenizer, _ = load_model(folder, None if step is None else require_weights(folder, step)[0])
    prompt, stop = read_newlines(options.prompt), read_newlines(options.stop)
    ids, opening = tokenizer.encode(prompt), prompt
    if not ids:
        ids = opening_ids(tokenizer)
        opening = tokenizer.decode(ids).lstrip("\n")
    for number in range(options.samples):
        if number:
            sys.stdout.write("---------------\n")
        how = settings.replace({"seed": (settings.seed + number) % 2**31})
        sys.stdout.write(printable(opening))
        for text in text_of(generate(model, ids, how, alternatives=0, spread=True), tokenizer, stop):
            sys.stdout.write(printable(text))
            sys.stdout.flush()
        sys.stdout.write("\n")
    return 0
