"""Writing files so that a crash at any moment leaves the old content or the new, never half of either."""

import errno
import fcntl
import json
import math
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from core.errors import RunError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # what the system says where a disk, a quota or a limit is full
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
TEMPORARY = ".tmp-"  # how the name of an unfinished file or folder begins; readers pass over them
_BLOCK = 1 << 16  # bytes read at a time from the end of a file


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace `path` with `data`: written under a temporary name, then renamed.

    Args:
        durable: wait until the disk has it, so that it outlasts a power cut. What is rewritten several times a
            second does without; it still outlasts the death of a process.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name}")
    try:
        temporary.write_bytes(data)
        if durable:
            put_in_place(temporary, path)
        else:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def put_in_place(temporary: Path, path: Path) -> None:
    """Rename a finished file; when this returns, the disk has its content and knows its name."""
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def sweep(folder: Path, seconds: float) -> None:
    """Remove what crashes have left unfinished anywhere under `folder`, but nothing younger than so many seconds."""
    for path in list(folder.rglob(f"{TEMPORARY}*")):
        with suppress(OSError):  # gone meanwhile, or not ours to remove
            if time.time() - path.lstat().st_mtime < seconds:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def write_json(path: Path, data: Any, *, durable: bool = True) -> None:
    write_atomically(path, json.dumps(data, indent=2, allow_nan=False).encode(), durable=durable)


def parse_json(data: str | bytes) -> Any:
    """Return what a JSON text holds; raises ValueError for any that is damaged, or nested too deeply to be read."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def append_row(path: Path, row: Mapping[str, Any], *, durable: bool = False) -> None:
    """Append one line of JSON, all of it or nothing. Numbers that JSON cannot hold (nan, inf) become null.

    Half a line that a crash has left at the end stays a line of its own. One that finds no room is taken back, so that
    the row can be written again later. Any number of processes may append to one file.

    Args:
        durable: wait until the disk has it, so that it outlasts a power cut.
    """
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value for key, value in row.items()
    }
    line = json.dumps(finite, allow_nan=False).encode() + b"\n"
    with path.open("ab+", buffering=0) as file:
        lock(file)
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            line = b"\n" + line
        try:
            while line:  # a disk that fills up takes the beginning, and refuses only the rest
                line = line[file.write(line) :]
            if durable:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def lock(file: IO, *, wait: bool = True) -> None:
    """Lock an open file for this process until it is closed.

    Raises:
        BlockingIOError: another process has it, and `wait` is False.
        RunError: its file system knows no locks.
    """
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise RunError(
            f"The files in {Path(file.name).parent} cannot be locked, because its file system has no locks "
            f"({error.strerror}). Set GPT_EXPLORER_HOME to a folder on another disk."
        ) from None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every whole row of a `.jsonl` file; a torn line (a crash mid-write) is passed over; no file, no rows."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [row for line in lines if (row := parse_row(line)) is not None]


def last_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The whole rows of a `.jsonl` file from the last to the first, each with the byte where it ends.

    Only as much is read as is asked for, so the end of a very long file costs no more than that of a short one.
    """
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        begin, rest = file.seek(0, os.SEEK_END), b""
        while begin:
            end, begin = begin, max(0, begin - _BLOCK)
            file.seek(begin)
            block = file.read(end - begin) + rest
            own = 0 if begin == 0 else block.find(b"\n") + 1  # before it the end of a line that begins further ahead
            stop = len(block)
            while (stop := block.rfind(b"\n", own, stop) + 1) > own:
                start = max(own, block.rfind(b"\n", own, stop - 1) + 1)
                if (row := parse_row(block[start:stop])) is not None:
                    yield begin + stop, row
                stop = start
            rest = block[:own]


def cut_rows(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Shorten a `.jsonl` file until its last row is whole and one to keep."""
    end = next((end for end, row in last_rows(path) if keep(row)), 0)
    if path.exists() and path.stat().st_size > end:
        os.truncate(path, end)
        _sync(path)


def parse_row(line: bytes) -> dict[str, Any] | None:
    """The row in a line; None for a torn one and for anything that is no row."""
    try:
        row = parse_json(line)
    except ValueError:  # torn, empty or not UTF-8
        return None
    return row if isinstance(row, dict) else None


def _sync(path: Path) -> None:
    """Wait until the disk has a file's content, or the names in a folder: a rename is lasting only then."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
