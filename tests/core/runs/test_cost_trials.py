"""Results of trials are cached for this machine and for settings with the same steps."""

import json
import shutil
import subprocess
import sys
import time

import psutil
import pytest

from core.config import RunConfig
from core.runs.folder import RunFolder
from core.runs.machine import _seconds_of_others, cached_correction, contention_now, estimate_run, run_trial
from core.runs.weights import vocab_size_of
from core.text.tokenizers import CharTokenizer
from core.training import speed
from core.training.cost import Correction
from core.training.hardware import find_hardware

HARDWARE = find_hardware("cpu")


@pytest.fixture(autouse=True)
def measured_once(data_dir, measured, monkeypatch) -> None:
    """The machine's speed is cached, and trials are short: their results are tested with `core.training.speed`."""
    shutil.copy(measured, data_dir)
    monkeypatch.setattr(speed, "_TRIAL_SECONDS", 0.02)
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")  # the speed for one thread is cached


@pytest.fixture
def settings(config: RunConfig) -> RunConfig:
    return config.replace({"train.precision": "float32", "train.device": "cpu"})


def test_a_trial_is_reused_for_other_run_lengths_but_not_for_other_models(data_dir, settings):
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
def test_a_damaged_trial_cache_is_ignored_and_rewritten(data_dir, settings, damage):
    run_trial(settings, 30, HARDWARE, 1, data_dir)
    path = data_dir / "trials.json"
    path.write_text(damage(path.read_text()))
    assert cached_correction(settings, 30, HARDWARE, 1, data_dir) is None
    run_trial(settings, 30, HARDWARE, 1, data_dir)
    assert len(json.loads(path.read_text())["trials"]) == 1


def test_estimates_use_the_correction_of_the_trial(data_dir, settings):
    plain = estimate_run(settings, 30, data_dir).seconds
    found = run_trial(settings, 30, HARDWARE, 1, data_dir)
    path = data_dir / "trials.json"
    content = json.loads(path.read_text())
    for trial in content["trials"].values():
        trial |= {"step": 1000 * found.step}
    path.write_text(json.dumps(content))
    assert estimate_run(settings, 30, data_dir).seconds > 10 * plain
    assert estimate_run(settings, 30, data_dir, correction=Correction()).seconds == plain


def test_the_vocabulary_size_of_a_waiting_run_comes_from_its_settings(data_dir, settings):
    tokens = settings.replace({"data.tokenizer": "bpe", "data.vocab_size": 700})
    run = RunFolder.create(data_dir, tokens)
    assert vocab_size_of(run) == 700
    CharTokenizer.from_text("abc").save(run.tokenizer_path)
    assert vocab_size_of(run) == 3


def test_trials_and_contention_ignore_the_load_average(data_dir, settings, monkeypatch):
    def load_of_the_last_minute():
        raise AssertionError("it counts what has ended since")

    monkeypatch.setattr(psutil, "getloadavg", load_of_the_last_minute)
    assert run_trial(settings, 30, HARDWARE, 1, data_dir).step > 0
    cores = max(HARDWARE.cores, psutil.cpu_count())
    assert 1 <= contention_now(HARDWARE, 1) < 0.1 + (1 + cores) / cores  # others use at most all cores


def test_processor_time_of_others_excludes_this_process():
    def machine() -> float:
        times = psutil.cpu_times()
        return sum(times) - times.idle - getattr(times, "iowait", 0.0)

    busy = "import time\nwhile time.process_time() < 0.5: pass"
    before = _seconds_of_others()
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert _seconds_of_others() - before > 0.4
    before, all_before, end = _seconds_of_others(), machine(), time.process_time() + 0.5
    while time.process_time() < end:
        pass
    assert _seconds_of_others() - before < machine() - all_before - 0.4
