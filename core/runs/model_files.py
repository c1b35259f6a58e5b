"""Import of other programs' models as runs (finished without a single step), and export of runs to their formats."""

import re
import shlex
import tempfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal

from core.atomic_io import FULL, Content, write_files
from core.config import RunConfig
from core.errors import DiskFullError, ExplorerError
from core.import_export import huggingface, nanogpt
from core.import_export.external_weights import (
    ExternalModelError,
    build,
    check_belongs,
    read_tokenizer,
    without_padding,
)
from core.runs.archive import Archive, holds_run, import_run
from core.runs.folder import RunFolder
from core.runs.records import Status, plain_name
from core.runs.weights import load_model
from core.text.corpora import load_corpus
from core.text.tokenizers import BPETokenizer, CharTokenizer
from core.training.checkpoints import save_weights

Kind = Literal["huggingface", "nanogpt"]

CHECKPOINT = "ckpt.pt"  # the name that nanoGPT's sample.py expects
# The files that a model is read from; others in the same folder are ignored.
MODEL_FILE = re.compile(
    r"config\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json|ckpt\.pt"
    r"|tokenizer\.json|vocab\.json|merges\.txt|added_tokens\.json",
    re.ASCII,
)
_NO_DISK_SPACE = (
    "There is no space for the temporary files that this model must be written to. Free disk space, then try again."
)


def import_model(data_dir: Path, source: Path, corpus: str = "shakespeare", name: str | None = None) -> RunFolder:
    """Create a run from a model on disk; nothing in its files is executed. Raises ExplorerError if it is unusable.

    Args:
        source: a folder with config.json and model.safetensors (transformers' GPT-2, GPT-NeoX or Llama), nanoGPT's
            `ckpt.pt`, a zip of either, or the zip of a run, which becomes a run with all its history.
        corpus: the text for inspecting it and training it further; without a tokenizer, also for its characters.
    """
    if holds_run(source):
        return import_run(data_dir, source, name)
    if source.suffix.lower() == ".zip" and source.is_file():
        return _import_packed(data_dir, source, corpus, name)
    if source.is_dir():
        external, tokenizer, origin = huggingface.read_folder(source), read_tokenizer(source), "Hugging Face's format"
    elif source.is_file():
        external, origin = nanogpt.read_checkpoint(source), "nanoGPT's format"
        tokenizer = external.tokenizer or read_tokenizer(source.parent)
    else:
        raise ExternalModelError(f"There is no file or folder {source.name!r}.")
    if tokenizer is None:
        tokenizer = CharTokenizer.from_text(load_corpus(corpus, data_dir))
        if tokenizer.vocab_size != external.vocab_size:
            raise ExternalModelError(
                f"The model comes without a tokenizer and knows {external.vocab_size:,} tokens, but the text "
                f"{corpus!r} has {tokenizer.vocab_size:,} characters. Choose the text that it learned from, or add "
                "vocab.json and merges.txt."
            )
    if isinstance(tokenizer, BPETokenizer):
        tokenizer = tokenizer.limited_to(external.vocab_size)
    external = without_padding(external, tokenizer.vocab_size)
    check_belongs(tokenizer, external.vocab_size)
    config = RunConfig(model=external.config).replace(
        {
            "data.corpus": corpus,
            "data.tokenizer": tokenizer.name,
            "train.learning_rate": 3e-5,
            "train.min_learning_rate": 3e-6,
        }
    )
    model = build(external)

    def fill(run: RunFolder) -> None:
        run.update_record(origin=f"imported from {source.name}, in {origin}")
        tokenizer.save(run.tokenizer_path)
        save_weights(run.weights_path, model, external.step)
        run.write_status(Status(state="finished", step=external.step, steps=external.step, reason="An imported model."))

    return RunFolder.create(data_dir, config, name or source.stem, fill=fill)


def _import_packed(data_dir: Path, source: Path, corpus: str, name: str | None) -> RunFolder:
    with Archive(source) as archive, tempfile.TemporaryDirectory(prefix="gpt-explorer-") as temporary:
        place = Path(temporary) / source.name
        place.mkdir()
        for member in archive.members:
            file_name = PurePosixPath(member.filename).name
            if MODEL_FILE.fullmatch(file_name) and not (place / file_name).exists():
                archive.unpack(member, place / file_name)
        checkpoint = place / CHECKPOINT
        return import_model(data_dir, checkpoint if checkpoint.exists() else place, corpus, name or source.stem)


