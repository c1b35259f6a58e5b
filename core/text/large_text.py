"""Texts that are too large for memory: saved in parts, and tokenized once into a file.

Batches are read from the memory-mapped token file. It has nanoGPT's format: ids as little-endian uint16 (uint32 for
larger vocabularies) without a header. Pages show only the text's beginning.
"""

import hashlib
import io
import mmap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import IO

import numpy as np

from core.atomic_io import TEMPORARY, put_in_place
from core.classroom import check_quota
from core.errors import TextError
from core.formatting import memory_in_words
from core.text.own_text import (
    MAX_BYTES,
    MAX_DISTINCT,
    Corpus,
    card_of,
    check_characters,
    own_text_file,
    write_card,
)
from core.text.splitting import chunks_of_file
from core.text.tokenizers import OnProgress, Tokenizer

MAX_LARGE_BYTES = 8 * 2**30  # in UTF-8
_CHUNK = 2**21  # characters read at once


def save_large_text(
    source: IO[bytes], title: str, data_dir: Path, on_progress: Callable[[int], None] = lambda done: None
) -> Corpus:
    """Save a plain UTF-8 text of at most MAX_LARGE_BYTES; return its entry.

    As in `read_text`, a byte order mark is dropped and lines end in a plain newline. `on_progress` gets the bytes read,
    and may raise to stop; then nothing is kept. Raises TextError for another kind of text, or a full disk.
    """
    check_quota(data_dir)
    folder = data_dir / "texts"
    digest, distinct, length = hashlib.sha256(), set[str](), 0
    temporary = folder / f"{TEMPORARY}large-{token_hex(8)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as target:
            reader = io.TextIOWrapper(source, "utf-8-sig", newline=None)
            while chunk := reader.read(_CHUNK):
                check_characters(chunk, length)
                length += len(chunk)
                distinct |= set(chunk)
                data = chunk.encode()
                digest.update(data)
                target.write(data)
                _check_limits(target.tell(), len(distinct))
                on_progress(source.tell())
            reader.detach()
        name = f"text-{digest.hexdigest()[:16]}"
        about = {"characters": length, "sha256": digest.hexdigest(), "vocabulary": "".join(sorted(distinct))}
        put_in_place(temporary, folder / f"{name}.txt")
        return write_card(name, title, data_dir, **about)
    except UnicodeDecodeError as error:
        raise TextError(
            f"This is not valid UTF-8: after {length:,} characters comes a byte that cannot be read "
            f"(0x{error.object[error.start]:02X}). Save the file as plain text in UTF-8 and try again."
        ) from None
    except OSError as error:
        raise TextError(f"The text cannot be kept in {folder}: {error.strerror or error}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def is_large_text(corpus: str, data_dir: Path) -> bool:
    """Return whether a text is too large to be loaded as a whole."""
    with suppress(TextError, OSError):
        return own_text_file(corpus, data_dir).stat().st_size > MAX_BYTES
    return False


def beginning_of(corpus: str, data_dir: Path) -> str:
    """Return the first MAX_BYTES of a large text, up to the last whole line."""
    with own_text_file(corpus, data_dir).open("rb") as file:
        text = file.read(MAX_BYTES).decode(errors="ignore")
    return text[: text.rfind("\n") + 1] or text


def vocabulary_of_large(corpus: str, data_dir: Path) -> str:
    """Return all characters of a large text, in the order of their code points."""
    return str(card_of(corpus, data_dir).get("vocabulary", ""))


def hash_of_large(corpus: str, data_dir: Path) -> str:
    """Return the SHA-256 of a large text in UTF-8, from when it was saved."""
    return str(card_of(corpus, data_dir).get("sha256", ""))


def token_ids(corpus: str, tokenizer: Tokenizer, data_dir: Path, report: OnProgress = lambda share: None) -> np.ndarray:
    """Return the ids (N,) of a large text, mapped from a file; `report` gets the progress of writing it the first time.

    A file with wrong ids, such as in another byte order, is rewritten. Raises TextError for no disk space.
    """
    dtype = np.dtype("<u2" if tokenizer.vocab_size <= 2**16 else "<u4")
    kind = hashlib.sha256("\0".join((tokenizer.name, *tokenizer.tokens)).encode()).hexdigest()[:16]
    path = data_dir / "texts" / f"{corpus}-{kind}.bin"
    if not path.exists() or not _holds_ids(path, dtype, tokenizer.vocab_size):
        _write_tokens(own_text_file(corpus, data_dir), tokenizer, path, dtype, report)
    with path.open("rb") as file:  # copy on write, though nothing writes: torch refuses read-only arrays
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    # Batches start anywhere: what the system would read ahead is useless, and would fill the memory.
    if hasattr(mmap, "MADV_RANDOM"):
        mapped.madvise(mmap.MADV_RANDOM)
    return np.frombuffer(mapped, dtype)


def _holds_ids(path: Path, dtype: np.dtype, vocab_size: int) -> bool:
    """Return whether a file starts with ids within the vocabulary, and ends with a whole one."""
    ids = np.fromfile(path, dtype, _CHUNK)
    return path.stat().st_size % dtype.itemsize == 0 and len(ids) > 0 and int(ids.max()) < vocab_size


def _write_tokens(source: Path, tokenizer: Tokenizer, path: Path, dtype: np.dtype, report: OnProgress) -> None:
    temporary = path.with_name(f"{TEMPORARY}{path.name}-{token_hex(8)}")
    size, done = source.stat().st_size, 0
    try:
        with temporary.open("wb") as target:
            for chunk in chunks_of_file(source, _CHUNK):
                ids = tokenizer.encode_array(chunk, np.int64).astype(dtype)
                target.write(ids.data)  # `tofile` hides the system's error
                done += len(chunk.encode())
                report(done / size)
        put_in_place(temporary, path)
    except OSError as error:
        raise TextError(f"The tokens cannot be kept in {path.parent}: {error.strerror or error}.") from None
    finally:
        temporary.unlink(missing_ok=True)


def _check_limits(size: int, distinct: int) -> None:
    if size > MAX_LARGE_BYTES:
        raise TextError(f"This text has more than {memory_in_words(MAX_LARGE_BYTES)}, the most that is taken. Cut it.")
    if distinct > MAX_DISTINCT:
        raise TextError(
            f"This text has more than {MAX_DISTINCT:,} distinct characters, the most that a table can have. Choose a "
            "text in fewer scripts."
        )
