"""The metrics of runs, thinned to what can be drawn: each row is read once by a server, however many look at it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cachetools import LRUCache, cached

from core.runs.folder import RunFolder
from explorer.streaming.jsonl_tail import Mark, Piece, holds, last_mark, read_pieces, thin_lines

MOST_ROWS = 3000  # of a curve, or up to twice as many while it grows
COLUMNS = ("loss", "grad_norm", "tokens_per_second", "lr", "val_loss")  # what is drawn of metrics.jsonl
MOST_CURVES = 32  # remembered, of a megabyte each at most
_MOST_PIECES = 64


class Curve:
    """One run's metrics as far as they have been read. Any number of threads may ask."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._pieces: list[Piece] = []  # grows at its end; for anything else another list takes its place

    def pieces(self, end: Mark) -> Iterator[Piece]:
        """All rows up to a mark; what nobody has asked for yet is read as it is asked for."""
        with self._lock:
            pieces = self._pieces = self._tidied()
        index, before = 0, Mark()
        while before.offset < end.offset:
            with self._lock:
                if index == len(pieces):
                    if (piece := self._next(before, end)) is None:
                        return
                    pieces.append(piece)
            if pieces[index].end.offset > end.offset:  # someone has asked for more than this caller wants
                yield from read_pieces(self.path, before, end, MOST_ROWS, COLUMNS)
                return
            yield pieces[index]
            before, index = pieces[index].end, index + 1

    def _next(self, before: Mark, end: Mark) -> Piece | None:
        """The piece that follows; its share of the rows is its share of the whole file."""
        share = MOST_ROWS * (end.offset - before.offset) // end.offset
        return next(read_pieces(self.path, before, end, share, COLUMNS), None)

    def _tidied(self) -> list[Piece]:
        """The pieces that still hold (a resumed run may have cut rows away), as one where they have become too many."""
        pieces = self._pieces
        while pieces and not holds(self.path, pieces[-1].end):
            pieces = pieces[:-1]
        rows = [row for piece in pieces for row in piece.rows]
        if len(rows) <= 2 * MOST_ROWS and len(pieces) <= _MOST_PIECES:
            return pieces
        return [Piece(thin_lines("".join(f"{row}\n" for row in rows).encode(), MOST_ROWS, COLUMNS), pieces[-1].end)]


@cached(LRUCache(MOST_CURVES), lock=threading.Lock())
def curve(path: Path) -> Curve:
    """Return the one curve of a metrics file that all sessions share."""
    return Curve(path)


def curve_rows(folder: RunFolder, end: Mark | None = None) -> list[dict[str, Any]]:
    """A run's metrics up to a mark, or as they are now; thinned where they are many."""
    path = folder.metrics_path
    try:
        end = end or last_mark(path, path.stat().st_size)
    except OSError:
        return []
    return [json.loads(row) for piece in curve(path).pieces(end) for row in piece.rows]
