"""Long curves are read once, in chunks, and thinned with their extremes kept, despite torn lines and removed rows."""

import json
from pathlib import Path

import pytest

import explorer.streaming.jsonl_tail
from explorer.streaming.jsonl_tail import (
    COLUMNS,
    MAX_CURVES,
    MAX_ROWS,
    Curve,
    FilePosition,
    curve,
    curve_rows,
    last_line_end,
    read_chunks,
    thin_lines,
)


def write_rows(path: Path, count: int, *, first: int = 0, spike: int = -1, torn: int = -1) -> None:
    """Write rows of a run that evaluates every 500 steps, with an outlier at `spike` and half a line at `torn`."""
    with path.open("ab") as file:
        for step in range(first, first + count):
            row = {"step": step, "loss": 99.5 if step == spike else 2.0 + step % 7 / 100, "grad_norm": 1}
            if step % 500 == 0:
                row |= {"train_loss": 2.0, "val_loss": 2.1}
            line = json.dumps(row)
            file.write((line[: len(line) // 2] if step == torn else line).encode() + b"\n")


def end_of(path: Path) -> FilePosition:
    return last_line_end(path, path.stat().st_size)


def steps_of(chunks) -> list[int]:
    return [json.loads(row)["step"] for chunk in chunks for row in chunk.rows]


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr("explorer.streaming.jsonl_tail._BLOCK", 200_000)
    return tmp_path / "metrics.jsonl"


def test_a_short_curve_is_not_thinned(path):
    write_rows(path, 2000)
    assert steps_of(Curve(path).chunks(end_of(path))) == list(range(2000))


@pytest.mark.parametrize("torn", [-1, 0, 30_001, 59_999])
def test_thinning_a_long_curve_keeps_its_ends_evaluations_and_outlier(path, torn):
    write_rows(path, 60_000, spike=30_003, torn=torn)
    chunks = list(Curve(path).chunks(end_of(path)))
    rows = [json.loads(row) for chunk in chunks for row in chunk.rows]
    steps = [row["step"] for row in rows]
    assert len(chunks) > 10 and len(rows) <= 2 * MAX_ROWS
    assert steps == sorted(set(steps)) and torn not in steps
    assert {0, 59_999} - {torn} <= set(steps)
    assert set(range(0, 60_000, 500)) - {torn} <= set(steps)
    assert next(row for row in rows if row["step"] == 30_003)["loss"] == 99.5
    assert chunks[-1].end == end_of(path)


def test_reading_can_resume_at_the_end_of_every_chunk(path):
    write_rows(path, 20_000)
    end = end_of(path)
    chunks = list(read_chunks(path, FilePosition(), end, 10**6, COLUMNS))
    assert steps_of(chunks) == list(range(20_000))
    for index, chunk in enumerate(chunks):
        assert steps_of(read_chunks(path, chunk.end, end, 10**6, COLUMNS)) == steps_of(chunks[index + 1 :])


def test_every_byte_of_a_curve_is_read_only_once(path, monkeypatch):
    seen, real = [], explorer.streaming.jsonl_tail.thin_lines
    monkeypatch.setattr(
        "explorer.streaming.jsonl_tail.thin_lines", lambda block, *more: seen.append(len(block)) or real(block, *more)
    )
    write_rows(path, 60_000)
    found = Curve(path)
    first = list(found.chunks(end_of(path)))
    assert list(found.chunks(end_of(path))) == first
    assert sum(seen) == path.stat().st_size
    write_rows(path, 50, first=60_000)
    assert steps_of(found.chunks(end_of(path)))[-50:] == list(range(60_000, 60_050))
    assert sum(seen) == path.stat().st_size


def test_only_the_shown_rows_of_a_long_curve_are_parsed_in_python(path, monkeypatch):
    parsed, real = [], explorer.streaming.jsonl_tail.parse_row
    monkeypatch.setattr("explorer.streaming.jsonl_tail.parse_row", lambda line: parsed.append(line) or real(line))
    write_rows(path, 60_000)
    assert len(steps_of(Curve(path).chunks(end_of(path)))) == len(parsed) <= 2 * MAX_ROWS


def test_two_overlapping_reads_each_get_the_rows_up_to_their_own_end(path):
    write_rows(path, 20_000)
    found, early = Curve(path), end_of(path)
    one = found.chunks(early)
    begun = [next(one)]
    write_rows(path, 20_000, first=20_000)
    other = list(found.chunks(end_of(path)))
    rest = [*begun, *one]
    assert steps_of(rest)[-1] == 19_999 and steps_of(other)[-1] == 39_999
    assert rest[-1].end == early and steps_of(rest) == sorted(set(steps_of(rest)))


def test_a_growing_curve_stays_thinned_and_keeps_its_outlier(path):
    found = Curve(path)
    for begin in range(0, 60_000, 300):
        write_rows(path, 300, first=begin, spike=5_003)
        chunks = list(found.chunks(end_of(path)))
    steps = steps_of(chunks)
    assert len(steps) <= 3 * MAX_ROWS and len(chunks) <= 66
    assert 5_003 in steps and steps[0] == 0 and steps[-1] == 59_999 and steps == sorted(set(steps))


def test_rows_removed_from_the_file_leave_the_curve(path):
    write_rows(path, 30_000)
    found = Curve(path)
    list(found.chunks(end_of(path)))
    kept = path.read_bytes().splitlines(keepends=True)[:10_000]
    path.write_bytes(b"".join(kept))
    write_rows(path, 100, first=50_000)
    steps = steps_of(found.chunks(end_of(path)))
    assert steps == sorted(steps) and steps[0] == 0 and steps[-1] == 50_099
    assert not set(steps) & set(range(10_000, 50_000))


def test_rows_after_a_long_block_of_null_bytes_are_found(path):
    write_rows(path, 100)
    with path.open("ab") as file:
        file.write(b"\x00" * 700_000 + b"\n")  # as some file systems do after a power cut
    write_rows(path, 100, first=100)
    assert steps_of(Curve(path).chunks(end_of(path))) == list(range(200))


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"step": 1}{"step": 2}',
        b'{"step": 1, "loss": NaN}',
        b'{"step": 1, "loss": "x"}',
        b"[1]",
        b"\xff",
        b"{",
        b"[" * 100_000,
        b'{"step": 1, "loss": %d}' % 10**400,
        b'{"step": %s}' % (b"9" * 5000),
    ],
)
def test_a_damaged_line_does_not_affect_other_lines(line):
    rows = [b'{"step": %d, "loss": %d}' % (step, step == 700) for step in range(2, 2000)]
    block = b"".join(row + b"\n" for row in [*rows[:900], line, *rows[900:]])
    kept = [json.loads(row) for row in thin_lines(block, 100, COLUMNS)]
    assert {"step": 700, "loss": 1} in kept and kept[0]["step"] == 2 and kept[-1]["step"] == 1999
    assert len(thin_lines(block, 5000, COLUMNS)) == len(rows) + line.endswith((b'"x"}', b"000}"))


def test_the_curve_of_a_run_is_its_metrics_or_empty_without_a_file(finished_run):
    assert curve_rows(finished_run) == finished_run.rows("metrics")
    finished_run.metrics_path.unlink()
    assert curve_rows(finished_run) == []


def test_the_cache_of_curves_is_bounded(tmp_path):
    one = curve(tmp_path / "1")
    assert curve(tmp_path / "1") is one
    for number in range(MAX_CURVES):
        curve(tmp_path / f"other {number}")
    assert curve(tmp_path / "1") is not one
