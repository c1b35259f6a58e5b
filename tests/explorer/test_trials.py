"""The cost of settings is measured in trials: once each, one at a time, never during training."""

from pathlib import Path

import pytest

from core.config import RunConfig
from core.runs.folder import RunFolder
from explorer.services import cost_trials, shared
from explorer.services.cost_trials import end_trial, submit_run, trial_of


@pytest.fixture(autouse=True)
def own_home(explorer_home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")  # the speed with one thread is measured already
    cost_trials._attempted.clear()
    yield
    end_trial()


@pytest.fixture
def settings() -> RunConfig:
    small = {"model.n_layer": 1, "model.n_head": 1, "model.n_embd": 8, "model.block_size": 8, "train.batch_size": 2}
    return RunConfig().replace(small | {"train.precision": "float32", "train.device": "cpu", "train.sample_length": 8})


def test_the_cost_of_settings_is_measured_on_first_request(settings):
    assert trial_of(settings, 20) == (False, True)
    cost_trials._trial.wait(120)
    assert trial_of(settings, 20).measured


def test_no_trial_runs_during_training(settings):
    folder = RunFolder.create(shared.data_dir(), settings.replace({"train.steps": 100_000}))
    assert trial_of(settings, 20).under_way
    submit_run(folder)
    assert trial_of(settings, 20) == (False, False)
    shared.supervisor().stop(folder)


def test_no_trial_is_started_for_a_model_too_large_for_the_machine(settings):
    most = {"model.n_layer": 24, "model.n_embd": 1024, "model.block_size": 2048, "train.batch_size": 512}
    huge = settings.replace(most)
    assert trial_of(huge, 20) == (False, False)


def test_an_interrupted_trial_is_started_again(settings):
    assert trial_of(settings, 20).under_way
    end_trial()
    assert trial_of(settings, 20).under_way
