"""Read append-only files of JSON rows, a million rows per second, and thin them to what a screen can show."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from zlib import crc32

import numpy as np
import pyarrow
from cachetools import LRUCache, cached
from pyarrow.json import ParseOptions, ReadOptions, read_json
from tsdownsample import MinMaxDownsampler

from core.atomic_io import parse_row
from core.runs.commands import CHANGE
from core.runs.folder import RunFolder
from explorer.i18n.formatting import change_in_words

_BLOCK = 4_000_000  # bytes of a chunk: thinned in about 20 ms
_MAX_CHUNKS = 40  # per read
_MIN_ROWS = 100  # of a chunk, even if it is a small part of the file
_CHECKED = 64  # bytes before a position that must not have changed since
MAX_ROWS = 3000  # of a curve, or up to twice as many while it grows
COLUMNS = ("loss", "grad_norm", "tokens_per_second", "lr", "val_loss")  # the columns of metrics.jsonl that are drawn
MAX_CURVES = 32  # cached, of at most 1 MB each
_MAX_JOINED = 64  # chunks of a curve before they are joined
MEASURED = "val_loss"  # few rows have it: each took an evaluation


class FilePosition(NamedTuple):
    """A position between two rows of an append-only file, with a checksum of the bytes before it."""

    offset: int = 0
    check: int = 0


class Chunk(NamedTuple):
    """Rows as JSON, and the file position after them."""

    rows: list[str]
    end: FilePosition


def file_version(path: Path) -> tuple[int, int, int]:
    """Return inode, time of change (ns) and size, which identify a file's version; zeros without a file."""
    try:
        stat = path.stat()
    except OSError:
        return (0, 0, 0)
    return stat.st_ino, stat.st_mtime_ns, stat.st_size


def last_line_end(path: Path, size: int) -> FilePosition:
    """Return the position after the last line break within the first `size` bytes of a file."""
    try:
        with path.open("rb") as file:
            window = 65_536
            while True:
                begin = max(0, size - window)
                file.seek(begin)
                line_break = file.read(size - begin).rfind(b"\n")
                if line_break >= 0:
                    return _position_at(file, begin + line_break + 1)
                if begin == 0:
                    return FilePosition()
                window *= 8
    except OSError:
        return FilePosition()


def is_unchanged(path: Path, end: FilePosition) -> bool:
    """Return whether the file is unchanged up to a position, judged by the bytes before it."""
    try:
        with path.open("rb") as file:
            return _position_at(file, end.offset) == end
    except OSError:
        return False


def contains_between(path: Path, start: FilePosition, end: FilePosition, word: bytes) -> bool:
    """Return whether the rows between two positions contain a word; True if rows before `start` were cut off."""
    if end.offset < start.offset:
        return True
    try:
        with path.open("rb") as file:
            file.seek(start.offset)
            return word in file.read(end.offset - start.offset)
    except OSError:
        return False


def read_chunks(
    path: Path, start: FilePosition, end: FilePosition, most: int, columns: Sequence[str] = ()
) -> Iterator[Chunk]:
    """Yield the rows between two positions in chunks, each thinned to its share of `most`; `columns` keep extremes."""
    size = max(_BLOCK, end.offset // _MAX_CHUNKS)
    least = _MIN_ROWS if columns else 1
    try:
        with path.open("rb") as file:
            at = start.offset
            while at < end.offset:
                file.seek(at)
                block = file.read(min(size, end.offset - at))
                cut = block.rfind(b"\n") + 1
                if cut:
                    at += cut
                    share = max(least, most * cut // (end.offset - start.offset))
                    yield Chunk(thin_lines(block[:cut], share, columns), _position_at(file, at))
                elif len(block) == size:
                    size *= 2  # no row of ours is this long, but other rows may follow
                else:
                    return  # the file has been cut meanwhile
    except OSError:
        return


def thin_lines(block: bytes, most: int, columns: Sequence[str] = ()) -> list[str]:
    """Return at most `most` rows of a block of whole lines, as JSON. Torn lines are skipped."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    if len(ends) > most:
        keep = (
            thinned_indices(_numbers(block, len(ends), columns), len(ends), most)
            if columns
            else even_indices(len(ends), most)
        )
        starts, ends = starts[keep], ends[keep]
    return [text for start, end in zip(starts, ends, strict=True) if (text := _row(block[start:end])) is not None]


def _position_at(file: BinaryIO, offset: int) -> FilePosition:
    file.seek(max(0, offset - _CHECKED))
    return FilePosition(offset, crc32(file.read(min(offset, _CHECKED))))


def _numbers(block: bytes, count: int, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Return columns of a block as float64 (count,), nan if a line has no number. Slow only if a line is torn."""
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in columns])
    options = ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    at_once = ReadOptions(use_threads=False, block_size=len(block))
    returned = pyarrow.system_memory_pool()  # arrow's own would keep a few megabytes for every thread that has read
    try:
        table = read_json(pyarrow.py_buffer(block), at_once, options, memory_pool=returned)
    except pyarrow.ArrowInvalid:
        table = None
    if table is None or table.num_rows != count:  # arrow skips blank lines
        rows = [parse_row(line) or {} for line in block.split(b"\n")[:-1]]
        return {name: np.array([_number(row.get(name)) for row in rows]) for name in columns}
    return {name: table[name].to_numpy() for name in columns}


