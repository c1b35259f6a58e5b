"""Files that somebody asked for at a place of their choice: all of them are written, or none, and none is replaced."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from core.atomic_io import FULL, TEMPORARY, put_in_place
from core.errors import DiskFullError, ExplorerError

Content = bytes | Callable[[Path], None]  # what a file holds, or what writes it


def write_files(folder: Path, files: Mapping[str, Content], force: bool = False) -> None:
    """Write files into a folder, which is made if it is missing.

    Each is written under a temporary name, and renamed when all are complete. So what was there before is still there
    if the disk is full.

    Args:
        files: by their paths within the folder.
        force: replace files of the same name. A file that already holds the very same bytes is always accepted.

    Raises:
        DiskFullError: the disk, a quota or a limit is full.
        ExplorerError: a file exists already, a folder is in the way, or the system refuses.
    """
    places = {(folder / name).resolve(): content for name, content in files.items()}  # where links lead to
    todo = {path: content for path, content in places.items() if not _holds(path, content)}
    for path in todo:
        _check_place(path, force)
    made: list[Path] = []
    temporary = {path: _beside(path) for path in todo}
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
            with suppress(OSError):  # something lies in it
                empty.rmdir()
        if isinstance(error, OSError):
            raise _refused(path, error) from None
        raise


def write_file(path: Path, content: bytes, force: bool = False) -> None:
    """Write one file; the same as `write_files`. What is no file, a pipe say, is written into as it is."""
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
        raise ExplorerError(f"{path} exists already. Give another name, or replace it with --force.")


def _beside(path: Path) -> Path:
    return path.with_name(f"{TEMPORARY}{secrets.token_hex(4)}-{path.name[-100:]}")


def _make_folder(folder: Path, made: list[Path]) -> None:
    """Make a folder and those above it, and note which ones are new."""
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
            f"{path} cannot be written, because there is no room ({error.strerror}). Nothing was replaced; make room "
            "and try again."
        )
    return ExplorerError(f"{path} cannot be written ({error.strerror or type(error).__name__}). Give another place.")
