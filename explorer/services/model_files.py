"""Upload and download of models: uploads become runs, runs become files for other programs and people."""

import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from core.atomic_io import TEMPORARY
from core.errors import ExplorerError
from core.formatting import memory_in_words
from core.import_export.external_weights import ExternalModelError
from core.runs.documents import DOCUMENTS, why_no_document
from core.runs.folder import RunFolder
from core.runs.model_files import CHECKPOINT, MODEL_FILE, import_model, pack, why_not
from explorer.i18n.language import N_, _

MAX_MEGABYTES = 1024  # of an upload: GPT-2 with 124 million parameters has 550. Streamlit's own text says "1GB"
_PACKED = "upload.zip"
_COPY = re.compile(r"( ?\(\d{1,3}\)| \d{1,3}| copy)(?=\.[^.]*$)")  # in the name of a second download
UPLOAD_HOURS = 6.0  # a killed server leaves uploads behind; the next upload deletes those older than this
EXPORTS = {  # the export formats of a run: their labels and file endings
    "report": (N_("Report (HTML)"), "report.html"),
    "notebook": (N_("Notebook that trains it again"), "retrain.ipynb"),
    "script": (N_("Script that trains it again"), "retrain.py"),
    "huggingface": (N_("For transformers (zip)"), "transformers.zip"),
    "nanogpt": (N_("For nanoGPT (zip)"), "nanogpt.zip"),
}


def write_export(data_dir: Path, run: RunFolder, kind: str, file: BinaryIO) -> None:
    """Write one of EXPORTS to a file. Raises ExplorerError with a sentence if the run cannot be exported like this."""
    if kind in DOCUMENTS:
        file.write(DOCUMENTS[kind](run, data_dir).encode())
    else:
        pack(run, kind, file)


def why_no_export(data_dir: Path, run: RunFolder, kind: str) -> str:
    """Return why a run cannot be exported like this; "" if it can. Raises RunError if its record is damaged."""
    if kind in DOCUMENTS:
        return why_no_document(run, kind, data_dir)
    if not run.has_weights:
        return _("It has no saved weights yet; the first are saved when training starts.")
    return why_not(run, kind)


class Upload(NamedTuple):
    """An uploaded file. Its original name is a label, never a path on this machine."""

    name: str
    content: BinaryIO
    size: int  # bytes


def import_uploads(data_dir: Path, uploads: Sequence[Upload], corpus: str, name: str) -> RunFolder:
    """Make a run from uploaded files and the text `corpus`. Raises ExplorerError if they are not a model."""
    files = _by_name(uploads)
    with _workplace(data_dir) as place:
        for file_name, upload in files.items():
            upload.content.seek(0)
            try:
                with (place / file_name).open("wb") as file:
                    shutil.copyfileobj(upload.content, file, 1 << 20)
            except OSError as error:
                raise _cannot_store(error) from None
        if _PACKED in files:
            return import_model(data_dir, place / _PACKED, corpus, name)
        source = place / CHECKPOINT if CHECKPOINT in files else place
        return import_model(data_dir, source, corpus, name or _("imported model"))


def import_from_hub(data_dir: Path, hub_name: str, corpus: str, name: str) -> RunFolder:
    """Make a run from a model on the Hugging Face Hub. Raises ExplorerError with a sentence if that is impossible."""
    from core.import_export.hub import download_model  # imports the hub's library: 0.1 s

    folder = download_model(hub_name, data_dir, MAX_MEGABYTES << 20)
    return import_model(data_dir, folder, corpus, name or hub_name)


def _by_name(uploads: Sequence[Upload]) -> dict[str, Upload]:
    if not uploads:
        raise ExternalModelError(_("Choose the files first: config.json with model.safetensors, or one ckpt.pt."))
    size = sum(upload.size for upload in uploads)
    if size > MAX_MEGABYTES << 20:
        words = _(
            "The files have {size} together, and at most {most} are taken here. In a shell there is no bound: "
            "python -m core import PATH",
            size=memory_in_words(size), most=memory_in_words(MAX_MEGABYTES << 20),
        )  # fmt: skip
        raise ExternalModelError(words)
    named: dict[str, Upload] = {}
    for upload in uploads:
        name = _name_here(upload.name)
        if name in named:
            raise ExternalModelError(_("There are two files for {name}. Which one belongs to the model?", name=name))
        if name is not None:
            named[name] = upload
    if not named:
        words = _(
            "Nothing here reads a file called {name}. Choose config.json, model.safetensors and the tokenizer's "
            "files, a nanoGPT checkpoint (.pt), or a zip of them or of a run.",
            name=repr(uploads[0].name[:60]),
        )
        raise ExternalModelError(words)
    if _PACKED in named and len(named) > 1:
        raise ExternalModelError(_("A zip is opened by itself. Choose it alone, or the files without it."))
    if CHECKPOINT in named and "model.safetensors" in named:
        raise ExternalModelError(
            _("These are two models: a checkpoint of nanoGPT and a model.safetensors. Choose one.")
        )
    return named


def _name_here(name: str) -> str | None:
    name = _COPY.sub("", name.lower())
    if name.endswith((".pt", ".pth")):
        return CHECKPOINT
    if name.endswith(".zip"):
        return _PACKED
    return name if MODEL_FILE.fullmatch(name) else None


def _cannot_store(error: OSError) -> ExplorerError:
    return ExplorerError(_("The upload cannot be kept on this machine ({reason}).", reason=error.strerror))


@contextmanager
def _workplace(data_dir: Path) -> Iterator[Path]:
    """Make an empty folder in the data folder, with a name that a run can show as its source; remove it afterwards."""
    downloads = data_dir / "downloads"
    try:
        for old in downloads.glob(f"{TEMPORARY}*"):
            if old.stat().st_mtime < time.time() - 3600 * UPLOAD_HOURS:
                shutil.rmtree(old, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=downloads))
        place = temporary / "uploaded files"
        place.mkdir()
    except OSError as error:
        raise _cannot_store(error) from None
    try:
        yield place
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
