import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.errors import ExplorerError
from core.interpretability import Progress
from explorer.services import jobs, shared
from tests.components import wait_for_jobs


def ended(job):
    wait_for_jobs()
    assert job.ended
    return job


def count(total):
    return lambda: (Progress(done, total, done * 10) for done in range(1, total + 1))


def test_a_job_with_a_known_key_is_computed_once():
    first = jobs.job("once", count(3))
    assert jobs.job("once", count(99)) is first
    assert (ended(first).result, first.share, first.problem) == (30, 1.0, "")
    assert jobs.known("once") is first and jobs.known("never") is None


def test_a_stopped_job_keeps_its_partial_result_and_can_be_restarted():
    reached, go_on = threading.Event(), threading.Event()

    def slow():
        yield Progress(1, 3, "a third")
        reached.set()
        go_on.wait(20)
        yield Progress(2, 3, "two thirds")
        yield Progress(3, 3, "all")

    job = jobs.job("stopped", slow)
    assert reached.wait(20)
    assert not job.ended and job.result == "a third"
    job.stop()
    go_on.set()
    assert ended(job).stopped and job.result == "two thirds"
    again = jobs.job("stopped", slow)
    assert again is not job and ended(again).result == "all"


def test_an_error_in_a_job_becomes_a_sentence_and_the_next_job_still_runs():
    def explained():
        yield Progress(1, 2, None)
        raise ExplorerError("The prompt is too long.")

    def surprising():
        yield Progress(1, 2, None)
        raise KeyError("oh")

    assert ended(jobs.job("explained", explained)).problem == "The prompt is too long."
    assert "because of a bug" in ended(jobs.job("surprising", surprising)).problem
    assert ended(jobs.job("after", count(1))).result == 10


def test_stopping_a_finished_job_keeps_its_result():
    job = ended(jobs.job("late stop", count(2)))
    job.stop()
    assert not job.stopped and jobs.job("late stop", count(9)) is job and job.result == 20


def test_a_failed_job_can_be_restarted():
    attempts = []

    def fails_once():
        attempts.append(1)
        if len(attempts) == 1:
            raise ExplorerError("Not now.")
        yield Progress(1, 1, "found")

    assert ended(jobs.job("fails once", fails_once)).problem == "Not now."
    assert ended(jobs.job("fails once", fails_once)).result == "found"


def test_the_oldest_jobs_are_dropped_beyond_the_limit():
    for number in range(jobs.MAX_JOBS + 5):
        last = jobs.job(("kept", number), count(1))
    ended(last)
    assert jobs.known(("kept", 0)) is None and jobs.known(("kept", number)) is last


class Slowly:
    """A computation that waits for `go_on` after its first quarter. The page below requests it."""

    def __init__(self, key):
        self.key, self.begun, self.go_on, self.problem = key, threading.Event(), threading.Event(), ""

    def __call__(self):
        yield Progress(1, 4, "a quarter")
        self.begun.set()
        assert self.go_on.wait(60)
        if self.problem:
            raise ExplorerError(self.problem)
        yield Progress(2, 4, "half")
        yield Progress(4, 4, "all")


slow_job: Slowly


def page_with_a_job():
    import streamlit as st

    from explorer.widgets.job_progress import result_of
    from tests.explorer import test_jobs

    st.session_state["drawn"] = st.session_state.get("drawn", 0) + 1
    show = lambda so_far: st.code(f"so far: {so_far}")  # noqa: E731
    found = result_of(test_jobs.slow_job.key, test_jobs.slow_job, "Counting", show)
    st.write(f"found: {found}")


def page_whose_job_ends_before_it_looks():
    import streamlit as st

    from explorer.services import jobs
    from explorer.widgets import job_progress
    from tests.explorer import test_jobs

    st.session_state["drawn"] = st.session_state.get("drawn", 0) + 1
    if st.session_state["drawn"] == 1:
        job_progress._watch(jobs.known(test_jobs.slow_job.key), "Counting", "stop")


@pytest.fixture
def slowly(request):
    global slow_job
    slow_job = Slowly(request.node.name)
    yield slow_job
    slow_job.go_on.set()
    jobs.known(slow_job.key).stop()
    ended(jobs.known(slow_job.key))


def found_on(app: AppTest) -> str:
    assert not app.exception
    return app.markdown[-1].value


def test_a_page_shows_a_jobs_progress_and_then_its_result(slowly):
    app = AppTest.from_function(page_with_a_job, default_timeout=30).run()
    assert slowly.begun.wait(30)
    app.run()
    assert found_on(app) == "found: None"
    (bar,) = app.get("progress")
    assert (bar.proto.text, bar.proto.value) == ("Counting (25%)", 25)
    assert [button.label for button in app.button] == ["Stop"]
    slowly.go_on.set()
    ended(jobs.known(slowly.key))
    assert found_on(app.run()) == "found: all"
    assert not app.get("progress") and not app.button


def test_a_job_stopped_on_its_page_shows_its_partial_result_and_can_be_restarted(slowly):
    app = AppTest.from_function(page_with_a_job, default_timeout=30).run()
    assert slowly.begun.wait(30)
    app.run().button[0].click().run()
    slowly.go_on.set()
    first = ended(jobs.known(slowly.key))
    assert first.stopped and first.result == "half"
    assert found_on(app.run()) == "found: None"
    assert app.caption[0].value == "Stopped before it was done."
    assert [code.value for code in app.code] == ["so far: half"]
    assert [button.label for button in app.button] == ["Begin again"]
    app.button[0].click().run()
    assert ended(jobs.known(slowly.key)) is not first
    assert found_on(app.run()) == "found: all"


