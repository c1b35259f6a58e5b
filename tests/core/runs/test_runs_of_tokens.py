"""Runs with byte or byte-pair tokens: trained, forked, exported, reported and reproduced."""

import math

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from core.cli import main
from core.errors import ConfigError, TextError
from core.runs.ancestry import fork, fork_config, new_run
from core.runs.documents import write_document
from core.runs.folder import list_runs
from core.runs.model_files import export_hugging_face, export_nanogpt, import_model
from core.runs.weights import load_model
from core.runs.worker import train_run
from core.text.own_text import save_text
from core.text.tokenizers import load_tokenizer
from tests.core.runs.test_documents import execute_here

BPE = {"data.tokenizer": "bpe", "data.vocab_size": 290, "model.dropout": 0.0}


@pytest.fixture(params=[BPE, {"data.tokenizer": "byte", "model.dropout": 0.0}], ids=["bpe", "byte"])
def trained(request, data_dir, config):
    run = new_run(data_dir, config.replace(request.param))
    assert train_run(run, data_dir).state == "finished"
    return run


def test_byte_and_bpe_runs_train_fork_generate_report_and_reproduce(trained, data_dir, tmp_path, monkeypatch, capsys):
    size = {"bpe": 290, "byte": 256}[trained.record().config.data.tokenizer]
    loaded = load_model(trained)
    assert loaded.model.vocab_size == loaded.tokenizer.vocab_size == size
    counted = trained.read_baselines()
    assert counted["trigram"] < counted["bigram"] < counted["unigram"] < counted["uniform"]

    last, one = trained.rows("metrics")[-1], loaded.tokenizer.name == "byte"
    assert trained.status().val_bits_per_byte == last["val_bits_per_byte"]
    assert (last["val_bits_per_byte"] == pytest.approx(last["val_loss"] / math.log(2))) is one
    child = fork(data_dir, trained, None, fork_config(trained).replace({"train.steps": 2}))
    assert train_run(child, data_dir).state == "finished"
    assert load_tokenizer(child.tokenizer_path) == loaded.tokenizer

    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    assert main(["generate", trained.id, "--prompt", "wall – é", "--tokens", "5"]) == 0
    assert capsys.readouterr().out.startswith("wall – é")

    write_document(trained, "report", tmp_path / "report.html", data_dir)
    assert f"a vocabulary of {size} different tokens" in (tmp_path / "report.html").read_text()
    write_document(trained, "script", tmp_path / "again.py", data_dir)
    said, error = execute_here(tmp_path / "again.py", data_dir)
    assert error is None and "The same to the last bit." in said


def test_transformers_and_import_read_the_export_of_byte_and_bpe_runs(trained, data_dir, tmp_path):
    loaded, folder = load_model(trained), tmp_path / "theirs"
    export_hugging_face(trained, folder)
    ids = AutoTokenizer.from_pretrained(folder)("99 bottles", return_tensors="pt")["input_ids"]
    assert ids[0].tolist() == loaded.tokenizer.encode("99 bottles")
    ids = ids[:, :8]
    with torch.no_grad():
        theirs = AutoModelForCausalLM.from_pretrained(folder)(ids).logits
        torch.testing.assert_close(theirs, loaded.model(ids)[0], atol=1e-5, rtol=1e-4)
    again = import_model(data_dir, folder, trained.record().config.data.corpus)
    assert load_tokenizer(again.tokenizer_path).tokens == loaded.tokenizer.tokens
    assert "prompts character by character" in export_nanogpt(trained, tmp_path / "nano")


def test_invalid_token_settings_are_refused_before_a_run_exists(data_dir, config):
    with pytest.raises(TextError, match="at most 300 tokens from this text, not 301"):
        new_run(data_dir, config.replace({"data.tokenizer": "bpe", "data.vocab_size": 301}))
    short = save_text("the fog comes on little cat feet " * 6, "Fog", data_dir).name
    changes = {"data.corpus": short, "model.block_size": 60, "data.val_fraction": 0.5}
    new_run(data_dir, config.replace(changes)).delete()
    with pytest.raises(TextError, match=r"has \d+ tokens; .*needs \d+.*Choose a longer text, or a context of at most"):
        new_run(data_dir, config.replace(changes | {"data.tokenizer": "bpe", "data.vocab_size": 275}))
    assert not list_runs(data_dir)


def test_a_fork_keeps_its_parents_tokenizer(data_dir, config):
    parent = new_run(data_dir, config.replace({**BPE, "train.steps": 1}))
    train_run(parent, data_dir)
    for changes in ({"data.vocab_size": 280}, {"data.tokenizer": "char"}):
        with pytest.raises(ConfigError, match="keeps the tokenizer of"):
            fork(data_dir, parent, None, fork_config(parent).replace(changes))
    assert [run.id for run in list_runs(data_dir)] == [parent.id]