def _number(value: object) -> float:
    with suppress(OverflowError):  # an integer of hundreds of digits
        return float(value) if isinstance(value, int | float) else np.nan
    return np.nan


def _row(line: bytes) -> str | None:
    """Return a row as JSON; None for a torn line or for numbers that a browser's JSON lacks, such as nan."""
    row = parse_row(line)
    if row is not None and row.get("kind") == CHANGE:  # a setting change, labeled at its mark on the curve
        row["label"] = change_in_words(str(row.get("knob")), row.get("value"), row.get("before"))
    with suppress(ValueError):
        return None if row is None else json.dumps(row, allow_nan=False)
    return None


def thinned_indices(columns: Mapping[str, np.ndarray], count: int, most: int) -> np.ndarray:
    """Return the indices of at most `most` of `count` rows, in order, including the first and the last.

    Measured rows stay if they take up no more than half. Some rows of every doubling of the index stay, so that a
    logarithmic axis has points at its start, too. The other columns (count,), nan if a row has no number, share the
    rest: each is split into stretches whose lowest and highest values stay, so that no outlier is lost.
    """
    if count <= most:
        return np.arange(count)
    indices = {0, count - 1, *_octave_indices(count, most // 60)}
    if MEASURED in columns:
        indices.update(extreme_indices(columns[MEASURED], (most - 2) // 2))
    others = [values for name, values in columns.items() if name != MEASURED]
    left = most - len(indices)
    for values in others:
        indices.update(extreme_indices(values, left // len(others)))
    return np.array(sorted(indices.union(even_indices(count, most - len(indices)))))


def _octave_indices(count: int, each: int) -> list[int]:
    if count < 2 or not each:
        return []
    return np.unique(np.exp2(np.arange(0, np.log2(count), 1 / each)).astype(int)).tolist()


def extreme_indices(values: np.ndarray, most: int) -> list[int]:
    """Return at most `most` indices of numbers, including the lowest and the highest; all if there are no more."""
    known = np.flatnonzero(np.isfinite(values))
    if len(known) <= most:
        return known.tolist()
    if most < 2:
        return []
    return known[MinMaxDownsampler().downsample(values[known], n_out=most // 2 * 2)].tolist()


def even_indices(count: int, most: int) -> list[int]:
    """Return at most `most` indices below `count`, evenly spaced, including the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)] if most > 1 else []


class Curve:
    """One run's metrics as far as they have been read. Thread-safe."""

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.Lock()
        self._chunks: list[Chunk] = []  # only appended to; anything else replaces the list

    def chunks(self, end: FilePosition) -> Iterator[Chunk]:
        """Yield all rows up to a position; read those that were not read yet."""
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
                yield from read_chunks(self.path, before, end, MAX_ROWS, COLUMNS)
                return
            yield chunks[index]
            before, index = chunks[index].end, index + 1

    def _next(self, before: FilePosition, end: FilePosition) -> Chunk | None:
        share = MAX_ROWS * (end.offset - before.offset) // end.offset
        return next(read_chunks(self.path, before, end, share, COLUMNS), None)

    def _tidied(self) -> list[Chunk]:
        """Return the chunks that are still valid (a resumed run may have cut rows away), joined if they are many."""
        chunks = self._chunks
        while chunks and not is_unchanged(self.path, chunks[-1].end):
            chunks = chunks[:-1]
        rows = [row for chunk in chunks for row in chunk.rows]
        if len(rows) <= 2 * MAX_ROWS and len(chunks) <= _MAX_JOINED:
            return chunks
        return [Chunk(thin_lines("".join(f"{row}\n" for row in rows).encode(), MAX_ROWS, COLUMNS), chunks[-1].end)]


@cached(LRUCache(MAX_CURVES), lock=threading.Lock())
def curve(path: Path) -> Curve:
    """Return the curve of a metrics file, shared by all sessions."""
    return Curve(path)


def curve_rows(folder: RunFolder, end: FilePosition | None = None) -> list[dict[str, Any]]:
    """Return a run's metrics up to a position, or as they are now; thinned if there are many."""
    path = folder.metrics_path
    try:
        end = end or last_line_end(path, path.stat().st_size)
    except OSError:
        return []
    return [json.loads(row) for chunk in curve(path).chunks(end) for row in chunk.rows]
