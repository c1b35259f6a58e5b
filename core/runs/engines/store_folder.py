"""A run's folder in an object store that fsspec can open: transfer of changed files in both directions.

`manifest.json` lists the files with the hashes of their parts and is written after them: a part with a different hash
is being replaced, and is read again at the next sync. Growing files have many parts, so that only their ends are
transferred.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from core.atomic_io import write_atomically
from core.errors import RunError

_GROWING = re.compile(r"\.(jsonl|log)$|/events\.out\.tfevents")  # appended to, and kept open by readers
_PART_BYTES = 32 * 2**10  # for growing files; any other file is one part


class StoreError(RunError):
    """A store did not answer, or refused a request."""


class NotThereError(StoreError):
    """A store lacks a run's files: it was emptied, or its mount is temporarily missing."""


def check_store(url: str) -> None:
    """Raise RunError with advice if nothing can be written to a store."""
    try:
        check = StoreFolder(url, f"check-{os.urandom(8).hex()}")
        check.write_json("check.json", {})
        check.remove()
    except Exception as error:
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RunError(
            f"Nothing can be written to {url} ({why}). Check the address and your access, and install the client of "
            "that store, such as s3fs."
        ) from None


class StoreFolder:
    """One run's folder in a store, and the state of its sync. All methods except `remove` raise StoreError."""

    def __init__(self, url: str, run_id: str):
        from fsspec.core import url_to_fs

        folder = f"{url.rstrip('/')}/{run_id}"
        options = {"auto_mkdir": True} if folder.startswith("file:") else {"use_listings_cache": False}
        self._fs, self._path = url_to_fs(folder, **options)
        self._hashes: dict[str, list[str]] = {}  # of the parts of files that are the same here and in the store
        self._objects: dict[str, bytes] = {}  # JSON as last written
        self._stamps: dict[str, tuple[int, int]] = {}  # mtime here, in ns, and bytes of these files
        self._unsent = set[str]()  # those of them that the store lacks, except for their hashes

    def adopt(self) -> None:
        """Treat the files that an earlier attempt left in the store as sent."""
        manifest = self.read_json("manifest.json") or {}
        self._hashes, self._unsent = manifest.get("files", {}), {*manifest.get("unsent", ())}

    def push(self, files: Mapping[str, Path], unsent: Collection[str] = (), **more: Any) -> None:
        """Write the changed parts of `files` (by their names in the store), and a manifest that includes `more`.

        `unsent` files are only listed in the manifest, unless the store already has them.
        """
        hashes = {}
        for name, path in files.items():
            try:
                stat = path.stat()
                if (stamp := (stat.st_mtime_ns, stat.st_size)) != self._stamps.get(name):
                    parts = _parts(name, path.read_bytes())
                    before, now = self._hashes.get(name, []), [_hash(part) for part in parts]
                    before = before[: 0 if name in self._unsent else None]
                    if name in unsent and before != now:
                        self._unsent.add(name)
                    else:
                        for place, part in enumerate(parts):
                            if before[place : place + 1] != now[place : place + 1]:
                                self._write(_part_name(name, place), part)
                        self._unsent.discard(name)
                    self._hashes[name], self._stamps[name] = now, stamp
                hashes[name] = self._hashes[name]
            except FileNotFoundError:  # replaced or removed meanwhile
                continue
        self.write_json("manifest.json", {"files": hashes, "unsent": sorted(self._unsent & hashes.keys()), **more})
        for name in self._hashes.keys() - hashes.keys():
            self._stamps.pop(name, None)
            for place in range(len(self._hashes.pop(name))):
                with suppress(FileNotFoundError), self._answering():
                    self._fs.rm_file(f"{self._path}/{_part_name(name, place)}")

    def pull(
        self, folder: Path, under: str = "", instead: Mapping[str, Callable[[bytes], object]] = MappingProxyType({})
    ) -> dict[str, Any]:
        """Write the changed files of the manifest into a folder; return the manifest.

        For a file in `instead`, call that function with the content instead of writing the file.
        Unsent files are created empty if they are missing. Raises NotThereError without a manifest.
        """
        if (manifest := self.read_json("manifest.json")) is None:
            raise NotThereError("There is no manifest.json.")
        hashes = {name: digests for name, digests in manifest.get("files", {}).items() if _is_below(name, under)}
        for name, digests in sorted(hashes.items(), key=lambda item: item[0].endswith("status.json")):
            if self._hashes.get(name) == digests:
                continue
            path = folder / name
            for parent in reversed([each for each in path.parents if folder / under in each.parents]):
                parent.mkdir(exist_ok=True)  # only below `under`: a deleted run's folder is not created again
            if name in manifest.get("unsent", ()):
                if not path.exists():
                    path.touch()
                self._unsent.add(name)
                self._stamps[name] = path.stat().st_mtime_ns, path.stat().st_size
            else:
                before = path.read_bytes() if path.exists() else None
                if (data := self._fetch(name, digests, before)) is None:
                    continue
                if data != before:
                    instead.get(name, partial(_replace, path))(data)
            self._hashes[name] = digests
        for name in [name for name in self._hashes if manifest and _is_below(name, under) and name not in hashes]:
            del self._hashes[name]
            (folder / name).unlink(missing_ok=True)
        return manifest

    def has_all(self, manifest: Mapping[str, Any]) -> bool:
        """Return whether all files of a manifest have been fetched."""
        return self._hashes == manifest.get("files")

    def forget(self, name: str) -> None:
        """Read a file again at the next sync, because it was changed here."""
        self._hashes.pop(name, None)

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON object; empty while it is being written, None if there is none."""
        try:
            with self._answering():
                data = self._fs.cat_file(f"{self._path}/{name}")
        except FileNotFoundError:
            return None
        with suppress(ValueError):
            return json.loads(data)
        return {}

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write a JSON object, unless it has not changed."""
        written = json.dumps(data).encode()
        if self._objects.get(name) != written:
            self._write(name, written)
            self._objects[name] = written

    def remove(self) -> None:
        """Remove all of the run's files from the store."""
        with suppress(FileNotFoundError):
            self._fs.rm(self._path, recursive=True)

    def _write(self, name: str, data: bytes) -> None:
        try:
            with self._answering():
                self._fs.pipe_file(f"{self._path}/{name}", data)
        except FileNotFoundError as error:  # the bucket is gone (when reading, it only means that the file is missing)
            raise NotThereError(f"Nothing can be written to {self._path}.") from error

    def _fetch(self, name: str, digests: list[str], before: bytes | None) -> bytes | None:
        """Return the content whose parts have these hashes; None while a part is being replaced in the store."""
        parts = [] if before is None else _parts(name, before)
        for place, digest in enumerate(digests):
            if [_hash(part) for part in parts[place : place + 1]] != [digest]:
                try:
                    with self._answering():
                        part = self._fs.cat_file(f"{self._path}/{_part_name(name, place)}")
                except FileNotFoundError:
                    return None
                if _hash(part) != digest:
                    return None
                parts[place : place + 1] = [part]
        return b"".join(parts[: len(digests)])

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:  # the store has answered
            raise
        except Exception as error:
            raise StoreError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def _is_below(name: str, under: str) -> bool:
    return name.startswith(under) and not name.startswith("/") and ".." not in Path(name).parts


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


def _parts(name: str, data: bytes) -> list[bytes]:
    size = _PART_BYTES if _GROWING.search(name) else max(1, len(data))
    return [data[start : start + size] for start in range(0, len(data), size)] or [data]


def _part_name(name: str, place: int) -> str:
    return f"{name}.part-{place}" if place else name


def _replace(path: Path, data: bytes) -> None:
    if _GROWING.search(str(path)) and path.exists() and data.startswith(before := path.read_bytes()):
        with path.open("ab") as file:
            file.write(data[len(before) :])
    else:
        write_atomically(path, data, durable=False)
