"""The user's own texts: decoding, checking, saving and deleting them."""

import codecs
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.atomic_io import parse_json, write_atomically
from core.classroom import check_quota
from core.config import SETTINGS
from core.errors import TextError
from core.formatting import memory_in_words, one_line
from core.paths import class_root, is_shared, member_homes
from core.text import split_point
from core.text.splitting import HALF_OF_A_PAIR
from core.text.tokenizers import Tokenizer
from core.trash import put_into_trash

MAX_BYTES = 20 * 2**20  # in UTF-8
MAX_DISTINCT = 20_000
TITLE_LENGTH = 80
_OWN = "your own"
_CHARACTERS_A_TOKEN = 8  # upper bound for GPT-2's tokenizer in most texts
_NAME = re.compile(r"text-[0-9a-f]{16}")
# Longer marks first: UTF-32's starts with UTF-16's.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_BYTES_A_LETTER = {"utf-8": 1, "utf-16": 2, "utf-32": 4}  # for letters that take one byte in UTF-8
_CONTEXT = SETTINGS["model.block_size"]


@dataclass(frozen=True)
class Corpus:
    """One entry of the list of texts."""

    name: str  # in configs and on the command line
    title: str  # shown to people; for a user's own text, their label
    language: str
    license: str
    description: str
    characters: int  # its length; 0 if unknown before it is loaded
    own: bool = False  # the user's own text, which can be deleted
    download: bool = False  # it is not on this machine yet; loading downloads it once
    text: Callable[[], str] | None = None  # makes an included text


def read_text(data: bytes | str) -> str:
    """Return a text to train on from a file's bytes (UTF-8, or UTF-16 or UTF-32 with a byte order mark) or a string.

    A byte order mark is dropped, and every line ends in a plain newline. Raises TextError for an empty text, another
    encoding, a NUL, half a surrogate pair, more than MAX_BYTES, or more than MAX_DISTINCT distinct characters.
    """
    text = decode_text(data) if isinstance(data, bytes) else data
    _check_size(len(text.encode("utf-8", "surrogatepass")))
    check_characters(text)
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise TextError("This text is empty. Paste some text, or choose a file that has some.")
    if (distinct := len(set(text))) > MAX_DISTINCT:
        raise TextError(
            f"This text has {distinct:,} distinct characters; a table for that many would be too large, so at most "
            f"{MAX_DISTINCT:,} are allowed. Choose a text in fewer scripts."
        )
    return text


def check_characters(text: str, start: int = 0) -> None:
    """Raise TextError for a NUL or half a surrogate pair in a part of a text that starts at `start`."""
    if (position := text.find("\0")) >= 0:
        raise TextError(
            f"There is a NUL character at position {start + position:,}, so this is probably not a plain text file. "
            "Save it as plain text in UTF-8."
        )
    if half := HALF_OF_A_PAIR.search(text):
        raise TextError(
            f"The character at position {start + half.start():,} is half of a surrogate pair (U+{ord(half[0]):04X}), "
            "which no text can hold. Remove it, or save the text as UTF-8 again."
        )


def has_byte_order_mark(data: bytes) -> bool:
    """Return whether a file starts with a byte order mark, which tells its encoding."""
    return data.startswith(tuple(_BYTE_ORDER_MARKS))


def check_trainable(
    text: str, block_size: int, val_fraction: float, tokenizer: Tokenizer | None = None, *, is_fork: bool = False
) -> None:
    """Raise TextError if a text cannot be trained on: both splits need at least a context and the token after it.

    The message names the longest context that fits, except to a fork, which keeps its context. Without a tokenizer,
    characters are counted.
    """
    if text.count(text[:1]) >= len(text):
        what = f"only one distinct character, {text[0]!r}" if text else "no characters"
        raise TextError(f"This text has {what}, so there is nothing to predict. Choose a text with at least two.")
    needed = _shortest(block_size + 1, val_fraction)
    length, unit = len(text), "characters"
    if tokenizer and not tokenizer.by_character:
        length, unit = _count_tokens(text, tokenizer, needed), "tokens"
    if length < needed:
        longest = min(split_point(length, val_fraction), length - split_point(length, val_fraction)) - 1
        shorter = f", or a context of at most {longest}" if longest >= _CONTEXT.low and not is_fork else ""
        raise TextError(
            f"This text has {length:,} {unit}; a context of {block_size} with {val_fraction:.0%} kept for validation "
            f"needs {needed:,}. Choose a longer text{shorter}."
        )


def save_text(text: str, title: str, data_dir: Path, license: str = _OWN) -> Corpus:
    """Save a text from `read_text`, or give it a new title; raises TextError if it cannot be written."""
    name = f"text-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder = data_dir / "texts"
    check_quota(data_dir)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / f"{name}.txt").exists():
            write_atomically(folder / f"{name}.txt", text.encode())
        return write_card(name, title, data_dir, characters=len(text), license=license)
    except OSError as error:
        raise TextError(f"The text cannot be kept in {folder}: {error.strerror or error}.") from None


def write_card(name: str, title: str, data_dir: Path, *, characters: int, license: str = _OWN, **about: str) -> Corpus:
    """Write a saved text's metadata beside it, and return its entry."""
    card = {"title": _clean(title), "characters": characters, "saved": datetime.now(UTC).isoformat()}
    card |= {"license": _clean(license), **about}
    write_atomically(own_text_file(name, data_dir).with_suffix(".json"), json.dumps(card).encode())
    return _corpus(name, card)


