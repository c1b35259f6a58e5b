"""`import`, `export` and `notebooks`: models from elsewhere, and for elsewhere; runs and lessons to take along."""

import argparse
from pathlib import Path

from core.cli.arguments import add_run, find_run_at
from core.errors import RunError
from core.paths import data_dir
from core.terminal import print_line

_MODELS = ("huggingface", "nanogpt")
_FORCE = "replace files that exist already (they are left alone otherwise)"
_DOCUMENTS = ("script", "notebook", "report")


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = (
        "import a model: a folder of transformers (GPT-2, GPT-NeoX or Llama), a Hugging Face name, nanoGPT's ckpt.pt, "
        "or the zip of a run that the app's download gives"
    )
    parser = commands.add_parser("import", help=about, description=about)
    parser.add_argument(
        "source", metavar="PATH_OR_NAME", help="a folder, a ckpt.pt, a zip, or a name such as gpt2 (needs a network)"
    )
    parser.add_argument(
        "--corpus",
        default="shakespeare",
        help="the text for looking inside it and training it further (default: shakespeare)",
    )
    parser.add_argument("--name", help="a label for the run it becomes (default: the file's name)")
    parser.set_defaults(run=bring_in)
    about = (
        "export a run: its model for transformers (a folder) or nanoGPT (a folder or a .pt file), a script or notebook "
        "that repeats its training, or a report as one page of HTML"
    )
    parser = commands.add_parser("export", help=about, description=about)
    add_run(parser, at_step=True)
    parser.add_argument("kind", choices=_MODELS + _DOCUMENTS)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder, or the file, to write")
    parser.add_argument("--force", action="store_true", help=_FORCE)
    parser.set_defaults(run=send_out)
    about = "write the lessons as Jupyter notebooks, which run next to core"
    parser = commands.add_parser("notebooks", help=about, description=about)
    parser.add_argument("out", type=Path, metavar="OUT", help="the folder to write them into")
    parser.add_argument("--force", action="store_true", help=_FORCE)
    parser.set_defaults(run=write_lessons)


def bring_in(options: argparse.Namespace) -> int:
    from core.import_export.hub import HUB_NAME, download
    from core.runs.model_files import import_model

    source, name = Path(options.source), options.name
    if not source.exists() and HUB_NAME.fullmatch(options.source):
        source, name = download(options.source, data_dir()), name or options.source
    run = import_model(data_dir(), source.absolute(), options.corpus, name)
    print_line(f"{run.name} is run {run.id}. Write with it: python -m core generate {run.id}")
    return 0


def send_out(options: argparse.Namespace) -> int:
    from core.runs.documents import write_document
    from core.runs.model_files import export_hugging_face, export_nanogpt
    from core.runs.weights import require_weights

    run, step = find_run_at(options.wanted, data_dir())
    if options.kind in _DOCUMENTS and step is not None:
        raise RunError(f"A {options.kind} is of the whole run. Leave @{step} out.")
    how = ""
    if options.kind in _DOCUMENTS:
        write_document(run, options.kind, options.out.absolute(), data_dir(), options.force)
    else:
        weights = None if step is None else require_weights(run, step)[0]
        export = export_hugging_face if options.kind == "huggingface" else export_nanogpt
        how = export(run, options.out.absolute(), weights, options.force)
    for line in (f"{run.name} is written to {options.out}.", *how.splitlines()):
        print_line(line)
    return 0


def write_lessons(options: argparse.Namespace) -> int:
    from core.import_export.notebooks import write_notebooks

    for path in write_notebooks(options.out.absolute(), options.force):
        print_line(f"{path.name} is written to {options.out}.")
    return 0
