"""The text of a run as Look inside measures with it."""

import pytest
import torch

from core.config import DataConfig
from core.errors import TextError
from core.text.corpora import load_corpus
from core.text.own_text import delete_text
from core.text.split import split_point
from explorer.look_inside import run_text
from explorer.look_inside.view import Inside
from explorer.services import shared
from explorer.widgets.prompt import read_prompt


@pytest.fixture
def inside(finished_run) -> Inside:
    opened = shared.open_model(finished_run.id)
    return Inside(finished_run, opened, read_prompt("to be", opened.tokenizer))


def test_the_text_is_cut_as_for_training(inside, explorer_home):
    text = load_corpus(inside.opened.record.config.data.corpus, explorer_home)
    training, validation = run_text.material(inside)
    assert inside.tokenizer.decode(torch.cat([training, validation])) == text
    assert len(training) == split_point(len(text), DataConfig().val_fraction)
    assert run_text.training_ids(inside) is training


def test_windows_are_of_the_part_kept_aside_and_fit_the_context(inside):
    windows = run_text.windows(inside, length=64, count=5)
    assert windows.shape == (5, inside.model.block_size + 1) and windows.dtype == torch.int64
    validation = run_text.material(inside).validation
    assert windows[0].tolist() == validation[:17].tolist() and windows[-1].tolist() == validation[-17:].tolist()
    assert run_text.windows(inside, length=4, count=2).shape == (2, 5)


def test_only_so_many_texts_are_kept(inside, add_run):
    for _ in range(run_text.MOST_KEPT + 1):
        folder = add_run()
        run_text.material(Inside(folder, inside.opened, inside.prompt))
    assert len(run_text._kept) == run_text.MOST_KEPT and inside.folder.path not in run_text._kept


def test_a_text_that_is_gone_is_a_sentence(inside, explorer_home):
    delete_text(inside.opened.record.config.data.corpus, explorer_home)
    with pytest.raises(TextError, match="cannot be read any more"):
        run_text.windows(inside)


def test_a_text_that_has_changed_is_a_sentence(inside):
    other = inside.opened.record.model_copy(update={"corpus_hash": "0" * 64})
    with pytest.raises(TextError, match="no longer the one"):
        run_text.windows(Inside(inside.folder, inside.opened._replace(record=other), inside.prompt))
