"""Fixtures of page tests; the background jobs that a page starts end before its runs are deleted."""

from collections.abc import Iterator

import pytest
from streamlit.testing.v1 import AppTest

from core.lessons import equal_compute, paired_runs, quick_train
from explorer.learn import experiments
from explorer.learn.bigram import training
from explorer.learn.gpt import sampling
from explorer.look_inside import ablation, memorization
from explorer.services import jobs
from tests.components import wait_for_jobs


@pytest.fixture(autouse=True)
def jobs_end(explorer_home) -> Iterator[None]:
    yield
    for job in list(jobs._jobs.values()):
        job.stop()  # nobody waits for what it would still compute
    wait_for_jobs()
    for key, job in list(jobs._jobs.items()):
        if key[0] != "lesson" or job.stopped:  # a lesson's key names its text, but run ids are the same in every test
            del jobs._jobs[key]


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give runs one thread, whose speed is measured already, and let no page measure settings during the tests."""
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")
    monkeypatch.setenv("GPT_EXPLORER_TRIALS", "0")


@pytest.fixture(autouse=True)
def short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train models for fewer steps and evaluate them on less text: other tests check what they learn."""
    monkeypatch.setattr(quick_train, "STEPS", 10)
    monkeypatch.setattr(quick_train, "RUNG_STEPS", 5)
    monkeypatch.setattr(quick_train, "_EVAL_WINDOWS", 8)
    monkeypatch.setattr(equal_compute, "STEPS", 4)
    monkeypatch.setattr(equal_compute, "_FINAL_WINDOWS", 8)
    monkeypatch.setattr(training, "TRAINING_STEPS", 500)
    monkeypatch.setattr(sampling, "_SAMPLE_LENGTH", 100)
    monkeypatch.setattr(memorization, "LENGTH", 60)
    monkeypatch.setattr(ablation, "GENERATED", 40)
    monkeypatch.setattr(paired_runs, "_WINDOWS", 60)
    monkeypatch.setattr(paired_runs, "_COURSE_WINDOWS", 8)
    monkeypatch.setattr(paired_runs, "_SAMPLE", 60)
    monkeypatch.setattr(experiments, "STEPS_OF_TRAINING", (5, *experiments.STEPS_OF_TRAINING))


def run_until_done(app: AppTest, *, shows_errors: bool = False) -> AppTest:
    """Run a page until all jobs that it waits for have ended, also those that start one after another."""

    def check() -> None:
        assert not app.exception and (shows_errors or not app.error)

    while app.get("progress"):
        check()
        wait_for_jobs()
        app.run()
    check()
    return app
