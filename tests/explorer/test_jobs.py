import threading

from core.errors import ExplorerError
from core.inspection.progress import Progress
from explorer import jobs


def ended(job):
    """Wait for the thread: what is asked for later begins after it."""
    jobs._thread.submit(lambda: None).result()
    assert job.ended
    return job


def count(total):
    return lambda: (Progress(done, total, done * 10) for done in range(1, total + 1))


def test_the_same_key_is_computed_once():
    first = jobs.job("once", count(3))
    assert jobs.job("once", count(99)) is first
    assert (ended(first).result, first.share, first.problem) == (30, 1.0, "")
    assert jobs.known("once") is first and jobs.known("never") is None


def test_a_stopped_job_keeps_what_it_found_and_may_begin_again():
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


def test_errors_become_sentences_and_the_next_job_still_runs():
    def explained():
        yield Progress(1, 2, None)
        raise ExplorerError("The prompt is too long.")

    def surprising():
        yield Progress(1, 2, None)
        raise KeyError("oh")

    assert ended(jobs.job("explained", explained)).problem == "The prompt is too long."
    assert "mistake of ours" in ended(jobs.job("surprising", surprising)).problem
    assert ended(jobs.job("after", count(1))).result == 10


def test_a_stop_that_comes_after_the_end_throws_nothing_away():
    job = ended(jobs.job("late stop", count(2)))
    job.stop()
    assert not job.stopped and jobs.job("late stop", count(9)) is job and job.result == 20


def test_what_failed_may_begin_again():
    attempts = []

    def fails_once():
        attempts.append(1)
        if len(attempts) == 1:
            raise ExplorerError("Not now.")
        yield Progress(1, 1, "found")

    assert ended(jobs.job("fails once", fails_once)).problem == "Not now."
    assert ended(jobs.job("fails once", fails_once)).result == "found"


def test_only_so_many_are_kept():
    for number in range(jobs.MOST_KEPT + 5):
        last = jobs.job(("kept", number), count(1))
    ended(last)
    assert jobs.known(("kept", 0)) is None and jobs.known(("kept", number)) is last
