import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import RunError
from core.runs.folder import RunFolder
from core.runs.queue import Queue
from core.runs.supervisor import Supervisor
from tests.core.runs.conftest import wait_for

CLAIM_ALL = """
import sys
from pathlib import Path
from core.runs.queue import Queue
queue = Queue(Path(sys.argv[1]))
input()
while id := queue.claim(sys.argv[2]):
    print(id)
"""


def test_runs_are_claimed_in_the_order_of_submission(data_dir):
    queue = Queue(data_dir)
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
    assert Queue(data_dir).waiting() == ["c", "b"]


def test_no_more_runs_are_claimed_than_there_are_slots(data_dir):
    queue = Queue(data_dir)
    for id in "abc":
        queue.put(id)
    assert [queue.claim("me", slots=2) for _ in range(3)] == ["a", "b", None]
    queue.remove("a")
    assert queue.claim("you", slots=2) == "c"


def test_runs_of_class_members_are_claimed_in_rotation(data_dir):
    """One student's many runs do not delay the others, and a student who trains nothing comes first."""
    queue = Queue(data_dir)
    for id in ("a1", "a2", "a3", "b1", "c1", "c2", "a4", "b2"):
        queue.put(id, member=id[0])
    order = []
    while id := queue.claim("me"):
        order.append(id)
        queue.remove(id)
    assert order == ["a1", "b1", "c1", "a2", "c2", "b2", "a3", "a4"]
    for id in ("a5", "a6", "b3"):
        queue.put(id, member=id[0])
    assert (queue.claim("me"), queue.waiting()) == ("a5", ["b3", "a6"])
    queue.put("d1", member="d")  # the first run of d comes after b's waiting run and before a's second one
    assert [queue.claim("me") for _ in range(4)] == ["b3", "d1", "a6", None]


def test_a_queue_of_an_earlier_version_is_readable(data_dir):
    with sqlite3.connect(data_dir / "runs" / "queue.sqlite3") as database:
        database.execute(
            "CREATE TABLE runs (place INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE, owner TEXT, claimed REAL)"
        )
        database.execute("INSERT INTO runs (id) VALUES ('old')")
    queue = Queue(data_dir)
    queue.put("new")
    assert [queue.claim("me"), queue.claim("me")] == ["old", "new"]


def test_two_processes_never_claim_the_same_run(data_dir):
    queue = Queue(data_dir)
    ids = [f"run-{number}" for number in range(60)]
    for id in ids:
        queue.put(id)
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIM_ALL, data_dir, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in ("one", "two")
    ]
    with ThreadPoolExecutor() as pool:
        outputs = list(pool.map(lambda claimer: claimer.communicate("go\n")[0].split(), claimers))
    assert sorted(outputs[0] + outputs[1]) == sorted(ids)
    for name, claimed in zip(("one", "two"), outputs, strict=True):
        assert claimed == [claim.id for claim in queue.active() if claim.owner == name]


def test_a_damaged_queue_is_reported(data_dir):
    path = data_dir / "runs" / "queue.sqlite3"
    path.write_bytes(b"not a database, by far" * 100)
    with pytest.raises(RunError, match="queue of runs in .* cannot be used"):
        Queue(data_dir)


def test_a_queue_locked_for_too_long_is_reported(data_dir):
    queue = Queue(data_dir, busy_seconds=0.05)
    other = sqlite3.connect(data_dir / "runs" / "queue.sqlite3", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(RunError, match="locked"):
        queue.put("a")
    other.close()
    queue.put("a")


RACE = """
import sys, time
from pathlib import Path
from core.runs.folder import list_runs
from core.runs.supervisor import Supervisor
home = Path(sys.argv[1])
supervisor = Supervisor(home, slots=2)
print("ready", flush=True)
input()
supervisor.start()
runs = list_runs(home)
for run in runs:
    supervisor.submit(run)
while not all(run.status().ended for run in runs):
    time.sleep(0.02)
supervisor.close()
"""


def test_two_supervisors_of_one_folder_never_start_a_run_twice(data_dir, config, monkeypatch):
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")
    runs = [RunFolder.create(data_dir, config.replace({"train.steps": 2})) for _ in range(4)]  # twice as many as slots
    supervisor = Supervisor(data_dir, slots=2)

    def have_ended() -> bool:
        assert len(supervisor.queue.active()) <= 2
        return all(run.status().ended for run in runs)

    script = [sys.executable, "-c", RACE, data_dir]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "ready\n"
        other.stdin.write("go\n")
        other.stdin.flush()
        supervisor.start()
        for run in reversed(runs):
            supervisor.submit(run)
        wait_for(have_ended, "the runs to end")
        supervisor.close()
    assert other.returncode == 0
    for run in runs:
        assert (run.status().state, run.status().attempt) == ("finished", 1), run.status().reason
        assert [row["kind"] for row in run.rows("events")] == ["start", "finish"]
        assert run.log_path.read_text().count(f"run {run.id}. ") == 1


def test_a_run_trained_from_the_command_line_occupies_a_slot(data_dir):
    queue = Queue(data_dir)
    queue.put("waits")
    queue.claim_for_shell("from a shell")
    assert queue.claim("me", slots=1) is None
    queue.claim_for_shell("waits")  # it is trained from the command line instead
    assert queue.waiting() == []
    queue.remove("from a shell")
    queue.remove("waits")
    assert queue.active() == []
