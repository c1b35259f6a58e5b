import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import RunError
from core.runs.queue import Queue

CLAIM_ALL = """
import sys
from pathlib import Path
from core.runs.queue import Queue
queue = Queue(Path(sys.argv[1]))
input()
while id := queue.claim(sys.argv[2]):
    print(id)
"""


def test_who_came_first_goes_first(home):
    queue = Queue(home)
    for id in ("c", "a", "b", "a"):
        queue.put(id)
    assert queue.waiting() == ["c", "a", "b"]
    assert queue.claim("me") == "c"
    assert queue.waiting() == ["a", "b"]
    assert [(claim.id, claim.owner) for claim in queue.active()] == [("c", "me")]
    queue.put("c")  # holds a slot already
    assert queue.waiting() == ["a", "b"]
    queue.release("c")
    assert queue.waiting() == ["c", "a", "b"]
    queue.remove("a")
    assert Queue(home).waiting() == ["c", "b"]


def test_no_more_are_claimed_than_there_are_slots(home):
    queue = Queue(home)
    for id in "abc":
        queue.put(id)
    assert [queue.claim("me", slots=2) for _ in range(3)] == ["a", "b", None]
    queue.remove("a")
    assert queue.claim("you", slots=2) == "c"


def test_two_processes_never_claim_the_same_run(home):
    queue = Queue(home)
    ids = [f"run-{number}" for number in range(60)]
    for id in ids:
        queue.put(id)
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, home, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    with ThreadPoolExecutor() as pool:
        outputs = list(pool.map(lambda claimer: claimer.communicate("go\n")[0].split(), claimers))
    assert sorted(outputs[0] + outputs[1]) == sorted(ids)
    for name, claimed in zip(("one", "two"), outputs, strict=True):
        assert claimed == [claim.id for claim in queue.active() if claim.owner == name]


def test_a_damaged_queue_is_named_in_a_sentence(home):
    path = home / "runs" / "queue.sqlite3"
    path.write_bytes(b"not a database, by far" * 100)
    with pytest.raises(RunError, match="queue of runs in .* cannot be used"):
        Queue(home)


def test_a_lock_held_too_long_is_named_in_a_sentence(home):
    queue = Queue(home, busy_seconds=0.05)
    other = sqlite3.connect(home / "runs" / "queue.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RunError, match="locked"):
        queue.put("a")
    other.close()
    queue.put("a")
