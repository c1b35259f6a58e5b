import pytest

from core.errors import ExplorerError, TextError
from core.runs.folder import list_runs, open_run
from core.runs.supervisor import Supervisor
from core.text.corpora import load_corpus
from core.text.own_text import delete_text, save_text
from core.trash import DAYS, deleted, empty_trash, restore

WORDS = "Nothing is lost by a slip of the hand. " * 50


def files_of(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_deleted_run_and_its_text_are_restored_unchanged(explorer_home, finished_run):
    before, corpus = files_of(finished_run.path), finished_run.record().config.data.corpus
    Supervisor(explorer_home).delete(finished_run)
    delete_text(corpus, explorer_home)
    assert list_runs(explorer_home) == []
    with pytest.raises(TextError):
        load_corpus(corpus, explorer_home)
    assert [entry.name for entry in deleted(explorer_home)] == [corpus, finished_run.id]
    for entry in deleted(explorer_home):
        restore(explorer_home, entry.id)
    assert files_of(open_run(explorer_home, finished_run.id).path) == before
    assert load_corpus(corpus, explorer_home) and deleted(explorer_home) == []


def test_trash_older_than_the_limit_is_removed(explorer_home, monkeypatch):
    for title in ("first", "second"):
        delete_text(save_text(WORDS + title, title, explorer_home).name, explorer_home)
    (second, first) = deleted(explorer_home)
    empty_trash(explorer_home)
    assert len(deleted(explorer_home)) == 2
    restore(explorer_home, first.id)
    with pytest.raises(ExplorerError, match="no longer in the trash"):
        restore(explorer_home, first.id)
    with pytest.raises(ExplorerError, match="no longer in the trash"):
        restore(explorer_home, "../runs")
    monkeypatch.setattr("core.trash.time.time", lambda: second.time + DAYS * 86400 + 1)
    empty_trash(explorer_home)
    assert deleted(explorer_home) == []


def test_restoring_never_overwrites_an_existing_text(explorer_home):
    name = save_text(WORDS, "Mine", explorer_home).name
    delete_text(name, explorer_home)
    save_text(WORDS, "Mine again", explorer_home)
    (entry,) = deleted(explorer_home)
    with pytest.raises(ExplorerError, match="another one has its name"):
        restore(explorer_home, entry.id)
    assert load_corpus(name, explorer_home) == WORDS and deleted(explorer_home) == [entry]
