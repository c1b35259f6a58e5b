"""What a trial of settings has shown is kept, for this machine and for settings whose steps are the same."""

import json
import shutil

import pytest

from core.config import RunConfig
from core.runs.machine import cached_correction, run_trial
from core.training import speed
from core.training.hardware import find_hardware

HARDWARE = find_hardware("cpu")


@pytest.fixture(autouse=True)
def measured_once(data_dir, measured, monkeypatch) -> None:
    """The machine's speed is known, and trials are short: what they show is tested with `core.training.speed`."""
    shutil.copy(measured, data_dir)
    monkeypatch.setattr(speed, "_TRIAL_SECONDS", 0.02)


@pytest.fixture
def settings(config: RunConfig) -> RunConfig:
    return config.replace({"train.precision": "float32", "train.device": "cpu"})


def test_a_trial_is_kept_for_runs_of_other_lengths_but_not_for_other_models(data_dir, settings):
    assert cached_correction(settings, 30, HARDWARE, 1, data_dir) is None
    found = run_trial(settings, 30, HARDWARE, 1, data_dir)
    assert found.step > 0
    longer = settings.replace({"train.steps": settings.train.steps + 7})
    assert cached_correction(longer, 30, HARDWARE, 1, data_dir) == found
    for other in ({"model.n_embd": 2 * settings.model.n_embd}, {"train.batch_size": 7}, {"train.optimizer": "muon"}):
        assert cached_correction(settings.replace(other), 30, HARDWARE, 1, data_dir) is None
    assert cached_correction(settings, 31, HARDWARE, 1, data_dir) is None


@pytest.mark.parametrize(
    "damage", [lambda text: text[:20], lambda text: "[]", lambda text: text.replace('"step"', '"stop"')]
)
def test_what_is_damaged_is_as_if_it_were_not_there(data_dir, settings, damage):
    run_trial(settings, 30, HARDWARE, 1, data_dir)
    path = data_dir / "trials.json"
    path.write_text(damage(path.read_text()))
    assert cached_correction(settings, 30, HARDWARE, 1, data_dir) is None
    run_trial(settings, 30, HARDWARE, 1, data_dir)
    assert len(json.loads(path.read_text())["trials"]) == 1
