"""Paired models differ in one thing only, and their measurements are right."""

from pathlib import Path
from pydoc import locate

import numpy as np
import pytest
import torch

from core.errors import TextError
from core.interpretability import finish
from core.lessons import paired_runs
from core.lessons.experiment_results import explanation_markdown, result_numbers
from core.lessons.experiments import EXPERIMENTS, Experiment, first_characters, insert_phrase, remove_letter
from core.lessons.paired_runs import (
    MIN_TEXT,
    ModelResult,
    kind_of_sample,
    longest_copy,
    loss_on_letter,
    make_pair,
    phrase_memorization,
    share_of_words,
    shuffled,
    train_pair,
)
from core.text.corpora import load_corpus
from core.text.ngrams import Baselines
from tests.conftest import TEXT as TWO_LINES

TEXT = (2 * TWO_LINES)[:MIN_TEXT]
NAMES = list(EXPERIMENTS)


@pytest.fixture
def measures_less(monkeypatch):
    """Measure trained models on fewer windows and a shorter sample, for tests that do not depend on their quality."""
    monkeypatch.setattr(paired_runs, "_WINDOWS", 60)
    monkeypatch.setattr(paired_runs, "_COURSE_WINDOWS", 8)
    monkeypatch.setattr(paired_runs, "_SAMPLE", 60)


@pytest.mark.parametrize("name", NAMES)
def test_control_and_treatment_start_with_the_same_weights_and_batches(name):
    pair = make_pair(EXPERIMENTS[name], TEXT, steps=2)
    control, treatment = pair.control, pair.treatment
    assert control.config.train.seed == treatment.config.train.seed
    torch.testing.assert_close(control.val_windows, treatment.val_windows)
    if name != "start":
        for own, other in zip(control.model.parameters(), treatment.model.parameters(), strict=False):
            if own.shape == other.shape:
                torch.testing.assert_close(own, other)
    if EXPERIMENTS[name].corrupt is None:
        for trainer in (control, treatment):
            trainer.train_step(detailed=True)
        assert torch.equal(control.step_detail["inputs"], treatment.step_detail["inputs"])
        assert pair.control_text == pair.treatment_text
    else:
        assert control.config == treatment.config
        assert pair.control_text != pair.treatment_text


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_completes_and_measures_control_and_treatment(measures_less, name):
    seen = list(train_pair(make_pair(EXPERIMENTS[name], TEXT, steps=2)))
    outcome = seen[-1].result
    assert outcome.complete and seen[-1].done == seen[-1].total
    for course in (outcome.control, outcome.treatment):
        assert course.steps[0] == 0 and len(course.steps) == len(course.val) == len(course.train)
        assert course.by_position.shape == (32,) and np.isfinite(course.by_position).all()
        assert course.sample and course.last_position_loss == pytest.approx(course.by_position[-1])
        assert 0 < course.sharpness[0] <= 1 and course.gradient > 0
    assert outcome.control.extra.keys() == outcome.treatment.extra.keys()
    assert bool(outcome.treatment.extra) == (name in ("planted", "letter"))


def test_removing_the_mask_lowers_the_loss_everywhere_but_at_the_last_position(monkeypatch):
    monkeypatch.setattr(paired_runs, "_COURSE_WINDOWS", 8)  # every place is measured on as much text as on the page
    monkeypatch.setattr(paired_runs, "_SAMPLE", 60)
    text = load_corpus("shakespeare", Path())[:40_000]
    outcome = finish(train_pair(make_pair(EXPERIMENTS["mask"], text, steps=100)))
    assert outcome.treatment.val[-1] < 0.75 * outcome.control.val[-1]
    assert outcome.treatment.last_position_loss > outcome.control.last_position_loss + 0.2
    assert outcome.treatment.last_position_loss > outcome.treatment.by_position[:-1].max() + 0.5


def test_a_model_with_a_non_finite_loss_stops_while_the_other_keeps_training(measures_less):
    pair = make_pair(Experiment("mask"), TEXT, steps=4)
    with torch.no_grad():
        pair.treatment.model.transformer.wte.weight.fill_(float("inf"))
    outcome = finish(train_pair(pair))
    assert "no longer a finite number" in outcome.treatment.stopped and not outcome.control.stopped
    assert outcome.control.steps[-1] == 4 and outcome.control.sample and not outcome.treatment.sample


