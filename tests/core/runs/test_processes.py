"""Recorded process ids: real processes, and a clock that is set while they run."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from core.runs.processes import ProcessId, end_orphans, identify, is_alive, kill, this_process
from core.runs.queue import Claim, is_held_by_a_shell
from core.runs.records import Status

ROOT = Path(__file__).parents[3]
SLEEPER = [sys.executable, "-c", "input()"]


@pytest.fixture
def sleeper():
    with subprocess.Popen(SLEEPER, stdin=subprocess.PIPE, start_new_session=True) as process:
        yield process
        process.kill()


def test_a_dead_process_is_not_alive_even_before_it_is_reaped(sleeper):
    who = identify(sleeper.pid)
    assert is_alive(who)
    assert who == identify(sleeper.pid) != this_process()
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, but still in the process table
    assert not is_alive(who)
    sleeper.wait()
    assert not is_alive(who)
    assert identify(sleeper.pid) is None


def test_a_process_id_survives_serialization_in_a_status(sleeper):
    who = identify(sleeper.pid)
    written = Status(state="running", pid=who.pid, pid_started=who.started).model_dump_json()
    read = Status.model_validate_json(written)
    assert is_alive(ProcessId(read.pid, read.pid_started))


def test_a_reused_pid_is_neither_alive_nor_killed(sleeper):
    who = identify(sleeper.pid)
    assert not is_alive(ProcessId(who.pid, this_process().started))
    kill(ProcessId(who.pid, this_process().started))
    end_orphans(ProcessId(who.pid, this_process().started))
    assert is_alive(who)
    kill(who)
    assert not is_alive(who)
    assert sleeper.wait() == -signal.SIGKILL


def test_process_start_times_of_older_versions_are_recognized(sleeper):
    emerged = psutil.Process(sleeper.pid).create_time()
    read = Status.model_validate_json(json.dumps({"state": "running", "pid": sleeper.pid, "pid_started": emerged}))
    assert read.pid_started == emerged
    assert is_alive(ProcessId(read.pid, read.pid_started))
    assert not is_alive(ProcessId(read.pid, emerged - 1000))
    end_orphans(ProcessId(read.pid, 1.0))
    assert is_alive(identify(sleeper.pid))
    assert is_held_by_a_shell(Claim("run", f"shell:{sleeper.pid}:{emerged}", 0.0))
    assert is_held_by_a_shell(Claim("run", f"shell:{sleeper.pid}:{identify(sleeper.pid).started}", 0.0))
    assert not is_held_by_a_shell(Claim("run", f"{sleeper.pid}:{emerged}", 0.0))


LATER = """
import sys
import psutil
psutil.PROCFS_PATH = sys.argv[1]
from core.runs.processes import ProcessId, end_orphans, is_alive
who = ProcessId(int(sys.argv[2]), sys.argv[3])
assert abs(psutil.boot_time() - float(sys.argv[4])) > 3000, "the clock was not set"
end_orphans(who._replace(pid=2**22 + 1))
print(is_alive(who))
"""


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="only Linux tells its times in /proc")
@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_setting_the_clock_does_not_end_a_live_process(sleeper, tmp_path, seconds):
    """Linux stores process start times in ticks since boot, so their time of day depends on the current clock."""
    proc = tmp_path / "proc"
    proc.mkdir()
    for path in Path("/proc").iterdir():
        (proc / path.name).symlink_to(path)
    (proc / "stat").unlink()
    stat = Path("/proc/stat").read_text()
    (proc / "stat").write_text(re.sub(r"^btime (\d+)$", lambda at: f"btime {int(at[1]) + seconds}", stat, flags=re.M))
    who = identify(sleeper.pid)
    script = [sys.executable, "-c", LATER, str(proc), str(who.pid), str(who.started), str(psutil.boot_time())]
    done = subprocess.run(script, cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr
