"""The text of a run, on which Look inside measures."""

from dataclasses import replace

import pytest
import torch

from core.config import DataConfig
from core.errors import TextError
from core.text import split_point
from core.text.corpora import load_corpus
from core.text.own_text import delete_text
from explorer.look_inside import run_text
from explorer.look_inside.inspection import Inspection, time_machine_state
from explorer.services import shared
from explorer.widgets.prompt import read_prompt


@pytest.fixture
def inspection(finished_run) -> Inspection:
    opened = shared.open_model(finished_run.id)
    state = time_machine_state(finished_run, opened, "to be")
    return Inspection(finished_run, opened, read_prompt("to be", opened.tokenizer), state)


def test_the_text_is_split_as_for_training(inspection, explorer_home):
    text = load_corpus(inspection.opened.record.config.data.corpus, explorer_home)
    training, validation = run_text.run_text(inspection)
    assert inspection.tokenizer.decode(torch.cat([training, validation])) == text
    assert len(training) == split_point(len(text), DataConfig().val_fraction)
    assert run_text.run_text(inspection).training is training


def test_windows_come_from_the_validation_part_and_fit_the_context(inspection):
    windows = run_text.windows(inspection, length=64, count=5)
    assert windows.shape == (5, inspection.model.block_size + 1) and windows.dtype == torch.int64
    validation = run_text.run_text(inspection).validation
    assert windows[0].tolist() == validation[:17].tolist() and windows[-1].tolist() == validation[-17:].tolist()
    assert run_text.windows(inspection, length=4, count=2).shape == (2, 5)


def test_the_cache_of_texts_is_bounded(inspection, add_run):
    for _ in range(run_text.MAX_CACHED + 1):
        folder = add_run()
        run_text.run_text(replace(inspection, folder=folder))
    assert len(run_text.run_text.cache) == run_text.MAX_CACHED and inspection.folder.path not in run_text.run_text.cache


def test_a_deleted_text_is_reported_in_a_sentence(inspection, explorer_home):
    delete_text(inspection.opened.record.config.data.corpus, explorer_home)
    with pytest.raises(TextError, match="can no longer be read"):
        run_text.windows(inspection)


def test_a_changed_text_is_reported_in_a_sentence(inspection):
    other = inspection.opened.record.model_copy(update={"corpus_hash": "0" * 64})
    with pytest.raises(TextError, match="has changed"):
        run_text.windows(replace(inspection, opened=inspection.opened._replace(record=other)))