@pytest.mark.parametrize("name", ["planted", "letter"])
@pytest.mark.parametrize("unwell", ["control", "treatment"])
def test_a_stopped_model_has_no_extra_measurements_and_the_other_keeps_its_own(measures_less, name, unwell):
    pair = make_pair(EXPERIMENTS[name], TEXT, steps=2)
    with torch.no_grad():
        getattr(pair, unwell).model.transformer.wte.weight.fill_(float("inf"))
    outcome = finish(train_pair(pair))
    other = "treatment" if unwell == "control" else "control"
    assert not getattr(outcome, unwell).extra and getattr(outcome, other).extra
    numbers = result_numbers(outcome, Baselines(3.7, 3.0, 2.5, 2.0), 40) | pair.choices
    for extra in getattr(outcome, other).extra:
        assert f"{other}_{extra}" in numbers and f"{unwell}_{extra}" not in numbers
    explanation = explanation_markdown(pair, outcome)
    assert explanation and "{" not in explanation


def test_an_experiment_that_changes_nothing_or_has_too_little_text_is_refused():
    with pytest.raises(TextError, match="both models would be the same"):
        make_pair(EXPERIMENTS["letter"], TEXT, choices={"letter": "%"})
    with pytest.raises(TextError, match="needs at least 3,000"):
        make_pair(EXPERIMENTS["mask"], TEXT[:1000])


def test_each_experiment_corrupts_its_text():
    assert first_characters("abcdef", 2) == "ab"
    assert remove_letter("Every eel", "e") == "vry l"
    planted = insert_phrase("one\ntwo\nthree", "XX", 5)
    assert planted.count("XX") == 5 and planted.replace("XX\n", "").replace("\nXX", "") == "one\ntwo\nthree"


def test_shuffled_windows_keep_their_last_two_tokens_in_place():
    windows = torch.arange(20).view(2, 10)
    moved = shuffled(windows)
    assert torch.equal(moved[:, -2:], windows[:, -2:]) and not torch.equal(moved, windows)
    assert torch.equal(moved.sort(dim=1).values, windows)


def test_samples_are_classified_as_stuck_copied_words_or_rubbish():
    control = ModelResult(sample="to be or not", words=0.6, copied=12)
    assert kind_of_sample(ModelResult(sample="eeeeeeeeea"), control) == "stuck"
    assert kind_of_sample(ModelResult(sample="to be or not", words=1.0, copied=80), control) == "copied"
    assert kind_of_sample(ModelResult(sample="to be or not", words=0.5, copied=10), control) == "words"
    assert kind_of_sample(ModelResult(sample="xq zpt fgh", words=0.0, copied=2), control) == "rubbish"


def test_share_of_words_and_longest_copy_are_measured():
    assert share_of_words("The nobler qwert is", "the Nobler mind") == pytest.approx(2 / 3)
    assert share_of_words("a b", "a b") == 0.0
    assert longest_copy("xx that is yy", "say that is it") == len(" that is ")


def test_a_planted_phrase_is_memorized_and_continued():
    pair = make_pair(EXPERIMENTS["planted"], TEXT, steps=80, choices={"phrase": "Marmalade.", "times": 400})
    for _step in range(80):
        pair.control.train_step()
        pair.treatment.train_step()
    control, treatment = (
        phrase_memorization(t.model, pair.tokenizer, "Marmalade.") for t in (pair.control, pair.treatment)
    )
    assert treatment["phrase"] < control["phrase"] and treatment["likely"] > control["likely"]
    assert "\nMarmalade.".endswith(treatment["goes_on"])


def test_loss_is_measured_separately_on_one_letter_and_on_all_others():
    pair = make_pair(EXPERIMENTS["letter"], TEXT, steps=2)
    model, ids = pair.control.model, pair.val_ids
    found = loss_on_letter(model, pair.tokenizer, ids, "e")
    assert found["on_letter"] > 0 and found["on_others"] > 0
    assert found["expected"] == pytest.approx(1 / pair.tokenizer.vocab_size, rel=0.5)  # nothing learned yet
    without = ids[ids != pair.tokenizer.encode("e")[0]]
    assert loss_on_letter(model, pair.tokenizer, without, "e").keys() == {"on_others", "expected"}


@pytest.mark.parametrize("name", NAMES)
def test_every_function_that_an_experiment_page_shows_exists(name):
    assert all(callable(locate(function)) for function in EXPERIMENTS[name].code)
