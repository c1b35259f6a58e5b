"""After a crash or on a full disk, files are complete."""

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import core.atomic_io
from core.atomic_io import (
    TEMPORARY,
    append_row,
    cut_rows,
    last_rows,
    parse_row,
    read_rows,
    remove_stale_temporary_files,
    write_file,
    write_files,
)
from core.cli import main
from core.config import ModelConfig
from core.errors import DiskFullError, ExplorerError
from core.import_export.huggingface import write_folder
from core.model import build_model
from core.runs.model_files import export_nanogpt, pack
from core.text.tokenizers import CharTokenizer, load_tokenizer
from tests.conftest import no_file_longer_than

ROOT = Path(__file__).parents[2]
WRITES_TOO_MUCH = """
import resource, sys
from pathlib import Path
from core.text.tokenizers import CharTokenizer
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))  # the system refuses the rest, as on a full disk
try:
    CharTokenizer.from_text("".join(map(chr, range(40, 5000)))).save(Path(sys.argv[1]))
except OSError as error:
    print(type(error).__name__)
"""

FINDS_NO_ROOM = """
import resource, sys
from pathlib import Path
from core.atomic_io import append_row
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (50, resource.RLIM_INFINITY))  # the second row fits by half
for step in range(3):
    try:
        append_row(path, {"step": step, "text": "x" * 10})
    except OSError as error:
        print(error.strerror)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        append_row(path, {"step": step, "text": "x" * 10})
"""


def test_a_failed_tokenizer_write_leaves_the_old_file_intact(tmp_path):
    path = tmp_path / "tokenizer.json"
    CharTokenizer.from_text("abc").save(path)
    said = subprocess.run([sys.executable, "-c", WRITES_TOO_MUCH, path], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "OSError\n", said.stderr
    assert load_tokenizer(path).tokens == ("a", "b", "c")
    assert list(tmp_path.iterdir()) == [path]


def test_only_old_temporary_files_are_removed(tmp_path):
    old_file, young, mine = (tmp_path / "a" / name for name in (f"{TEMPORARY}1-x.json", f"{TEMPORARY}2", "run.json"))
    old_folder = tmp_path / f"{TEMPORARY}run"
    (old_folder / "probes").mkdir(parents=True)
    (tmp_path / "a").mkdir()
    for path in (old_file, young, mine, old_folder / "run.json"):
        path.write_text("{")
    long_ago = time.time() - 4000
    for path in (old_file, mine, old_folder):
        os.utime(path, (long_ago, long_ago))
    remove_stale_temporary_files(tmp_path, 3600)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted((young, mine))
    assert not old_folder.exists()


def test_a_row_that_fills_the_disk_is_rolled_back_and_can_be_written_again(tmp_path):
    path = tmp_path / "rows.jsonl"
    said = subprocess.run([sys.executable, "-c", FINDS_NO_ROOM, path], cwd=ROOT, capture_output=True, text=True)
    assert said.stdout == "File too large\n", said.stderr
    assert [row["step"] for row in read_rows(path)] == [0, 1, 2]
    assert path.read_bytes().count(b"\n") == 3


@pytest.mark.parametrize("torn", [b'{"step": 1, "lo', b"{", b'{"step": 1, "text": "\xc3', b'{"step": 1}'])
def test_a_row_appended_after_a_torn_line_starts_a_new_line(tmp_path, torn):
    path = tmp_path / "rows.jsonl"
    append_row(path, {"step": 0})
    with path.open("ab") as file:
        file.write(torn)
    append_row(path, {"step": 2})
    assert [row["step"] for row in read_rows(path)] == ([0, 1, 2] if torn.endswith(b"}") else [0, 2])


WHOLE_LINES = st.builds(lambda step, text: json.dumps({"step": step, "text": text}).encode(), st.integers(), st.text())
LINES = st.lists(WHOLE_LINES | st.sampled_from([b"", b'{"step": 3, "lo', b"[1]", b"\xff\x00", b'{"a": 1}\r']))


@given(LINES, st.sampled_from([b"", b'{"step": 9}', b'{"step"', b"\x00" * 40]), st.integers(1, 200))
def test_last_rows_reads_the_same_rows_as_read_rows_in_reverse(lines, torn, block):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.atomic_io._BLOCK", block)
        path = Path(folder) / "rows.jsonl"
        whole = b"".join(line + b"\n" for line in lines)
        path.write_bytes(whole)
        expected = read_rows(path)
        path.write_bytes(whole + torn)
        found = list(last_rows(path))
        assert [row for _, row in found] == expected[::-1]
        assert [parse_row(whole[:end].split(b"\n")[-2]) for end, _ in found] == expected[::-1]


def test_reading_or_cutting_the_end_of_a_long_file_parses_only_its_last_rows(tmp_path, monkeypatch):
    read, parsed = core.atomic_io.parse_row, []
    monkeypatch.setattr("core.atomic_io.parse_row", lambda line: parsed.append(line) or read(line))
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(b'{"step": %d}\n' % step for step in range(100_000)) + b'{"step": 100')
    assert next(last_rows(path))[1] == {"step": 99_999}
    cut_rows(path, lambda row: row["step"] <= 99_990)
    assert len(parsed) == 1 + 10
    assert read_rows(path)[-1] == {"step": 99_990} and path.read_bytes().endswith(b"99990}\n")
    cut_rows(path, lambda row: False)
    assert path.read_bytes() == b""
    cut_rows(tmp_path / "none.jsonl", lambda row: False)
    assert not (tmp_path / "none.jsonl").exists()


