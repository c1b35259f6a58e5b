"""Atomic file writes (after a crash they are done or undone): JSON, rows of `.jsonl` files, exported files."""

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

from core.errors import DiskFullError, ExplorerError, RunError
from core.paths import check_path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # errors of a full disk, quota or limit
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP)
TEMPORARY = ".tmp-"  # prefix of unfinished files and folders, which readers skip
_BLOCK = 1 << 16  # bytes read at a time from the end of a file


Content = bytes | Callable[[Path], None]  # a file's content, or a function that writes it


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Replace the content of `path`. If `durable`, it survives a power cut, not only a crash of the process."""
    temporary = _temporary(path)
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
    """Rename a finished file, and wait until the disk has its content and its name."""
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def remove_stale_temporary_files(folder: Path, seconds: float) -> None:
    """Remove unfinished files and folders under `folder` that are older than `seconds`."""
    for path in list(folder.rglob(f"{TEMPORARY}*")):
        with suppress(OSError):  # already gone, or not ours to remove
            if time.time() - path.lstat().st_mtime < seconds:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def write_json(path: Path, data: Any, *, durable: bool = True) -> None:
    """Replace a JSON file with `write_atomically`."""
    write_atomically(path, json.dumps(data, indent=2, allow_nan=False).encode(), durable=durable)


def parse_json(data: str | bytes) -> Any:
    """Parse a JSON text; raises ValueError if it is damaged or nested too deeply."""
    try:
        return json.loads(data)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def append_row(path: Path, row: Mapping[str, Any], *, durable: bool = False) -> None:
    """Append one line of JSON, completely or not at all. Numbers that JSON cannot represent (nan, inf) become null.

    If a crash left half a line at the end, the row starts on a new line. Several processes may append to one file.
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
            while line:  # before a full disk raises, it may accept part of a line
                line = line[file.write(line) :]
            if durable:
                os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def lock(file: IO[Any], *, wait: bool = True) -> None:
    """Lock an open file until it is closed. Raises BlockingIOError if it is already locked and `wait` is false."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        raise RunError(
            f"The files in {Path(file.name).parent} cannot be locked, because its file system does not support locks "
            f"({error.strerror}). Set GPT_EXPLORER_HOME to a folder on another disk."
        ) from None


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the complete rows of a `.jsonl` file, without lines torn by a crash; [] if there is no file."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    return [row for line in lines if (row := parse_row(line)) is not None]


def last_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the complete rows of a `.jsonl` file from last to first, each with the byte offset of its end."""
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
            own = 0 if begin == 0 else block.find(b"\n") + 1  # bytes before it belong to a line that starts earlier
            stop = len(block)
            while (stop := block.rfind(b"\n", own, stop) + 1) > own:
                start = max(own, block.rfind(b"\n", own, stop - 1) + 1)
                if (row := parse_row(block[start:stop])) is not None:
                    yield begin + stop, row
                stop = start
            rest = block[:own]


def cut_rows(path: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Truncate a `.jsonl` file after the last complete row for which `keep` is true."""
    end = next((end for end, row in last_rows(path) if keep(row)), 0)
    if path.exists() and path.stat().st_size > end:
        os.truncate(path, end)
        _sync(path)


def parse_row(line: bytes) -> dict[str, Any] | None:
    """Return the row in a line; None for a torn line or anything but a JSON object."""
    try:
        row = parse_json(line)
    except ValueError:  # torn, empty or not UTF-8
        return None
    return row if isinstance(row, dict) else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_files(folder: Path, files: Mapping[str, Content], force: bool = False) -> None:
    """Write all files or none, so that a full disk changes nothing. Keys of `files` are paths within `folder`.

    Raises ExplorerError if the disk is full, a folder is in the way, the path is not UTF-8, or (unless `force`) a file
    with other content exists.
    """
    check_path(folder)
    places = {(folder / name).resolve(): content for name, content in files.items()}  # follows links
    todo = {path: content for path, content in places.items() if not _holds(path, content)}
    for path in todo:
        _check_place(path, force)
    made: list[Path] = []
    temporary = {path: _temporary(path) for path in todo}
    try:
        for path, content in todo.items():
            _make_folder(path.parent, made)
            if isinstance(content, bytes):
                temporary[path].write_bytes(content)
            else:
                content(temporary[path])
        for path in todo:
            put_in_place(temporary[path], path)
    except BaseException as error:
        for unfinished in temporary.values():
            with suppress(OSError):
                unfinished.unlink()
        for empty in reversed(made):
            with suppress(OSError):  # not empty any more
                empty.rmdir()
        if isinstance(error, OSError):
            raise _refused(path, error) from None
        raise


def write_file(path: Path, content: bytes, force: bool = False) -> None:
    """Write one file like `write_files`, but write directly to a pipe or a device."""
    check_path(path)
    if path.exists() and not path.is_file() and not path.is_dir():
        try:
            path.write_bytes(content)
        except OSError as error:
            raise _refused(path, error) from None
        return
    write_files(path.parent, {path.name: content}, force)


def _holds(path: Path, content: Content) -> bool:
    with suppress(OSError):
        return isinstance(content, bytes) and path.stat().st_size == len(content) and path.read_bytes() == content
    return False


def _check_place(path: Path, force: bool) -> None:
    if path.is_dir():
        raise ExplorerError(f"{path} is a folder, but a file has to be written there. Give another name.")
    if not force and path.exists():
        raise ExplorerError(f"{path} already exists. Give another name, or replace it with --force.")


def _temporary(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name[-100:]}")


def _make_folder(folder: Path, made: list[Path]) -> None:
    missing = [folder, *folder.parents]
    missing = missing[: next(i for i, path in enumerate(missing) if path.exists())]
    if (above := (missing[-1].parent if missing else folder)) and not above.is_dir():
        raise ExplorerError(f"{above} is a file, but a folder is needed there. Give another name.")
    for path in reversed(missing):
        path.mkdir()
        made.append(path)


def _refused(path: Path, error: OSError) -> ExplorerError:
    if error.errno in FULL:
        return DiskFullError(
            f"{path} cannot be written, because the disk is full ({error.strerror}). Nothing was replaced; free disk "
            "space and try again."
        )
    return ExplorerError(f"{path} cannot be written ({error.strerror or type(error).__name__}). Give another place.")
