"""nanoGPT's data: `train.bin` and `val.bin` side by side, a text's ids as little-endian uint16 without a header.

They are decoded to text, which a run tokenizes itself. Another file defines their tokens. `meta.pkl` is never read,
because loading a pickle can run programs.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from core.atomic_io import parse_json
from core.errors import TextError
from core.formatting import memory_in_words
from core.text.own_text import MAX_BYTES, decode_text
from core.text.tokenizers import TOKENIZERS, BPETokenizer, CharTokenizer

PARTS = ("train.bin", "val.bin")
TOKEN_FILES = ("meta.json", "tokenizer.json", "input.txt")  # define the tokens: the first that exists
MAX_IDS = 2**16  # of two bytes
_MAX_SIZE = 2 * MAX_BYTES  # of both parts: a token is at least one byte of text
_HOW = (
    'GPT-2\'s tokenizer.json, the vocabulary as meta.json ({"itos": [...]}), or the text whose characters are the '
    "tokens, as input.txt"
)


def read_data_folder(file: Path, tokenizer: Path | None = None) -> str:
    """Return the text of `train.bin`, given by its path, and of `val.bin` beside it; raises TextError like `read_data`.

    `tokenizer` is a file that defines the tokens, by default one of TOKEN_FILES in the same folder.
    """
    folder, names = file.parent, (*PARTS, *TOKEN_FILES, "meta.pkl")
    there = [folder / name for name in names if (folder / name).is_file()]
    _check_size(sum(path.stat().st_size for path in there if path.name in PARTS))
    try:
        token_file = (tokenizer.name, tokenizer.read_bytes()) if tokenizer else None
        return read_data({path.name: path.read_bytes() for path in there}, token_file)
    except OSError as error:
        raise TextError(f"{error.filename} cannot be read: {error.strerror or error}.") from None


def read_data(files: Mapping[str, bytes], tokenizer: tuple[str, bytes] | None = None) -> str:
    """Return the text of nanoGPT's data from the files of its folder by name, the training part first.

    `tokenizer` is the name and content of a file that defines the tokens, by default one of TOKEN_FILES. Raises
    TextError for data that are missing, too large, of odd length, in another byte order, or from another tokenizer.
    """
    if missing := [name for name in PARTS if name not in files]:
        raise TextError(f"There is no {missing[0]}: nanoGPT's data are train.bin and val.bin, side by side.")
    _check_size(sum(len(files[name]) for name in PARTS))
    token_file = tokenizer or next(((name, files[name]) for name in TOKEN_FILES if name in files), None)
    if token_file is None:
        pickled = " meta.pkl is not read, because a pickle can run programs." if "meta.pkl" in files else ""
        raise TextError(f"No file says which tokens train.bin has.{pickled} One of these files is needed: {_HOW}.")
    table = _token_bytes(*token_file)
    ids = np.concatenate([_ids(name, files[name], len(table), token_file[0]) for name in PARTS])
    try:
        return b"".join([table[id] for id in ids.tolist()]).decode()
    except UnicodeDecodeError:
        raise TextError(
            f"With the tokens of {token_file[0]}, train.bin is not text in UTF-8, so another tokenizer made it."
        ) from None


def _check_size(size: int) -> None:
    if size > _MAX_SIZE:
        raise TextError(
            f"These tokens take {memory_in_words(size)}, and at most {memory_in_words(_MAX_SIZE)} are read. Decode "
            "them to a text file, which may be of any size."
        )


def _ids(name: str, data: bytes, vocab_size: int, tokenizer: str) -> np.ndarray:
    if len(data) % 2:
        raise TextError(
            f"{name} has {len(data):,} bytes, an odd number, and each of nanoGPT's tokens takes two. It is cut off, or "
            "of another kind."
        )
    ids = np.frombuffer(data, "<u2")
    if (highest := int(ids.max(initial=0))) < vocab_size:
        return ids
    if int(ids.byteswap().max()) < vocab_size:
        raise TextError(
            f"The tokens of {name} are in another byte order: with their two bytes swapped, all fit. nanoGPT writes "
            "the lower byte first; swap them (numpy's byteswap) and try again."
        )
    raise TextError(
        f"{name} has token {highest:,}, but {tokenizer} knows 0 to {vocab_size - 1:,}. Give the tokenizer that made it."
    )


def _token_bytes(name: str, data: bytes) -> list[bytes]:
    """Return each token's bytes, by its id."""
    if not name.endswith(".json"):
        return list(CharTokenizer.from_text(decode_text(data)).token_bytes)
    try:
        content = parse_json(data)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise TextError(f"{name} is not JSON that defines tokens. One of these is needed: {_HOW}.")
    if isinstance(kind := content.get("type"), str) and kind in TOKENIZERS:  # from a run's folder
        return list(TOKENIZERS[kind].parse(content).token_bytes)
    if "itos" not in content:
        try:
            return list(BPETokenizer.parse({"tokenizer": content}).token_bytes)
        except TextError:
            raise TextError(
                f"{name} is not a tokenizer.json of byte-pair encoding. One of these is needed: {_HOW}."
            ) from None
    itos = content["itos"]
    if isinstance(itos, dict):  # JSON's form of a dictionary with integer keys
        itos = [itos.get(str(id)) for id in range(len(itos))]
    if not isinstance(itos, list) or not itos or not all(isinstance(token, str) for token in itos):
        raise TextError(f"The itos of {name} must list the text of each token, from 0 on.")
    return [token.encode("utf-8", "surrogatepass") for token in itos]