def card_of(name: str, data_dir: Path) -> dict[str, Any]:
    """Return the metadata from `write_card`; {} if they are lost or damaged."""
    try:
        card = parse_json(own_text_file(name, data_dir).with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def own_texts(data_dir: Path) -> list[Corpus]:
    """Return all saved texts, and the texts that the teacher of a class shares, newest first.

    A text whose title is lost or damaged is listed under its name.
    """
    root = class_root(data_dir)
    files = {file.stem: file for file in (root / "texts").glob("text-*.txt") if is_shared(root, file.stem)}
    files |= {file.stem: file for file in (data_dir / "texts").glob("text-*.txt")}
    cards = {name: _read_card(file) for name, file in files.items() if _NAME.fullmatch(name)}
    newest_first = sorted(cards, key=lambda name: (cards[name]["saved"], name), reverse=True)
    return [_corpus(name, cards[name], own=files[name].parents[1] == data_dir) for name in newest_first]


def student_text(name: str, data_dir: Path) -> Corpus:
    """Return the entry of another member's text; raises TextError for an invalid name."""
    return _corpus(name, _read_card(own_text_file(name, data_dir)), own=False)


def load_own_text(name: str, data_dir: Path) -> str:
    """Return the saved text of that name; raises TextError if it is missing or has changed."""
    try:
        data = own_text_file(name, data_dir).read_bytes()
    except OSError as error:
        raise TextError(f"The text {name} cannot be read: {error.strerror or error}.") from None
    if not hashlib.sha256(data).hexdigest().startswith(name.removeprefix("text-")):
        raise TextError(f"The text {name} has been changed on disk since it was saved. Add it again.")
    return data.decode()


def delete_text(name: str, data_dir: Path) -> None:
    """Put a saved text into the trash; raises TextError if there is none of that name."""
    file = own_text_file(name, data_dir)
    if file.parents[1] != data_dir:
        raise TextError(f"The text {name} belongs to somebody else, so it cannot be deleted here.")
    try:
        put_into_trash(data_dir, [path for path in (file, file.with_suffix(".json")) if path.exists() or path == file])
        for derived in file.parent.glob(f"{name}-*.bin"):
            derived.unlink(missing_ok=True)
    except FileNotFoundError:
        raise TextError(f"There is no text called {name!r} to delete.") from None
    except OSError as error:
        raise TextError(f"The text {name} cannot be deleted: {error.strerror or error}.") from None


def _check_size(size: int) -> None:
    if size > MAX_BYTES:
        raise TextError(
            f"This text has {size:,} bytes, and at most {MAX_BYTES:,} ({memory_in_words(MAX_BYTES)}) are allowed. "
            "Cut it to a part; a few million characters are plenty here."
        )


def decode_text(data: bytes) -> str:
    """Return the text of a file in UTF-8, or in its byte order mark's encoding; raises TextError for another."""
    mark, encoding = next(
        ((mark, name) for mark, name in _BYTE_ORDER_MARKS.items() if data.startswith(mark)), (b"", "utf-8")
    )
    _check_size((len(data) - len(mark)) // _BYTES_A_LETTER[encoding])
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-8" and b"\0" in data:
            raise TextError(
                "This is not a plain text file: it has zero bytes, as pictures, archives and documents do. "
                "Save its text as plain text in UTF-8 and try again."
            ) from None
        raise TextError(
            f"This is not valid {encoding.upper()}: byte {error.start:,} (0x{data[error.start]:02X}) cannot be read. "
            "Save the file as plain text in UTF-8 and try again."
        ) from None


def _count_tokens(text: str, tokenizer: Tokenizer, enough: int) -> int:
    beginning = text[: enough * _CHARACTERS_A_TOKEN]
    count = len(tokenizer.encode_array(beginning))
    return count if count >= enough or len(beginning) == len(text) else len(tokenizer.encode_array(text))


def _shortest(needed: int, val_fraction: float) -> int:
    length = max(needed, int((needed - 1) / val_fraction) - 1)  # a little too short, despite rounding
    while min(split_point(length, val_fraction), length - split_point(length, val_fraction)) < needed:
        length += 1
    return length


def _clean(title: str) -> str:
    return one_line(title)[:TITLE_LENGTH].strip() or "My text"


def own_text_file(name: str, data_dir: Path) -> Path:
    """Return the path of a saved text; raises TextError for any other name (such as a path)."""
    if not _NAME.fullmatch(name):
        raise TextError(f"There is no text of your own called {name!r}.")
    own = data_dir / "texts" / f"{name}.txt"
    # A teacher can read the texts of all members, and a member the texts that the teacher shares.
    others = [home / "texts" / own.name for home in member_homes(data_dir)]
    if is_shared(class_root(data_dir), name):
        others.append(class_root(data_dir) / "texts" / own.name)
    return own if own.exists() else next((path for path in others if path.exists()), own)


def _read_card(file: Path) -> dict[str, Any]:
    try:
        card = parse_json(file.with_suffix(".json").read_bytes())
        texts = {"title": _clean(str(card["title"])), "license": _clean(str(card.get("license", _OWN)))}
        return texts | {"characters": int(card["characters"]), "saved": str(card["saved"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"title": file.stem, "license": _OWN, "characters": 0, "saved": ""}


def _corpus(name: str, card: dict[str, Any], *, own: bool = True) -> Corpus:
    description = "A text added on this machine. It stays here." if own else "A text that your teacher shares."
    return Corpus(name, card["title"], _OWN, card["license"], description, card["characters"], own=own)
