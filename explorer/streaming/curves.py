"""The metrics of runs, thinned to what can be drawn: the server reads each row once for all watchers."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cachetools import LRUCache, cached

from core.runs.folder import RunFolder
from explorer.streaming.jsonl_tail import Chunk, FilePosition, is_unchanged, last_line_end, read_chunks, thin_lines

MOST_ROWS = 3000  # of a curve, or up to twice as many while it grows
COLUMNS = ("loss", "grad_norm", "tokens_per_second", "lr", "val_loss")  # what is drawn of metrics.jsonl
MOST_CURVES = 32  # remembered, of a megabyte each at most
_MOST_CHUNKS = 64


class Curve:
    """One run's metrics as far as they have been read. Safe for any number of threads."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._chunks: list[Chunk] = []  # only appended to; anything else replaces the list

    def chunks(self, end: FilePosition) -> Iterator[Chunk]:
        """Yield all rows up to a position, reading what has not been read yet."""
        with self._lock:
            chunks = self._chunks = self._tidied()
        index, before = 0, FilePosition()
        while before.offset < end.offset:
            with self._lock:
                if index == len(chunks):
                    if (chunk := self._next(before, end)) is None:
                        return
                    chunks.append(chunk)
            if chunks[index].end.offset > end.offset:  # another caller has read further than this one wants
                yield from read_chunks(self.path, before, end, MOST_ROWS, COLUMNS)
                return
            yield chunks[index]
            before, index = chunks[index].end, index + 1

    def _next(self, before: FilePosition, end: FilePosition) -> Chunk | None:
        share = MOST_ROWS * (end.offset - before.offset) // end.offset
        return next(read_chunks(self.path, before, end, share, COLUMNS), None)

    def _tidied(self) -> list[Chunk]:
        """Return the chunks that are still valid (a resumed run may have cut rows away), joined if they are many."""
        chunks = self._chunks
        while chunks and not is_unchanged(self.path, chunks[-1].end):
            chunks = chunks[:-1]
        rows = [row for chunk in chunks for row in chunk.rows]
        if len(rows) <= 2 * MOST_ROWS and len(chunks) <= _MOST_CHUNKS:
            return chunks
        return [Chunk(thin_lines("".join(f"{row}\n" for row in rows).encode(), MOST_ROWS, COLUMNS), chunks[-1].end)]


@cached(LRUCache(MOST_CURVES), lock=threading.Lock())
def curve(path: Path) -> Curve:
    """Return the one curve of a metrics file that all sessions share."""
    return Curve(path)


def curve_rows(folder: RunFolder, end: FilePosition | None = None) -> list[dict[str, Any]]:
    """Return a run's metrics up to a position, or as they are now; thinned where they are many."""
    path = folder.metrics_path
    try:
        end = end or last_line_end(path, path.stat().st_size)
    except OSError:
        return []
    return [json.loads(row) for chunk in curve(path).chunks(end) for row in chunk.rows]
