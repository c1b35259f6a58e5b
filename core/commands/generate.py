"""`generate`: let a trained model write."""

import argparse
import sys

from core.commands.find import find_run
from core.errors import ExplorerError
from core.generation_config import GenerationConfig
from core.home import home
from core.settings import fields_of

_SHORT = {"max_new_tokens": "tokens"}


def add_to(commands: argparse._SubParsersAction) -> None:
    parser = commands.add_parser("generate", help="let a trained model write", description="Let a trained model write.")
    parser.add_argument("wanted", metavar="RUN", help="id, the beginning of one, name or path of a run, or: latest")
    parser.add_argument("--prompt", default="\n", help="what it goes on from (a new line)")
    parser.add_argument("--stop", default="", metavar="CHARACTERS", help="end before any of these; \\n is a new line")
    for name, setting in fields_of(GenerationConfig):
        flag = f"--{_SHORT.get(name, name).replace('_', '-')}"
        about = f"{setting.help} ({setting.default})".replace("%", "%%")
        parser.add_argument(flag, dest=name, type=setting.type, default=setting.default, help=about)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    settings = GenerationConfig.parse({name: getattr(options, name) for name, _ in fields_of(GenerationConfig)})
    if not options.prompt:
        raise ExplorerError("A prompt needs at least one character. Leave --prompt out to begin on a new line.")

    from core.generation import generate
    from core.runs.models import load_model

    model, tokenizer, _ = load_model(find_run(options.wanted, home()))
    ids = tokenizer.encode(options.prompt)
    stop = tokenizer.encode(options.stop.replace(r"\n", "\n"))
    sys.stdout.write(options.prompt.lstrip("\n"))
    for token in generate(model, ids, settings, stop=stop, alternatives=0, spread=True):
        sys.stdout.write(tokenizer.decode([token.id]))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