KINDS = {"huggingface": "model.safetensors", "nanogpt": "ckpt.pt"}
DOCUMENTS = ("report", "script", "notebook")


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def model(width=16):
    torch.manual_seed(width)
    return build_model(ModelConfig(n_layer=1, n_head=2, n_embd=width, block_size=8), 11)


def test_write_files_replaces_nothing_without_force_and_creates_missing_folders(tmp_path):
    place = tmp_path / "a" / "b"
    write_files(place, {"one": b"1", "sub/two": b"2"})
    before = content(tmp_path)
    with pytest.raises(ExplorerError, match="one already exists. Give another name, or replace it with --force."):
        write_files(place, {"new": b"3", "one": b"other"})
    assert content(tmp_path) == before, "not even the new one"
    write_files(place, {"new": b"3", "one": b"1"})  # writing the same bytes replaces nothing
    write_files(place, {"one": b"other"}, force=True)
    assert (place / "one").read_bytes() == b"other"
    assert not list(tmp_path.rglob(".tmp-*"))


def test_a_file_or_folder_in_the_way_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("here")
    for path, sentence in (("folder", "is a folder, but a file"), ("file/x/y", "file is a file, but a folder")):
        for force in (False, True):
            with pytest.raises(ExplorerError, match=sentence):
                write_file(tmp_path / path, b"new", force)
    assert content(tmp_path) == {(tmp_path / "file").relative_to(tmp_path): b"here"}


def test_write_file_writes_into_a_pipe(tmp_path):
    reader, writer = os.pipe()
    write_file(tmp_path.__class__(f"/dev/fd/{writer}"), b"text")
    os.close(writer)
    assert os.read(reader, 10) == b"text"
    os.close(reader)


def test_on_a_full_disk_earlier_files_survive_and_no_new_file_remains(tmp_path):
    write_folder(tmp_path / "out", model())
    before = content(tmp_path)
    with no_file_longer_than(5000), pytest.raises(DiskFullError, match="the disk is full"):
        write_folder(tmp_path / "out", model(32), force=True)
    with (
        no_file_longer_than(5000),
        pytest.raises(DiskFullError, match="one/model.safetensors cannot be written, .* disk is full"),
    ):
        write_folder(tmp_path / "new" / "one", model(32))
    assert content(tmp_path) == before and not (tmp_path / "new").exists()


def test_a_full_disk_is_reported_when_exporting_a_checkpoint_or_packing_a_model(finished_run, tmp_path):
    export_nanogpt(finished_run, tmp_path / "out")
    before = content(tmp_path)
    with no_file_longer_than(5000), pytest.raises(DiskFullError, match="ckpt.pt cannot be written, .* disk is full"):
        export_nanogpt(finished_run, tmp_path / "out", force=True)
    assert content(tmp_path) == before
    for kind in KINDS:
        with no_file_longer_than(5000), pytest.raises(ExplorerError, match="no space"):
            pack(finished_run, kind, io.BytesIO())


def shell(*arguments) -> tuple[int, str]:
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", [*KINDS, *DOCUMENTS])
def test_an_export_replaces_nothing_without_force(kind, finished_run, tmp_path, capsys):
    out = tmp_path / "missing" / "out"
    first = out / KINDS[kind] if kind in KINDS else out
    assert shell("export", finished_run.id, kind, out) == 0
    first.write_bytes(b"precious")
    assert shell("export", finished_run.id, kind, out) == 2
    message = capsys.readouterr().err
    assert first.read_bytes() == b"precious"
    assert message == f"{first} already exists. Give another name, or replace it with --force.\n"
    with no_file_longer_than(3000):
        assert shell("export", finished_run.id, kind, out, "--force") == 2
    assert first.read_bytes() == b"precious" and "the disk is full" in capsys.readouterr().err
    assert shell("export", finished_run.id, kind, out, "--force") == 0
    assert first.read_bytes() != b"precious"
    (tmp_path / "file").write_text("")
    assert shell("export", finished_run.id, kind, tmp_path / "file" / "out") == 2
    assert capsys.readouterr().err.endswith("file is a file, but a folder is needed there. Give another name.\n")


def test_notebooks_replace_nothing_without_force(tmp_path, capsys):
    assert shell("notebooks", tmp_path / "out") == 0
    changed = tmp_path / "out" / "GPT_Language_Model.ipynb"
    changed.write_text("my own work")
    before = content(tmp_path)
    assert shell("notebooks", tmp_path / "out") == 2
    assert content(tmp_path) == before and "already exists" in capsys.readouterr().err
    assert shell("notebooks", tmp_path / "out", "--force") == 0
    assert changed.read_text() != "my own work"
