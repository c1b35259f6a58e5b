"""What a trial of settings has shown is kept, for this machine and for settings whose steps are the same."""

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
    """The machine's speed is known, and trials are short: what they show is tested with `core.training.speed`."""
    shutil.copy(measured, data_dir)
    monkeypatch.setattr(speed, "_TRIAL_SECONDS", 0.02)
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")  # whose speed is measured already


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


def test_every_estimate_of_a_run_uses_what_its_trial_has_shown(data_dir, settings):
    plain = estimate_run(settings, 30, data_dir).seconds
    found = run_trial(settings, 30, HARDWARE, 1, data_dir)
    path = data_dir / "trials.json"
    content = json.loads(path.read_text())
    for trial in content["trials"].values():
        trial |= {"step": 1000 * found.step}
    path.write_text(json.dumps(content))
    assert estimate_run(settings, 30, data_dir).seconds > 10 * plain
    assert estimate_run(settings, 30, data_dir, correction=Correction()).seconds == plain


def test_a_waiting_run_is_counted_with_the_tokens_its_model_will_have(data_dir, settings):
    tokens = settings.replace({"data.tokenizer": "bpe", "data.vocab_size": 700})
    run = RunFolder.create(data_dir, tokens)
    assert vocab_size_of(run) == 700
    CharTokenizer.from_text("abc").save(run.tokenizer_path)
    assert vocab_size_of(run) == 3


def test_neither_a_trial_nor_a_caption_counts_what_has_ended(data_dir, settings, monkeypatch):
    def load_of_the_last_minute():
        raise AssertionError("it counts what has ended since")

    monkeypatch.setattr(psutil, "getloadavg", load_of_the_last_minute)
    assert run_trial(settings, 30, HARDWARE, 1, data_dir).step > 0
    cores = max(HARDWARE.cores, psutil.cpu_count())
    assert 1 <= contention_now(HARDWARE, 1) < 0.1 + (1 + cores) / cores  # others compute on no more than all cores


def test_what_others_compute_counts_and_what_this_process_does_not():
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
