"""Whether a run may have learned from a passage is told from its record, and from those of its ancestors."""

import pytest

from core.lessons.shannon import Passage
from core.runs.contamination import may_have_trained_on
from core.runs.folder import RunFolder
from core.runs.forks import fork, fork_config
from core.text.own_text import save_text
from tests.conftest import TEXT

END = 0.95  # of the text: its last tenth is kept aside


@pytest.fixture
def corpus(finished_run) -> str:
    return finished_run.record().config.data.corpus


@pytest.fixture
def passage() -> Passage:
    start = int(END * len(TEXT))
    return Passage(start, TEXT[start - 100 : start], TEXT[start : start + 30])


def edit(run: RunFolder, settings: dict | None = None, **changes) -> None:
    record = run.record()
    run.write_record(record.model_copy(update={"config": record.config.replace(settings or {}), **changes}))


def test_what_was_kept_aside_was_not_seen(explorer_home, finished_run, corpus, passage):
    assert not may_have_trained_on(finished_run, explorer_home, corpus, passage)
    assert may_have_trained_on(finished_run, explorer_home, corpus, passage._replace(start=10))
    edit(finished_run, {"data.val_fraction": 0.01})
    assert may_have_trained_on(finished_run, explorer_home, corpus, passage)


def test_a_fork_has_seen_what_its_ancestors_have(explorer_home, finished_run, corpus, passage):
    child = fork(explorer_home, finished_run, 20, fork_config(finished_run))
    edit(child, parent_step=None)  # settings alone tell nothing of a text
    again = fork(explorer_home, finished_run, 20, fork_config(finished_run))
    last = RunFolder.create(explorer_home, fork_config(again), parent=again.id, parent_step=3)
    for run in (child, again, last):
        assert not may_have_trained_on(run, explorer_home, corpus, passage)
    edit(finished_run, {"data.val_fraction": 0.01})
    assert not may_have_trained_on(child, explorer_home, corpus, passage)
    assert may_have_trained_on(again, explorer_home, corpus, passage)
    assert may_have_trained_on(last, explorer_home, corpus, passage)


def test_what_nobody_knows_may_have_been_seen(explorer_home, add_run, corpus, passage):
    deleted, imported, itself, other = (add_run(name) for name in ("deleted", "imported", "itself", "other"))
    children = [fork(explorer_home, run, 20, fork_config(run)) for run in (deleted, imported)]
    deleted.delete()
    edit(imported, origin="imported from ckpt.pt, in nanoGPT's format")
    edit(itself, parent=itself.id, parent_step=20)
    edit(other, corpus_hash="0" * 64)  # of a text that has changed since
    for run in (*children, imported, itself, other):
        assert may_have_trained_on(run, explorer_home, corpus, passage)


@pytest.mark.parametrize("held", [True, False])
def test_another_text_of_an_ancestor_is_searched_for_the_passage(explorer_home, finished_run, corpus, passage, held):
    child = fork(explorer_home, finished_run, 20, fork_config(finished_run))
    found = (passage.before[-60:] + passage.hidden if held else passage.hidden[:4]) + "\n"
    text = save_text((found + "question mind suffer\n" * 9) * 20, "Another", explorer_home)
    edit(finished_run, {"data.corpus": text.name}, corpus_hash=None)
    assert may_have_trained_on(child, explorer_home, corpus, passage) == held
    edit(finished_run, {"data.corpus": "text-0000000000000000"})
    assert may_have_trained_on(child, explorer_home, corpus, passage)  # of a text that is gone nothing is known
