"""What is written where somebody asked for it, and what was there before."""

import io
import os

import pytest
import torch

from core.cli import main
from core.config import ModelConfig
from core.errors import DiskFullError, ExplorerError
from core.import_export.huggingface import write_folder
from core.model import build_model
from core.outputs import write_file, write_files
from core.runs.model_files import export_nanogpt, pack
from tests.conftest import no_file_longer_than

KINDS = {"huggingface": "model.safetensors", "nanogpt": "ckpt.pt"}
DOCUMENTS = ("report", "script", "notebook")


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def model(width=16):
    torch.manual_seed(width)
    return build_model(ModelConfig(n_layer=1, n_head=2, n_embd=width, block_size=8), 11)


def test_nothing_is_replaced_unless_asked_and_missing_folders_are_made(tmp_path):
    place = tmp_path / "a" / "b"
    write_files(place, {"one": b"1", "sub/two": b"2"})
    before = content(tmp_path)
    with pytest.raises(ExplorerError, match="one exists already. Give another name, or replace it with --force."):
        write_files(place, {"new": b"3", "one": b"other"})
    assert content(tmp_path) == before, "not even the new one"
    write_files(place, {"new": b"3", "one": b"1"})  # the very same bytes replace nothing
    write_files(place, {"one": b"other"}, force=True)
    assert (place / "one").read_bytes() == b"other"
    assert not list(tmp_path.rglob(".tmp-*"))


def test_what_is_in_the_way_is_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("here")
    for path, sentence in (("folder", "is a folder, but a file"), ("file/x/y", "file is a file, but a folder")):
        for force in (False, True):
            with pytest.raises(ExplorerError, match=sentence):
                write_file(tmp_path / path, b"new", force)
    assert content(tmp_path) == {(tmp_path / "file").relative_to(tmp_path): b"here"}


def test_a_pipe_is_written_into(tmp_path):
    reader, writer = os.pipe()
    write_file(tmp_path.__class__(f"/dev/fd/{writer}"), b"text")
    os.close(writer)
    assert os.read(reader, 10) == b"text"
    os.close(reader)


def test_on_a_full_disk_the_earlier_files_survive_and_nothing_new_is_left(tmp_path):
    write_folder(tmp_path / "out", model())
    before = content(tmp_path)
    with no_file_longer_than(5000), pytest.raises(DiskFullError, match="there is no room"):
        write_folder(tmp_path / "out", model(32), force=True)
    with (
        no_file_longer_than(5000),
        pytest.raises(DiskFullError, match="one/model.safetensors cannot be written, .* no room"),
    ):
        write_folder(tmp_path / "new" / "one", model(32))
    assert content(tmp_path) == before and not (tmp_path / "new").exists()


def test_a_full_disk_is_a_sentence_for_a_checkpoint_and_a_packed_model_too(finished_run, tmp_path):
    export_nanogpt(finished_run, tmp_path / "out")
    before = content(tmp_path)
    with no_file_longer_than(5000), pytest.raises(DiskFullError, match="ckpt.pt cannot be written, .* no room"):
        export_nanogpt(finished_run, tmp_path / "out", force=True)
    assert content(tmp_path) == before
    for kind in KINDS:
        with no_file_longer_than(5000), pytest.raises(ExplorerError, match="no room"):
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
    told = capsys.readouterr().err
    assert first.read_bytes() == b"precious"
    assert told == f"{first} exists already. Give another name, or replace it with --force.\n"
    with no_file_longer_than(3000):
        assert shell("export", finished_run.id, kind, out, "--force") == 2
    assert first.read_bytes() == b"precious" and "there is no room" in capsys.readouterr().err
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
    assert content(tmp_path) == before and "exists already" in capsys.readouterr().err
    assert shell("notebooks", tmp_path / "out", "--force") == 0
    assert changed.read_text() != "my own work"