def export_hugging_face(run: RunFolder, folder: Path, weights: Path | None = None, force: bool = False) -> str:
    """Write a run's model as a folder that transformers loads, and return how to open it; raises ExplorerError."""
    loaded = load_model(run, weights)
    layout = huggingface.write_folder(folder, loaded.model, loaded.tokenizer, force)
    return f"Open it with transformers, as a {layout.title}: AutoModelForCausalLM.from_pretrained({str(folder)!r})"


def export_nanogpt(run: RunFolder, out: Path, weights: Path | None = None, force: bool = False) -> str:
    """Write a run's model as nanoGPT's `ckpt.pt`, with the `data/NAME/meta.pkl` of `sample.py`; return how to use it.

    `out` is the folder, or the checkpoint in it if it ends in `.pt`. Raises ExplorerError if it cannot be written.
    """
    folder, name = (out.parent, out.name) if out.suffix == ".pt" else (out, CHECKPOINT)
    files, sentences, start = _nanogpt_files(run, weights)
    write_files(folder, {name if file == CHECKPOINT else file: content for file, content in files.items()}, force)
    if meta := next((file for file in files if file != CHECKPOINT), None):
        sentences.append(f"sample.py looks for {meta} in nanoGPT's own folder, so copy {folder / 'data'} there.")
    if name != CHECKPOINT:
        sentences.append(f"It reads a file called {CHECKPOINT}, so rename {name}.")
    return "\n".join([*sentences, "In nanoGPT's folder, generate text with it:", _sample_command(str(folder), start)])


def _nanogpt_files(run: RunFolder, weights: Path | None = None) -> tuple[dict[str, Content], list[str], str]:
    """Return the files that nanoGPT needs, sentences on the limits of sample.py, and a prompt that it can read."""
    loaded = load_model(run, weights)
    dataset = f"{plain_name(run.name)}-{run.id[-6:]}"  # unique to the run, whose tokenizer never changes
    save = nanogpt.checkpoint_writer(loaded.model, loaded.tokenizer, dataset, loaded.step, run.status().val_loss)
    meta = nanogpt.meta(loaded.tokenizer)
    files: dict[str, Content] = {CHECKPOINT: save} | ({f"data/{dataset}/meta.pkl": meta} if meta else {})
    by_character = meta and isinstance(loaded.tokenizer, BPETokenizer)
    sentences = [
        "sample.py knows only GPT-2's tokens, so it reads prompts character by character, and writes a part of a "
        "character as its byte, such as <0xC3>."
    ]
    return files, sentences if by_character else [], nanogpt.first_prompt(loaded.tokenizer)


def _sample_command(folder: str, start: str) -> str:
    """Return the command that samples from a checkpoint, with a prompt if the model lacks sample.py's default."""
    options = [f"--out_dir={folder}", "--device=cpu"]
    if start.isalpha():
        options.append(f"--start={start}")
    elif start != "\n":  # nanoGPT parses the value as Python if it can, and allows no further "="
        options.append("--start=" + ascii(start).replace("=", r"\x3d"))
    return f"python sample.py {shlex.join(options)}"


def why_not(run: RunFolder, kind: Kind) -> str:
    """Return a sentence on why a run's model cannot be written in that format; "" if it can."""
    try:
        (huggingface.layout_for if kind == "huggingface" else nanogpt.check_writable)(run.record().config.model)
    except ExternalModelError as error:
        return str(error)
    return ""


def pack(run: RunFolder, kind: Kind, file: BinaryIO) -> None:
    """Write a run's model as a zip: transformers' folder, or files to unpack in nanoGPT's folder."""
    try:
        with tempfile.TemporaryDirectory(prefix="gpt-explorer-") as temporary:
            place = Path(temporary)
            if kind == "nanogpt":
                _write_for_unpacking(run, place)
            else:
                export_hugging_face(run, place)
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:  # weights do not compress
                for path in sorted(path for path in place.rglob("*") if path.is_file()):
                    archive.write(path, path.relative_to(place))
            file.flush()
    except (DiskFullError, OSError) as error:
        if isinstance(error, DiskFullError) or error.errno in FULL:
            raise DiskFullError(_NO_DISK_SPACE) from None
        raise ExplorerError(f"The model cannot be written into a temporary file ({error.strerror or error}).") from None


def _write_for_unpacking(run: RunFolder, folder: Path) -> None:
    files, sentences, start = _nanogpt_files(run)
    own = f"out-{plain_name(run.name)}-{run.id[-6:]}"
    packed = {f"{own}/{file}" if file == CHECKPOINT else file: content for file, content in files.items()}
    where = f"Unpack this zip in nanoGPT's folder: {' and '.join(packed)} must be in that folder."
    how = "\n".join([*sentences, f"{where} There, generate text with it:", _sample_command(own, start), ""])
    write_files(folder, packed | {f"{own}/README.txt": how.encode()})
