"""Runs on a text that is never completely in memory. The limit is small here."""

import io

import pytest

from core.runs.ancestry import new_run
from core.runs.commands import send_command
from core.runs.documents import write_document
from core.runs.worker import train_run
from core.text import corpora, large_text, own_text
from core.text.corpora import load_corpus, text_hash
from core.text.large_text import save_large_text
from tests.core.runs.test_documents import execute_here

TEXT = "".join(f"{number} bottles of beer on the wall.\n" for number in range(1500))


@pytest.fixture
def large_config(data_dir, config, monkeypatch):
    monkeypatch.setattr(large_text, "MAX_BYTES", 5000)
    monkeypatch.setattr(large_text, "_CHUNK", 2000)
    corpora._load_beginning.cache_clear()
    corpus = save_large_text(io.BytesIO(f"{TEXT}§".encode()), "Bottles", data_dir)
    assert len(load_corpus(corpus.name, data_dir)) < 5000
    return config.replace({"data.corpus": corpus.name})


@pytest.mark.parametrize("kind", [{}, {"data.tokenizer": "bpe", "data.vocab_size": 270}], ids=["char", "bpe"])
def test_a_run_trains_on_the_whole_large_text_and_reuses_its_tokens(data_dir, large_config, kind):
    said = []
    run = new_run(data_dir, large_config.replace(kind))
    assert train_run(run, data_dir, on_status=said.append).state == "finished"
    assert run.record().corpus_hash == text_hash(f"{TEXT}§") and not run.status().notices
    assert run.read_baselines()["trigram"] < run.read_baselines()["uniform"]
    assert len(list((data_dir / "texts").glob(f"{large_config.data.corpus}-*.bin"))) == 1
    again = new_run(data_dir, large_config.replace(kind))
    assert train_run(again, data_dir).val_loss == run.status().val_loss


def test_tokenizing_a_large_text_can_be_stopped_and_repeated(data_dir, large_config):
    run = new_run(data_dir, large_config)
    send_command(run, "stop")
    assert train_run(run, data_dir).reason.startswith("Stopped while its text was being tokenized")
    assert not list((data_dir / "texts").glob("*.bin*"))
    assert train_run(run, data_dir).state == "finished"


def test_the_script_of_a_run_on_a_large_text_reproduces_it(data_dir, large_config, tmp_path, monkeypatch):
    run = new_run(data_dir, large_config)
    train_run(run, data_dir, threads=1)
    script, elsewhere, file = tmp_path / "again.py", tmp_path / "elsewhere", tmp_path / "bottles.txt"
    write_document(run, "script", script, data_dir)
    elsewhere.mkdir()
    assert "The same to the last bit." in execute_here(script, data_dir)[0]
    monkeypatch.setattr(own_text, "MAX_BYTES", 5000)
    file.write_text(TEXT)  # without its last character
    _, ended = execute_here(script, elsewhere, str(file))
    assert run.record().corpus_hash in str(ended) and not list(elsewhere.rglob("*.txt"))
    file.write_text(f"{TEXT}§")
    assert "The same to the last bit." in execute_here(script, elsewhere, str(file))[0]
