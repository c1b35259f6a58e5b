"""Uploads become runs, or sentences, and nothing is left behind."""

import io
import os
import tomllib

import pytest

from core.errors import ExplorerError
from core.files import TEMPORARY
from core.runs.exchange import export_hugging_face, export_nanogpt
from core.runs.folder import list_runs
from core.runs.models import load_model
from explorer.exchange import MOST_MEGABYTES, Upload, import_from_hub, import_uploads
from explorer.state import ROOT


@pytest.fixture
def files(finished_run, tmp_path) -> dict[str, bytes]:
    """A finished run as Hugging Face keeps it, and as nanoGPT does."""
    export_hugging_face(finished_run, tmp_path / "hf")
    export_nanogpt(finished_run, tmp_path / "ckpt.pt")
    paths = [*(tmp_path / "hf").iterdir(), tmp_path / "ckpt.pt"]
    return {path.name: path.read_bytes() for path in paths if path.name != "tokenizer_config.json"}


def uploads(files, *names):
    return [Upload(name, io.BytesIO(files[name]), len(files[name])) for name in names]


@pytest.mark.parametrize("names", [("config.json", "model.safetensors", "tokenizer.json"), ("ckpt.pt",)])
def test_uploads_become_a_run_and_leave_nothing_else(finished_run, explorer_home, files, names):
    corpus = finished_run.record().config.data.corpus
    imported = import_uploads(explorer_home, uploads(files, *names), corpus, "  theirs ")
    assert (imported.name, imported.status().state) == ("theirs", "finished")
    assert load_model(imported).tokenizer == load_model(finished_run).tokenizer
    assert not list((explorer_home / "downloads").iterdir())


def test_any_name_of_a_checkpoint_will_do(finished_run, explorer_home, files):
    files["my best ../../model.pt"] = files["ckpt.pt"]
    corpus = finished_run.record().config.data.corpus
    imported = import_uploads(explorer_home, uploads(files, "my best ../../model.pt"), corpus, "")
    assert imported.name == "imported model" and imported.record().origin.startswith("imported from ckpt.pt")


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ((), "Choose the files first"),
        (("config.json",), "no model.safetensors"),
        (("model.safetensors",), "no config.json"),
        (("../run.json",), "Nothing here reads a file called '../run.json'"),
        (("config.json", "config.json"), "two files for config.json"),
        (("ckpt.pt", "model.safetensors"), "These are two models"),
        (("large.pt",), "at most 700 MB"),
        (("broken.pt",), "missing, damaged, or not saved by PyTorch"),
    ],
)
def test_what_cannot_be_opened_is_a_sentence_and_leaves_nothing(finished_run, explorer_home, files, names, sentence):
    corpus = finished_run.record().config.data.corpus
    files |= {"../run.json": b"{}", "large.pt": b"", "broken.pt": b"PK nothing"}
    sent = uploads(files, *names)
    if names == ("large.pt",):
        sent = [sent[0]._replace(size=(MOST_MEGABYTES << 20) + 1)]
    with pytest.raises(ExplorerError, match=sentence):
        import_uploads(explorer_home, sent, corpus, "")
    assert [folder.id for folder in list_runs(explorer_home)] == [finished_run.id]
    assert not list((explorer_home / "downloads").iterdir())


def test_what_a_killed_server_left_goes_with_the_next_upload(finished_run, explorer_home, files):
    old, new = (explorer_home / "downloads" / f"{TEMPORARY}{name}" for name in ("old", "new"))
    old.mkdir(), new.mkdir()
    os.utime(old, (0, 0))
    import_uploads(explorer_home, uploads(files, "ckpt.pt"), finished_run.record().config.data.corpus, "")
    assert new.exists() and not old.exists()


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "", "a/b/c", "https://example.org/x"])
def test_a_name_on_the_hub_is_never_a_path(explorer_home, name):
    with pytest.raises(ExplorerError, match="is no name of a model"):
        import_from_hub(explorer_home, name, "shakespeare", "")


def test_the_server_takes_uploads_as_large_as_the_page_says():
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))
    assert settings["server"]["maxUploadSize"] == MOST_MEGABYTES
