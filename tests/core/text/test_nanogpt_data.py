"""nanoGPT's data: files of its prepare scripts are read, and invalid ones are refused with the reason."""

import io
import json
import pickle
import zipfile

import numpy as np
import pytest

from core.cli import main
from core.errors import TextError
from core.import_export.nanogpt import data_files, meta
from core.runs.folder import list_runs
from core.text.corpora import load_corpus
from core.text.file_formats import text_of_file
from core.text.nanogpt_data import read_data, read_data_folder
from core.text.own_text import own_texts
from core.text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer
from tests.conftest import no_file_longer_than

TEXT = "To be, or not to be: that is the question. 世界\n" * 60
CHARACTERS = CharTokenizer.from_text(TEXT)
IDS = CHARACTERS.encode_array(TEXT)
META = json.dumps({"itos": dict(enumerate(CHARACTERS.tokens))}).encode()


@pytest.fixture
def folder(tmp_path):
    """The files that data/shakespeare_char/prepare.py writes for a text."""
    folder = tmp_path / "hamlet"
    folder.mkdir()
    (folder / "input.txt").write_text(TEXT)
    parts = IDS[: int(0.9 * len(IDS))], IDS[int(0.9 * len(IDS)) :]
    for name, part in zip(("train", "val"), parts, strict=True):
        np.array(part, np.uint16).tofile(folder / f"{name}.bin")
    (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": CHARACTERS.vocab_size}))
    return folder


def files(folder, **changes):
    found = {path.name: path.read_bytes() for path in folder.iterdir()} | changes
    return {name: content for name, content in found.items() if content is not None}


def test_the_text_is_restored_from_token_files_with_any_vocabulary_source(folder):
    assert read_data_folder(folder / "train.bin") == TEXT
    CHARACTERS.save(folder / "tokenizer.json")
    (folder / "input.txt").unlink()
    assert read_data_folder(folder / "train.bin") == TEXT
    (folder / "meta.json").write_bytes(META)
    assert read_data_folder(folder / "train.bin") == TEXT
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files(folder).items():
            archive.writestr(f"hamlet/{name}", content)
    assert text_of_file("hamlet.zip", packed.getvalue()) == TEXT


@pytest.mark.parametrize(
    "tokenizer", [CHARACTERS, ByteTokenizer.from_text(), BPETokenizer.from_merges([("t", "h"), ("th", "e")])]
)
def test_written_data_files_read_back_and_are_split_as_nanogpt_does(tokenizer, tmp_path):
    ids = tokenizer.encode_array(TEXT)
    written = data_files(ids, 0.1, tokenizer)
    for name, content in written.items():
        content(tmp_path / name) if callable(content) else (tmp_path / name).write_bytes(content)
    assert read_data_folder(tmp_path / "val.bin") == TEXT
    assert np.fromfile(tmp_path / "train.bin", np.uint16).tolist() == ids[: int(0.9 * len(ids))].tolist()
    assert (tmp_path / "meta.pkl").read_bytes() == meta(tokenizer)


def test_a_pickled_meta_file_is_never_unpickled(folder, tmp_path):
    class Program:
        def __reduce__(self):
            return (tmp_path / "ran").mkdir, ()

    program = pickle.dumps(Program())
    assert read_data(files(folder, **{"meta.pkl": program})) == TEXT
    with pytest.raises(TextError, match="meta.pkl is not read, because a pickle can run programs"):
        read_data(files(folder, **{"meta.pkl": program, "input.txt": None}))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train.bin": IDS.astype("<u2").tobytes()[:-1]}, "an odd number"),
        ({"train.bin": IDS.astype(">u2").tobytes()}, "in another byte order"),
        ({"val.bin": np.array([1, 999], "<u2").tobytes()}, r"val.bin has token 999, but input.txt knows 0 to \d+"),
        ({"val.bin": None}, "no val.bin"),
        ({"meta.json": b"[["}, "meta.json is not JSON"),
        ({"meta.json": b'{"itos": {"1": "a"}}'}, "itos of meta.json must list"),
        ({"meta.json": b'{"model": {}}'}, "meta.json is not a tokenizer.json of byte-pair"),
    ],
)
def test_invalid_token_files_are_refused_before_a_run_exists(folder, explorer_home, capsys, changes, sentence):
    with pytest.raises(TextError, match=sentence):
        read_data(files(folder, **changes))
    for name, content in changes.items():
        (folder / name).write_bytes(content) if content is not None else (folder / name).unlink()
    before = own_texts(explorer_home)
    assert main(["train", "--text", str(folder / "train.bin")]) == 2
    assert not list_runs(explorer_home) and own_texts(explorer_home) == before


def test_the_train_and_prepare_commands_read_and_write_token_files(folder, explorer_home, tmp_path, capsys):
    short = ["--preset", "bigram", "--steps", "2", "--set", "train.eval_windows=4"]
    assert main(["train", "--text", str(folder / "train.bin"), *short]) == 0
    (run,) = list_runs(explorer_home)
    assert load_corpus(run.record().config.data.corpus, explorer_home) == TEXT
    assert main(["prepare", str(tmp_path / "again"), "--text", str(folder / "train.bin")]) == 0
    for name in ("train.bin", "val.bin"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()
    assert (
        main(["prepare", str(tmp_path / "again"), "--text", str(folder / "input.txt")]) == 2
    )  # the folder exists already
    assert main(["prepare", str(tmp_path / "more"), "--from", run.id, "--corpus", "shakespeare"]) == 2
    assert "does not occur in the text that this model learned from" in capsys.readouterr().err
    (tmp_path / "few.txt").write_text("To be. " * 200)
    assert main(["prepare", str(tmp_path / "few"), "--from", run.id, "--text", str(tmp_path / "few.txt")]) == 0
    assert (tmp_path / "few" / "meta.pkl").read_bytes() == (tmp_path / "again" / "meta.pkl").read_bytes()
    with no_file_longer_than(len(TEXT)):
        assert "train.bin cannot be written, because the disk is full" in _refused(
            capsys, "prepare", str(tmp_path / "full"), "--text", str(folder / "input.txt")
        )
    assert not (tmp_path / "full").exists()
    assert "--tokenizer is for" in _refused(capsys, "train", "--text", str(folder / "input.txt"), "--tokenizer", "x")
    assert "into one zip" in _refused_upload(folder)


def _refused(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert main(arguments) == 2
    return capsys.readouterr().err


def _refused_upload(folder) -> str:
    with pytest.raises(TextError) as refused:
        text_of_file("train.bin", (folder / "train.bin").read_bytes())
    return str(refused.value)
