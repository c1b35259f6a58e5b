"""Uploads become runs or are refused in a sentence, and leave no files behind."""

import io
import os
import tomllib

import pytest
import torch

from core.atomic_io import TEMPORARY
from core.errors import ExplorerError
from core.runs.archive import zip_run
from core.runs.folder import list_runs
from core.runs.model_files import export_hugging_face, export_nanogpt
from core.runs.weights import load_model
from explorer.services.model_files import MAX_MEGABYTES, Upload, import_from_hub, import_uploads, write_export
from explorer.widgets.address import ROOT


@pytest.fixture
def files(finished_run, tmp_path) -> dict[str, bytes]:
    """Export a finished run in the formats of Hugging Face and nanoGPT."""
    export_hugging_face(finished_run, tmp_path / "hf")
    export_nanogpt(finished_run, tmp_path / "ckpt.pt")
    paths = [*(tmp_path / "hf").iterdir(), tmp_path / "ckpt.pt"]
    return {path.name: path.read_bytes() for path in paths}


def uploads(files, *names):
    return [Upload(name, io.BytesIO(files[name]), len(files[name])) for name in names]


@pytest.mark.parametrize("names", [("config.json", "model.safetensors", "tokenizer.json"), ("ckpt.pt",)])
def test_uploads_become_a_run_and_leave_no_other_files(finished_run, explorer_home, files, names):
    corpus = finished_run.record().config.data.corpus
    imported = import_uploads(explorer_home, uploads(files, *names), corpus, "  theirs ")
    assert (imported.name, imported.status().state) == ("theirs", "finished")
    assert load_model(imported).tokenizer == load_model(finished_run).tokenizer
    assert not list((explorer_home / "downloads").iterdir())


def same_model(run, other) -> bool:
    left, right = (load_model(folder) for folder in (run, other))
    ids = torch.arange(10)[None]
    with torch.no_grad():
        logits = [loaded.model(ids)[0] for loaded in (left, right)]
    return left.tokenizer == right.tokenizer and torch.allclose(*logits, atol=1e-5)


def renamed(files, names):
    return [Upload(there, io.BytesIO(files[here]), len(files[here])) for here, there in names.items()]


def test_our_own_exports_open_when_all_their_files_are_uploaded_together(finished_run, explorer_home, files):
    corpus = finished_run.record().config.data.corpus
    there = {name: name for name in files if name != "ckpt.pt"}
    files |= dict.fromkeys(("generation_config.json", "special_tokens_map.json", "README.md"), b"{}")
    for names in (files.keys() - {"ckpt.pt"}, there):
        sent = renamed(files, {name: name for name in names})
        assert same_model(import_uploads(explorer_home, sent, corpus, ""), finished_run)
    sent = renamed(files, {name: name for name in ("ckpt.pt", "tokenizer.json", "tokenizer_config.json")})
    assert same_model(import_uploads(explorer_home, sent, corpus, ""), finished_run)


@pytest.mark.parametrize(
    "names",
    [
        {
            "config.json": "config (1).json",
            "model.safetensors": "model(12).safetensors",
            "tokenizer.json": "tokenizer 2.json",
        },
        {
            "config.json": "CONFIG.JSON",
            "model.safetensors": "Model.safetensors",
            "tokenizer.json": "tokenizer copy.json",
        },
        {"ckpt.pt": "CKPT.PT", "tokenizer.json": "tokenizer (3).json"},
        {"ckpt.pt": "ckpt (1).pt"},
        {"ckpt.pt": "last.pth"},
    ],
    ids=lambda names: " ".join(names.values()),
)
def test_file_names_changed_by_browsers_and_systems_are_recognized(names, finished_run, explorer_home, files):
    corpus = finished_run.record().config.data.corpus
    assert same_model(import_uploads(explorer_home, renamed(files, names), corpus, ""), finished_run)


def test_zips_downloaded_from_the_page_open_again(finished_run, explorer_home):
    corpus = finished_run.record().config.data.corpus
    for kind, name in (("huggingface", "theirs"), (None, "patient-otter")):
        packed = io.BytesIO()
        zip_run(finished_run, packed) if kind is None else write_export(explorer_home, finished_run, kind, packed)
        sent = [Upload("Anything (2).ZIP", packed, packed.tell())]
        again = import_uploads(explorer_home, sent, corpus, "" if kind is None else name)
        assert again.name == name and again.id != finished_run.id and same_model(again, finished_run)
        assert bool(again.record().origin) == (kind is not None)
    assert not list((explorer_home / "downloads").iterdir())


def test_a_nanogpt_checkpoint_may_have_any_file_name(finished_run, explorer_home, files):
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
        (("large.pt",), "at most 1.0 GB"),
        (("run.zip", "config.json"), "A zip is opened by itself"),
        (("broken.zip",), "damaged, or is not a zip"),
        (("readme.md", "../run.json"), "Nothing here reads a file called 'readme.md'"),
        (("broken.pt",), "missing, damaged, or not saved by PyTorch"),
    ],
)
def test_an_upload_that_cannot_be_opened_is_refused_and_leaves_no_files(
    finished_run, explorer_home, files, names, sentence
):
    corpus = finished_run.record().config.data.corpus
    files |= {"../run.json": b"{}", "large.pt": b"", "broken.pt": b"PK nothing", "readme.md": b"#"}
    files |= {"run.zip": b"PK", "broken.zip": b"PK nothing"}
    sent = uploads(files, *names)
    if names == ("large.pt",):
        sent = [sent[0]._replace(size=(MAX_MEGABYTES << 20) + 1)]
    with pytest.raises(ExplorerError, match=sentence):
        import_uploads(explorer_home, sent, corpus, "")
    assert [folder.id for folder in list_runs(explorer_home)] == [finished_run.id]
    assert not list((explorer_home / "downloads").iterdir())


def test_the_next_upload_deletes_old_temporary_files_of_a_killed_server(finished_run, explorer_home, files):
    old, new = (explorer_home / "downloads" / f"{TEMPORARY}{name}" for name in ("old", "new"))
    old.mkdir(), new.mkdir()
    os.utime(old, (0, 0))
    import_uploads(explorer_home, uploads(files, "ckpt.pt"), finished_run.record().config.data.corpus, "")
    assert new.exists() and not old.exists()


@pytest.mark.parametrize("name", ["../../etc", "/etc/passwd", "", "a/b/c", "https://example.org/x"])
def test_a_path_or_url_is_refused_as_a_model_name_of_the_hub(explorer_home, name):
    with pytest.raises(ExplorerError, match="is not a model name"):
        import_from_hub(explorer_home, name, "shakespeare", "")


def test_the_servers_upload_limit_is_the_one_the_page_shows():
    settings = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text("utf-8"))
    assert settings["server"]["maxUploadSize"] == MAX_MEGABYTES
