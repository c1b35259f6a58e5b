"""Live streams of runs and their news: read once per tick, encoded once, and sent unchanged to every watcher.

Every event has a cursor as its id. A client that reconnects with its last cursor gets what came after it, without
gaps or repeats. If a resumed run has cut off rows, the cursors after the cut are invalid; the rows are then sent again
from the first, marked `"reset": true`, which means that they replace all rows sent before.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, suppress
from functools import lru_cache
from pathlib import Path
from zlib import crc32

from core.errors import ExplorerError, RunError
from core.runs.folder import RunFolder, list_runs, open_run
from explorer.components.page import report_changes
from explorer.services.shared import data_dir
from explorer.streaming.jsonl_tail import file_version
from explorer.streaming.run_events import Position, RunReader, event

NEWS_TICK = 0.2  # seconds between checks whether runs have changed; one check serves all watchers
TICK = 0.2  # seconds between checks of the folder
KEEP_ALIVE = 15.0  # seconds of silence after which a comment is sent, so that closed connections are noticed
MAX_BEHIND = 300  # chunks that a slow watcher may fall behind before it must reconnect with its cursor


class RunBroadcast:
    """One run's tailer and its watchers, in the server's event loop. It runs only while it has watchers."""

    def __init__(self, folder: RunFolder):
        self.reader = RunReader(folder)
        self.position: Position | None = None
        self.closed = False
        self._watchers: set[asyncio.Queue[bytes | None]] = set()
        self._ready = asyncio.Event()
        self._task: asyncio.Task | None = None

    async def watch(self, cursor: str = "") -> AsyncGenerator[bytes, None]:
        """Yield chunks of event-stream text: first what came after the cursor, then live events."""
        queue: asyncio.Queue[bytes | None] = asyncio.Queue(MAX_BEHIND)
        self._watchers.add(queue)
        try:
            if self._task is None:
                self._task = asyncio.create_task(self._tail())
            await self._ready.wait()
            # From here to `until` nothing may await: the tailer's next chunk starts exactly there.
            while not queue.empty():
                queue.get_nowait()
            until, done = self.position, self.closed
            if until is None:
                return
            # In chunks, so that a long run's curve is drawn while it is being read.
            events = self.reader.events_between(Position.parse(cursor), until)
            while (text := await asyncio.to_thread(next, events, None)) is not None:
                yield text.encode()
            while not done:
                try:
                    chunk = await asyncio.wait_for(queue.get(), KEEP_ALIVE)
                except TimeoutError:
                    yield b": still here\n\n"
                    continue
                if chunk is None:
                    done = True
                else:
                    yield chunk
            if self.reader.ended and queue in self._watchers:
                yield event("end", json.dumps({"state": self.reader.state})).encode()
        finally:
            self._watchers.discard(queue)
            if not self._watchers:
                self.close()

    @property
    def watchers(self) -> int:
        return len(self._watchers)

    def close(self) -> None:
        """Disconnect all watchers; they can reconnect with their cursors."""
        self.closed = True
        if self._task is not None:
            self._task.cancel()
        self._ready.set()
        for queue in self._watchers:
            _send_away(queue)

    async def _tail(self) -> None:
        try:
            while not self.closed:
                here = await asyncio.to_thread(self.reader.current_position)
                ended = self.reader.ended
                if self.position is not None and here != self.position:
                    text = await asyncio.to_thread("".join, self.reader.events_between(self.position, here))
                    self._hand_out(text.encode())
                self.position = here
                self.closed = ended
                self._ready.set()
                if not ended:
                    await asyncio.sleep(TICK)
        finally:
            self.close()

    def _hand_out(self, chunk: bytes) -> None:
        for queue in list(self._watchers):
            try:
                queue.put_nowait(chunk)
            except asyncio.QueueFull:
                self._watchers.discard(queue)
                _send_away(queue)


class Broadcaster:
    """The broadcasts of all runs with watchers."""

    def __init__(self) -> None:
        self._broadcasts: dict[Path, RunBroadcast] = {}
        self._closing = asyncio.Event()

    async def watch(self, folder: RunFolder, cursor: str = "") -> AsyncGenerator[bytes, None]:
        """Yield what `RunBroadcast.watch` does; all watchers of a run share one broadcast."""
        broadcast = self._broadcasts.get(folder.path)
        if broadcast is None or broadcast.closed:
            broadcast = self._broadcasts[folder.path] = RunBroadcast(folder)
        try:
            async with aclosing(broadcast.watch(cursor)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            if not broadcast.watchers and self._broadcasts.get(folder.path) is broadcast:
                del self._broadcasts[folder.path]

    async def news(self, ids: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """Yield the digest of these runs (of all if none is named), now and whenever it changes."""
        sent_digest, silent = "", 0.0
        run_news = news_of(data_dir())  # only once: a second call would recreate the folder of an erased member
        while not self._closing.is_set():
            digest = await asyncio.to_thread(run_news.digest, ids or None)
            if digest != sent_digest:
                sent_digest, silent = digest, 0.0
                yield event("news", json.dumps({"digest": digest})).encode()
            elif silent >= KEEP_ALIVE:
                silent = 0.0
                yield b": still here\n\n"
            silent += NEWS_TICK
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), NEWS_TICK)

    def close(self) -> None:
        """End every stream, so that the server can stop at once."""
        self._closing.set()
        for broadcast in list(self._broadcasts.values()):
            broadcast.close()


def _send_away(queue: asyncio.Queue[bytes | None]) -> None:
    """End a stream. If it has fallen behind, drop all that waits: dropping only some would leave a gap."""
    if queue.full():
        while not queue.empty():
            queue.get_nowait()
    queue.put_nowait(None)


class RunNews:
    """The state, name and length of every run in a data folder; only changed files are read again."""

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
            if fresh or time.monotonic() - self._scanned > NEWS_TICK:
                with suppress(OSError):  # the page itself reports a data folder that cannot be read
                    folders = {folder.id: folder for folder in list_runs(self.data_dir)}
                self._lines = {id: self._line(folder) for id, folder in folders.items()}
                self._read = {id: known for id, known in self._read.items() if id in folders}
                self._scanned = time.monotonic()
            lines = [(id, self._lines.get(id) or self._line_of_another(id)) for id in sorted(ids or self._lines)]
        return f"{crc32(json.dumps(lines).encode()):x}"

    def _line_of_another(self, id: str) -> str | None:
        """Return the line of a run that others share; None if there is none, or if its sharing has ended."""
        try:
            return self._line(open_run(self.data_dir, id))
        except RunError:
            return None

    def _line(self, folder: RunFolder) -> str:
        version = tuple(map(file_version, (folder.status_path, folder.record_path)))
        known = self._read.get(folder.id)
        if known is None or known[0] != version:
            try:
                status = folder.read_status()
                line = f"{status.state} {status.attempt} {status.steps} {status.notices} {folder.name}"
            except RunError as error:
                line = str(error)
            known = self._read[folder.id] = version, line
        return known[1]


@lru_cache(maxsize=64)  # one for each member of a class
def news_of(data_dir: Path) -> RunNews:
    """Return the news of a data folder, shared by all pages and streams."""
    return RunNews(data_dir)


def watch_runs(ids: list[str] | None) -> None:
    """Rerun the page when one of these runs (None: any) changes elsewhere. Call this before they are drawn."""
    try:
        drawn = news_of(data_dir()).digest(ids, fresh=True)
    except ExplorerError:  # the page itself reports a data folder that cannot be used
        return
    report_changes(ids, drawn)
