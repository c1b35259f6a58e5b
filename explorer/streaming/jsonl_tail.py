"""Reading the files of rows that only ever grow, up to a million rows a second, thinned on the way."""

import json
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

import numpy as np
import pyarrow
from pyarrow.json import ParseOptions, ReadOptions, read_json

from explorer.i18n.formatting import turn_in_words
from explorer.streaming.thinning import chosen, evenly

_BLOCK = 4_000_000  # bytes of a piece: thinned in some 20 ms
_MOST_PIECES = 40  # of one reading
_LEAST_ROWS = 100  # kept of a piece, however small a part of the file it is
_CHECKED = 64  # bytes in front of a mark that must be the same as when it was made


class Mark(NamedTuple):
    """A place between two rows of an append-only file, and a checksum of the bytes in front of it."""

    offset: int = 0
    check: int = 0


class Piece(NamedTuple):
    """Rows as JSON, and the mark behind them."""

    rows: list[str]
    end: Mark


def last_mark(path: Path, size: int) -> Mark:
    """The mark behind the last line break within the first `size` bytes of a file."""
    try:
        with path.open("rb") as file:
            window = 65_536
            while True:
                begin = max(0, size - window)
                file.seek(begin)
                line_break = file.read(size - begin).rfind(b"\n")
                if line_break >= 0:
                    return _mark_at(file, begin + line_break + 1)
                if begin == 0:
                    return Mark()
                window *= 8
    except OSError:
        return Mark()


def holds(path: Path, mark: Mark) -> bool:
    """Whether the file is still as it was up to a mark, as far as the bytes in front of it tell."""
    try:
        with path.open("rb") as file:
            return _mark_at(file, mark.offset) == mark
    except OSError:
        return False


def holds_between(path: Path, start: Mark, end: Mark, word: bytes) -> bool:
    """Whether the rows between two marks hold a word; True where rows in front of `end` were cut away."""
    if end.offset < start.offset:
        return True
    try:
        with path.open("rb") as file:
            file.seek(start.offset)
            return word in file.read(end.offset - start.offset)
    except OSError:
        return False


def read_pieces(path: Path, start: Mark, end: Mark, most: int, columns: Sequence[str] = ()) -> Iterator[Piece]:
    """The rows between two marks, piece by piece, so that the first can be shown before the last is read.

    Of each piece its share of `most` rows stays, or a few more where pieces are small.

    Args:
        columns: whose extremes stay; without any, rows are taken evenly.
    """
    size = max(_BLOCK, end.offset // _MOST_PIECES)
    least = _LEAST_ROWS if columns else 1
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
                    yield Piece(thin_lines(block[:cut], share, columns), _mark_at(file, at))
                elif len(block) == size:
                    size *= 2  # nothing we have written is so long, but rows may follow it
                else:
                    return  # the file has been cut meanwhile
    except OSError:
        return


def thin_lines(block: bytes, most: int, columns: Sequence[str] = ()) -> list[str]:
    """At most `most` rows of a block of whole lines, as JSON. Torn lines are passed over."""
    ends = np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n"))
    starts = np.append(0, ends[:-1] + 1)
    if len(ends) > most:
        keep = chosen(_numbers(block, len(ends), columns), len(ends), most) if columns else evenly(len(ends), most)
        starts, ends = starts[keep], ends[keep]
    return [text for start, end in zip(starts, ends, strict=True) if (text := _row(block[start:end])) is not None]


def _mark_at(file: BinaryIO, offset: int) -> Mark:
    file.seek(max(0, offset - _CHECKED))
    return Mark(offset, crc32(file.read(min(offset, _CHECKED))))


def _numbers(block: bytes, count: int, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Columns of a block as float64 (count,), nan where a line has no number. Slow only where a line is torn."""
    schema = pyarrow.schema([(name, pyarrow.float64()) for name in columns])
    options = ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    at_once = ReadOptions(use_threads=False, block_size=len(block))
    returned = pyarrow.system_memory_pool()  # arrow's own would keep some megabytes for every thread that has read
    try:
        table = read_json(pyarrow.py_buffer(block), at_once, options, memory_pool=returned)
    except pyarrow.ArrowInvalid:
        table = None
    if table is None or table.num_rows != count:  # blank lines are no rows to it
        return _numbers_line_by_line(block, columns)
    return {name: table[name].to_numpy() for name in columns}


def _numbers_line_by_line(block: bytes, columns: Sequence[str]) -> dict[str, np.ndarray]:
    rows = [_parse(line) or {} for line in block.split(b"\n")[:-1]]
    return {name: np.array([_number(row.get(name)) for row in rows]) for name in columns}


def _number(value: object) -> float:
    with suppress(OverflowError):  # a whole number of hundreds of digits
        return float(value) if isinstance(value, int | float) else np.nan
    return np.nan


def _parse(line: bytes) -> dict | None:
    """A row, or None for a torn line and for numbers that JSON in a browser does not know."""
    try:
        row = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _refuse(word: str) -> None:
    raise ValueError(word)


def _row(line: bytes) -> str | None:
    """A row as JSON; one that tells of a turned setting gets a `label`, to stand beside its mark on the curve."""
    row = _parse(line)
    if row is not None and row.get("kind") == "turn":
        row["label"] = turn_in_words(str(row.get("knob")), row.get("before"), row.get("value"))
    return None if row is None else json.dumps(row)
