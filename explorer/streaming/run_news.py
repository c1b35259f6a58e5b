"""Whether runs are still as a page has drawn them: a digest, which the page compares with the newest of a stream."""

import json
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from zlib import crc32

from core.errors import ExplorerError, RunError
from core.paths import data_dir
from core.runs.folder import RunFolder, list_runs
from explorer.components.page import report_changes
from explorer.streaming.jsonl_tail import file_version

_SCAN_SECONDS = 0.2  # for so long, one look at all runs serves everybody who watches


class RunNews:
    """The state, name and length of every run of a home; files are read again only when they have changed."""

    def __init__(self, data_dir: Path):
        self.data_dir = data_dir
        self._lock = threading.Lock()
        self._scanned = 0.0  # seconds of the monotonic clock
        self._lines: dict[str, str] = {}  # by run id
        self._read: dict[str, tuple[tuple, str]] = {}  # by run id: the files' versions, and the line

    def digest(self, ids: Iterable[str] | None = None, *, fresh: bool = False) -> str:
        """Return a checksum that changes when one of these runs is started, continued, stopped, renamed or deleted."""
        with self._lock:
            folders: dict[str, RunFolder] = {}
            if fresh or time.monotonic() - self._scanned > _SCAN_SECONDS:
                with suppress(OSError):  # of a home that cannot be read, the page itself says so
                    folders = {folder.id: folder for folder in list_runs(self.data_dir)}
                self._lines = {id: self._line(folder) for id, folder in folders.items()}
                self._read = {id: known for id, known in self._read.items() if id in folders}
                self._scanned = time.monotonic()
            lines = [(id, self._lines.get(id)) for id in sorted(self._lines if ids is None else ids)]
        return f"{crc32(json.dumps(lines).encode()):x}"

    def _line(self, folder: RunFolder) -> str:
        version = tuple(map(file_version, (folder.status_path, folder.record_path)))
        known = self._read.get(folder.id)
        if known is None or known[0] != version:
            try:
                status = folder.read_status()
                line = f"{status.state} {status.attempt} {status.steps} {status.notice} {folder.name}"
            except RunError as error:
                line = str(error)
            known = self._read[folder.id] = version, line
        return known[1]


@lru_cache(maxsize=4)
def news_of(data_dir: Path) -> RunNews:
    """The one of a home that all pages and streams share."""
    return RunNews(data_dir)


def watch_runs(ids: list[str] | None) -> None:
    """Draw the page anew when one of these runs (None: any) changes elsewhere. Call it before they are drawn."""
    try:
        drawn = news_of(data_dir()).digest(ids, fresh=True)
    except ExplorerError:  # the home cannot be used, as the page itself says
        return
    report_changes(ids, drawn)
