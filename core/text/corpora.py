"""The catalogue of texts to learn from, and loading them by name."""

import hashlib
import sysconfig
from functools import lru_cache
from pathlib import Path

from core.errors import TextError
from core.text.corpus import Corpus
from core.text.own_text import load_own_text, own_text_file, own_texts
from core.text.python_source import python_source
from core.text.shakespeare import shakespeare

__all__ = ["Corpus", "catalogue", "find_corpus", "load_corpus", "preview", "text_hash"]

TINY_SHAKESPEARE_URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"
TINY_SHAKESPEARE_SHA256 = "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"
TINY_SHAKESPEARE_FILE = "tinyshakespeare.txt"

_BEGINNING = 2000  # characters, more than enough for a first line
_BUILT_IN = {"shakespeare": shakespeare, "python": python_source}


def catalogue(data_dir: Path) -> list[Corpus]:
    """Every text there is: what comes with the lab, then the user's own, newest first."""
    built_in = [
        Corpus(
            name="shakespeare",
            title="Shakespeare's plays",
            language="English, about 1600",
            licence="public domain",
            description="All 37 plays, as speeches under their speakers' names. Comes with the lab, no download.",
            characters=4_668_438,
        ),
        Corpus(
            name="tinyshakespeare",
            title="Tiny Shakespeare",
            language="English, about 1600",
            licence="public domain",
            description="Karpathy's extract of the plays, on which the best known results for small GPTs were reached.",
            characters=1_115_394,
            download=not (data_dir / "downloads" / TINY_SHAKESPEARE_FILE).exists(),
        ),
        Corpus(
            name="python",
            title="Python's own library",
            language=f"Python {sysconfig.get_python_version()}",
            licence="PSF License",
            description="The source of the modules that came with the Python on this machine. A GPT that writes code.",
            characters=_python_size(),
        ),
    ]
    return built_in + own_texts(data_dir)


def find_corpus(name: str, data_dir: Path) -> Corpus:
    """The catalogue's entry of that name; raises TextError that names the known ones."""
    known = {corpus.name: corpus for corpus in catalogue(data_dir)}
    if name not in known:
        raise TextError(f"There is no text called {name!r}. The texts are: {', '.join(known)}.")
    return known[name]


def load_corpus(name: str, data_dir: Path) -> str:
    """The whole text of that name; the last few are kept in memory.

    Raises:
        TextError: no such text, or it cannot be read, downloaded or trusted.
    """
    if name in _BUILT_IN:
        return _load_built_in(name)
    if name == "tinyshakespeare":
        return _load_tiny_shakespeare(data_dir)
    find_corpus(name, data_dir)  # also where it was loaded before and is deleted now
    return _load_own(name, data_dir)


def preview(corpus: Corpus, data_dir: Path, length: int = 50) -> str:
    """Its first line that says something, cut to so many characters. Never downloads: empty where it is not here."""
    if corpus.download:
        return ""
    try:
        if corpus.name in _BUILT_IN:
            beginning = _load_built_in(corpus.name)[:_BEGINNING]
        else:
            file = (
                own_text_file(corpus.name, data_dir) if corpus.own else data_dir / "downloads" / TINY_SHAKESPEARE_FILE
            )
            with file.open(encoding="utf-8", errors="replace") as text:
                beginning = text.read(_BEGINNING)
    except (OSError, TextError):
        return ""
    lines = [" ".join(line.split()) for line in beginning.splitlines()]
    said = next((line for line in lines if line and not line.endswith(":")), "")  # the name of a speaker says nothing
    return said if len(said) <= length else said[: length - 1].rstrip() + "\u2026"


def text_hash(text: str) -> str:
    """The sha256 of the text in UTF-8, in hexadecimal: what a run remembers its text by."""
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=2)
def _load_built_in(name: str) -> str:
    return _BUILT_IN[name]()


@lru_cache(maxsize=1)
def _load_tiny_shakespeare(data_dir: Path) -> str:
    # Imported only here: no other text needs the libraries that download.
    from core.text.download import fetch

    file = fetch(TINY_SHAKESPEARE_URL, TINY_SHAKESPEARE_SHA256, data_dir / "downloads", TINY_SHAKESPEARE_FILE)
    return file.read_text(encoding="utf-8")


@lru_cache(maxsize=2)  # a text of one's own may have 20 MB
def _load_own(name: str, data_dir: Path) -> str:
    return load_own_text(name, data_dir)


def _python_size() -> int:
    try:
        return len(_load_built_in("python"))
    except TextError:  # said when it is chosen; the other texts stay usable
        return 0
