"""A checksum inside every weights file that is written here, so that one wrong byte anywhere in it is noticed.

It stands among the file's own metadata, so it goes wherever the file goes. It is the SHA-256 of the whole file with its
own 64 digits as zeros.
"""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

_KEY = "sha256_with_these_digits_as_zeros"
_ZEROS = "0" * 64
_STORED = re.compile(f'"{_KEY}":"([0-9a-f]{{64}})"'.encode())
_LONGEST_HEADER = 100_000_000  # bytes; safetensors refuses longer ones


def save_with_checksum(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file that `checksum_holds` can check; readers of safetensors files pass over the checksum.

    Raises OSError where it cannot be written.
    """
    save_tensors(tensors, path, {**metadata, _KEY: _ZEROS})
    with path.open("r+b") as file:
        _sort_metadata(file)
        at, _, computed = _digests(file)
        file.seek(at)
        file.write(computed)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a safetensors file. Raises OSError where it cannot be written."""
    try:
        save_file(dict(tensors), path, dict(metadata))
    except SafetensorError as error:  # it tells the system's number for what went wrong in words: `(os error 28)`
        if found := re.search(r"\(os error (\d+)\)", str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1]))) from None
        raise


def checksum_holds(path: Path) -> bool:
    """Whether a file's content is what was written; True also for files without a checksum of ours.

    A file that stays as it is is read for this only once. Raises OSError where it cannot be read.
    """
    found = path.stat()
    return _holds(path, found.st_ino, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4096)
def _holds(path: Path, _inode: int, _changed: int, _size: int) -> bool:
    with path.open("rb") as file:
        _, stored, computed = _digests(file)
    return stored is None or stored == computed


def _sort_metadata(file: BinaryIO) -> None:
    """Sort the metadata in the header: safetensors writes it in random order, and equal weights must be equal files."""
    length = int.from_bytes(file.read(8), "little")
    header = json.loads(file.read(length))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    file.seek(8)
    file.write(json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode().ljust(length))
    file.seek(0)


def _digests(file: BinaryIO) -> tuple[int, bytes | None, bytes]:
    """Where the checksum's digits begin, the digits, and what they should be; -1 and None where there are none."""
    length = file.read(8)
    header = file.read(min(int.from_bytes(length, "little"), _LONGEST_HEADER))
    found = _STORED.search(header)
    if found is None:
        return -1, None, b""
    digest = hashlib.sha256(length + header[: found.start(1)] + _ZEROS.encode() + header[found.end(1) :])
    while block := file.read(1 << 20):
        digest.update(block)
    return 8 + found.start(1), found[1], digest.hexdigest().encode()
