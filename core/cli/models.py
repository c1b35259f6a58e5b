"""`generate`, `import`, `export`, `prepare` and `notebooks`: sample from a model, read and write other formats."""

import argparse
import sys
from pathlib import Path

from core.cli.arguments import add_config_options, add_run, config_wanted, find_run_at, save_own_text
from core.errors import ConfigError, RunError
from core.paths import data_dir
from core.sampling_config import GenerationConfig
from core.settings import fields_of
from core.terminal import print_line

_SHORT = {"max_new_tokens": "tokens"}
_MODELS = ("huggingface", "nanogpt")
_FORCE = "replace existing files (otherwise they are left alone)"
_DOCUMENTS = ("script", "notebook", "report")


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
        "--stop", default="", metavar="CHARACTERS", help="stop before any of these; \\n is a newline (default: none)"
    )
    parser.add_argument(
        "--samples", type=int, default=1, metavar="N", help="number of texts; each uses the next seed (default: 1)"
    )
    earlier = {"dest": "evict_fraction", "type": float, "default": argparse.SUPPRESS, "help": argparse.SUPPRESS}
    parser.add_argument("--forget", **earlier)  # the earlier name of --evict-fraction
    for name, setting in fields_of(GenerationConfig):
        flag = f"--{_SHORT.get(name, name).replace('_', '-')}"
        about = f"{setting.help} (default: {setting.default})".replace("%", "%%")
        parser.add_argument(flag, dest=name, type=setting.type, default=setting.default, help=about)
    parser.set_defaults(run=generate_command)
    about = (
        "import a model: a folder of transformers (GPT-2, GPT-NeoX or Llama), a Hugging Face name, nanoGPT's "
        "ckpt.pt, or the zip of a run downloaded from the app"
    )
    parser = commands.add_parser("import", help=about, description=about)
    parser.add_argument(
        "source", metavar="PATH_OR_NAME", help="a folder, a ckpt.pt, a zip, or a name such as gpt2 (needs a network)"
    )
    parser.add_argument(
        "--corpus",
        default="shakespeare",
        help="the text to look inside it with and to train it further on (default: shakespeare)",
    )
    parser.add_argument("--name", help="a name for the new run (default: the file's name)")
    parser.set_defaults(run=import_command)
    about = (
        "export a run: its model for transformers (a folder) or nanoGPT (a folder or a .pt file), a script or notebook "
        "that repeats its training, or a report as one page of HTML"
    )
    parser = commands.add_parser("export", help=about, description=about)
    add_run(parser, at_step=True)
    parser.add_argument("kind", choices=_MODELS + _DOCUMENTS)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder, or the file, to write")
    parser.add_argument("--force", action="store_true", help=_FORCE)
    parser.set_defaults(run=export_command)
    about = "write a text's tokens (with --from, a run's) for nanoGPT's train.py: train.bin, val.bin and meta.pkl"
    parser = commands.add_parser("prepare", help=about, description=about)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write, such as nanoGPT's data/NAME")
    parser.add_argument("--force", action="store_true", help=_FORCE)
    add_config_options(parser)
    parser.set_defaults(run=prepare_command)
    about = "write the lessons as Jupyter notebooks, which run next to core"
    parser = commands.add_parser("notebooks", help=about, description=about)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write them into")
    parser.add_argument("--force", action="store_true", help=_FORCE)
    parser.set_defaults(run=notebooks_command)


def generate_command(options: argparse.Namespace) -> None:
    settings = GenerationConfig.parse({name: getattr(options, name) for name, _ in fields_of(GenerationConfig)})
    if options.samples < 1:
        raise ConfigError(f"--samples cannot be {options.samples}: it must be a whole number from 1 up.")

    from core.fast.compiled import is_supported, is_worthwhile, load
    from core.runs.weights import load_model, require_weights
    from core.sampling import generate_together, text_of
    from core.text.token_display import printable, read_newlines
    from core.text.tokenizers import opening_ids

    folder, step = find_run_at(options.wanted, data_dir())
    model, tokenizer, _ = load_model(folder, None if step is None else require_weights(folder, step)[0])
    tokens = options.samples * settings.max_new_tokens
    if is_supported(model, settings.weights) and is_worthwhile(model, tokens):
        load()
    prompt, stop = read_newlines(options.prompt), read_newlines(options.stop)
    ids, opening = tokenizer.encode(prompt), prompt
    if not ids:
        ids = opening_ids(tokenizer)
        opening = tokenizer.decode(ids).lstrip("\n")
    how = [settings.replace({"seed": (settings.seed + number) % 2**31}) for number in range(options.samples)]
    samples = generate_together(model, [ids] * options.samples, how, alternatives=0, use_all_threads=True)
    for number, sample in enumerate(samples):
        if number:
            sys.stdout.write("---------------\n")
        sys.stdout.write(printable(opening))
        for text in text_of(sample, tokenizer, stop):
            sys.stdout.write(printable(text))
            sys.stdout.flush()
        sys.stdout.write("\n")


def import_command(options: argparse.Namespace) -> None:
    from core.import_export.hub import download_model
    from core.runs.model_files import import_model
    from core.text.download import HUB_NAME

    source, name = Path(options.source), options.name
    if not source.exists() and HUB_NAME.fullmatch(options.source):
        source, name = download_model(options.source, data_dir()), name or options.source
    run = import_model(data_dir(), source.absolute(), options.corpus, name)
    print_line(f"{run.name} is run {run.id}. Generate text with it: python -m core generate {run.id}")


def export_command(options: argparse.Namespace) -> None:
    from core.runs.documents import write_document
    from core.runs.model_files import export_hugging_face, export_nanogpt
    from core.runs.weights import require_weights

    run, step = find_run_at(options.wanted, data_dir())
    if options.kind in _DOCUMENTS and step is not None:
        raise RunError(f"A {options.kind} covers the whole run. Leave @{step} out.")
    how = ""
    if options.kind in _DOCUMENTS:
        write_document(run, options.kind, options.out.absolute(), data_dir(), options.force)
    else:
        weights = None if step is None else require_weights(run, step)[0]
        export = export_hugging_face if options.kind == "huggingface" else export_nanogpt
        how = export(run, options.out.absolute(), weights, options.force)
    for line in (f"{run.name} was written to {options.out}.", *how.splitlines()):
        print_line(line)


def prepare_command(options: argparse.Namespace) -> None:
    from core.atomic_io import write_files
    from core.import_export.nanogpt import data_files
    from core.runs.ancestry import parents_tokenizer
    from core.text.bpe import new_tokenizer
    from core.text.corpora import load_corpus, load_ids

    config, parent, _step, text = config_wanted(options)
    corpus = save_own_text(options.text, text).name if text else config.data.corpus
    config, text = config.replace({"data.corpus": corpus}), load_corpus(corpus, data_dir())
    data = config.data
    tokenizer = parents_tokenizer(parent, config, text) if parent else new_tokenizer(data, text, data_dir())
    ids = load_ids(corpus, tokenizer, data_dir())
    write_files(options.out.absolute(), data_files(ids, data.val_fraction, tokenizer), options.force)
    print_line(f"{len(ids):,} tokens were written to {options.out}. In nanoGPT's folder, train on them:")
    print_line(f"python train.py --dataset={options.out.absolute().name}")


def notebooks_command(options: argparse.Namespace) -> None:
    from core.import_export.notebooks import write_notebooks

    for path in write_notebooks(options.out.absolute(), options.force):
        print_line(f"{path.name} was written to {options.out}.")