def test_a_failed_job_shows_its_error_on_the_page_and_can_be_restarted(slowly):
    slowly.problem = "The prompt is too long."
    slowly.go_on.set()
    app = AppTest.from_function(page_with_a_job, default_timeout=30).run()
    ended(jobs.known(slowly.key))
    assert found_on(app.run()) == "found: None"
    assert app.error[0].value.replace("\\", "") == "The prompt is too long."
    slowly.problem = ""
    app.button[0].click().run()
    ended(jobs.known(slowly.key))
    assert found_on(app.run()) == "found: all" and not app.error


def test_a_page_reruns_when_its_job_has_already_ended(slowly):
    slowly.go_on.set()
    ended(jobs.job(slowly.key, slowly))
    app = AppTest.from_function(page_whose_job_ends_before_it_looks, default_timeout=30).run()
    assert not app.exception and app.session_state["drawn"] == 2
    assert not app.get("progress")


def test_concurrent_jobs_alternate_and_keep_separate_random_states(monkeypatch):
    monkeypatch.setattr(jobs, "SLICE", 0.0)
    order, go_on = [], threading.Event()

    def draws(name, seed):
        def make():
            go_on.wait(20)
            torch.manual_seed(seed)
            with torch.no_grad():  # applies to this job only
                for piece in range(1, 5):
                    order.append(name)
                    yield Progress(piece, 4, torch.rand(piece).tolist())

        return make

    def trains():
        for piece in range(1, 5):
            weight = torch.ones(1, requires_grad=True)
            (weight * 2).sum().backward()
            order.append("trains")
            yield Progress(piece, 4, float(weight.grad))

    together = [jobs.job(("turns", name), draws(name, name)) for name in (1, 2)] + [jobs.job("trains", trains)]
    go_on.set()
    assert ended(together[2]).result == 2.0
    found = [ended(job).result for job in together[:2]]
    first_round = order[:3]
    assert sorted(map(str, first_round)) == ["1", "2", "trains"]  # no job waits for another to finish
    for seed, numbers in zip((1, 2), found, strict=True):
        torch.manual_seed(seed)
        assert numbers == [torch.rand(piece).tolist() for piece in range(1, 5)][-1]


def test_a_viewer_who_leaves_does_not_stop_a_job_that_others_watch(monkeypatch):
    go_on = threading.Event()

    def slow():
        yield Progress(1, 2, "half")
        go_on.wait(20)
        yield Progress(2, 2, "all")

    watched = jobs.job("watched by two", slow)
    for session in ("Ada", "Bob"):
        monkeypatch.setattr(jobs, "_session", lambda session=session: session)
        watched.watch()
    watched.leave()  # Bob
    assert not watched.stopped
    go_on.set()
    assert ended(watched).result == "all"


def test_a_job_without_viewers_is_stopped(monkeypatch):
    go_on = threading.Event()

    def endless():
        go_on.wait(20)
        for piece in itertools.count(1):
            yield Progress(piece, 10**9, piece)

    left = jobs.job("left", endless)
    left.watch()
    monkeypatch.setattr(jobs, "AWAY", -1.0)
    go_on.set()
    assert ended(left).stopped


def test_a_job_waits_for_the_jobs_requested_before_it():
    go_on = threading.Event()

    def slow():
        go_on.wait(20)
        yield Progress(1, 1, "done")

    first, second = jobs.job("before", slow), jobs.job("behind", count(1))
    assert not second.begun
    go_on.set()
    assert ended(second).begun and first.ended


def test_a_stopped_reporting_computation_ends_at_its_next_report():
    half, go_on, shares = threading.Event(), threading.Event(), []

    def compute(report):
        for share in (0.25, 0.5, 0.75):
            report(share)
            shares.append(share)
            if share == 0.5:
                half.set()
                assert go_on.wait(20)
        return "all"

    job = jobs.job("reported", lambda: jobs.reported(compute))
    assert half.wait(20)
    job.stop()
    go_on.set()
    assert ended(job).stopped and job.result is None and job.share < 1
    again = ended(jobs.job("reported", lambda: jobs.reported(compute)))
    assert (again.result, again.share) == ("all", 1.0) and shares[-3:] == [0.25, 0.5, 0.75]


def test_an_error_in_a_reporting_computation_becomes_the_jobs_problem():
    def compute(report):
        report(0.5)
        raise ExplorerError("The disk is full.")

    assert ended(jobs.job("reported badly", lambda: jobs.reported(compute))).problem == "The disk is full."


def test_two_threads_that_need_a_result_of_a_model_compute_it_once():
    model, computing, go_on, computed = torch.nn.Linear(1, 1), threading.Event(), threading.Event(), []

    def compute():
        computing.set()
        assert go_on.wait(20)
        computed.append("once")
        return len(computed)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(shared.result_for, model, "key", compute)
        assert computing.wait(20)
        second = threads.submit(shared.result_for, model, "key", compute)
        assert shared.result_for(model, "another key", lambda: "not blocked") == "not blocked"
        go_on.set()
        assert (first.result(20), second.result(20), computed) == (1, 1, ["once"])


def test_a_failed_result_of_a_model_is_computed_again():
    model = torch.nn.Linear(1, 1)

    def fail():
        raise ExplorerError("The disk is full.")

    with pytest.raises(ExplorerError):
        shared.result_for(model, "key", fail)
    assert shared.result_for(model, "key", lambda: 2) == 2
