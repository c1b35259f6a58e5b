"""A really full disk: training waits, reports it, obeys commands, and continues as if uninterrupted.

The disk is filled by a limit on the worker's file sizes, which a process may set for any process of its user,
and, if mounting is allowed, by a small file system in memory that is filled to the last byte.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from core.runs import worker
from core.runs.commands import send_command, setting_changes, waiting_commands, write_setting_change
from core.runs.disk_space import shortage
from core.runs.folder import RunFolder, list_runs
from core.runs.processes import ProcessId, kill
from core.runs.records import Status
from core.runs.supervisor import WAITS_FOR_DISK_SPACE, Supervisor
from core.runs.worker import train_run
from core.training.checkpoints import latest_checkpoint
from tests.conftest import no_file_longer_than
from tests.core.runs.conftest import wait_for
from tests.core.runs.test_crash_recovery import outcome

ROOT = Path(__file__).parents[3]
ENDLESS = {
    "train.steps": 1_000_000,
    "train.checkpoint_interval": 20,
    "train.log_interval": 1,
    "train.eval_interval": 50,
}


class Limit:
    """No file of one process may grow beyond a limit below the size of a checkpoint."""

    def __init__(self, pid: int):
        self.pid = pid

    def fill(self) -> None:
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (3000, resource.RLIM_INFINITY))

    def make_room(self) -> None:
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@pytest.fixture
def supervisor(data_dir, monkeypatch):
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")
    supervisor = Supervisor(data_dir, slots=1)
    supervisor.start()
    yield supervisor
    supervisor.close()
    for run in list_runs(data_dir):
        status = run.status()
        if status.pid is not None and status.pid != os.getpid():
            kill(ProcessId(status.pid, status.pid_started))


def test_a_full_disk_pauses_a_run_that_still_obeys_commands_and_loses_nothing(data_dir, config, supervisor):
    run, straight = (RunFolder.create(data_dir, config.replace(ENDLESS)) for _ in range(2))
    supervisor.submit(run)

    def fill_after(step: int) -> Limit:
        wait_for(lambda: run.status().step >= step or run.status().ended, f"step {step}")
        limit = Limit(run.status().pid)
        limit.fill()
        wait_for(lambda: run.status().problem == "disk", "the disk to be found full")
        return limit

    limit = fill_after(45)
    waits = run.status()
    assert waits.state == "paused"
    assert waits.notice == "Paused: the disk is full; it resumes automatically when there is space."
    supervisor.check()
    assert [claim.id for claim in supervisor.queue.active()] == [run.id]  # it keeps its slot
    limit.make_room()
    wait_for(lambda: run.status().state == "running", "it to go on by itself")
    assert (run.status().problem, run.status().notice, run.status().attempt) == ("", "", 1)

    limit = fill_after(waits.step + 30)
    supervisor.pause(run)
    limit.make_room()

    def stays_paused() -> bool:
        status = run.status()  # read once: it runs briefly before it pauses again, without a problem
        return (status.state, status.problem) == ("paused", "")

    wait_for(stays_paused, "it to stay paused")
    reached = run.status().step
    supervisor.resume(run)

    fill_after(reached + 30)
    saved = latest_checkpoint(run.checkpoints)
    supervisor.stop(run)
    wait_for(lambda: run.status().ended, "the stop")
    stopped = run.status()
    assert (stopped.state, stopped.problem) == ("stopped", "disk")
    assert "because the disk was full" in stopped.reason
    assert latest_checkpoint(run.checkpoints) == saved

    supervisor.change_setting(run, "train.steps", stopped.step + 50)
    supervisor.resume(run)
    wait_for(lambda: run.status().ended, "the end")
    assert (run.status().state, run.status().attempt) == ("finished", 2)
    (change,) = setting_changes(run)
    write_setting_change(straight, change, "the same")
    train_run(straight, data_dir, threads=1)
    assert outcome(run) == outcome(straight)
    assert not list(run.path.rglob(".spare"))


def test_step_and_resume_after_a_pause_on_a_full_disk_take_effect(data_dir, run, monkeypatch):
    monkeypatch.setattr(worker, "PAUSED_EXIT_SECONDS", 20)  # otherwise the test would wait for a lost step
    filled_at, paused_at = set(), set()

    def listen(status: Status) -> None:
        if status.problem == "disk":  # it obeys while waiting, then there is space
            send_command(run, "pause")
            full.close()
        elif status.state == "paused" and status.step not in paused_at:
            paused_at.add(status.step)
            send_command(run, "step" if len(paused_at) == 1 else "resume")
        elif status.step == 4 and not filled_at:
            filled_at.add(status.step)
            full.enter_context(no_file_longer_than(1500))

    with ExitStack() as full:
        assert train_run(run, data_dir, threads=1, on_status=listen).state == "finished"
    first, second = sorted(paused_at)
    assert second == first + 1


@contextmanager
def beginning_on_a_full_disk(run: RunFolder, data_dir: Path, most: int) -> Iterator[tuple[ExitStack, Future[Status]]]:
    """Train in a thread while no file of this process may exceed `most` bytes, until the exit stack is closed."""
    with ThreadPoolExecutor() as pool, ExitStack() as full:
        full.enter_context(no_file_longer_than(most))
        yield full, pool.submit(train_run, run, data_dir, threads=1)


@pytest.mark.parametrize("most", [10, 1100])  # neither status nor record fit; only the status fits
def test_a_run_started_on_a_full_disk_waits_for_space(data_dir, run, most, caplog):
    with beginning_on_a_full_disk(run, data_dir, most) as (full, training):
        wait_for(lambda: "it resumes automatically when there is space" in caplog.text, "the disk to be found full")
        if most > 10:
            wait_for(lambda: run.status().problem == "disk", "the status to say so")
            assert (run.status().state, run.status().pid) == ("paused", os.getpid())
        full.close()
        assert training.result().state == "finished"
    status = run.status()
    assert (status.state, status.step, status.attempt, status.problem, status.notice) == ("finished", 12, 1, "", "")
    assert run.record().corpus_hash
    assert not list(run.path.rglob(".spare"))


def test_a_run_waiting_for_disk_space_before_its_start_can_be_stopped(data_dir, run):
    with beginning_on_a_full_disk(run, data_dir, 1100) as (_, training):
        wait_for(lambda: run.status().problem == "disk", "the disk to be found full")
        send_command(run, "stop")
        assert training.result().state == "stopped"
    assert (run.status().state, run.status().problem, run.status().pid) == ("stopped", "disk", None)
    assert "before it started" in run.status().reason
    assert waiting_commands(run) == []
    assert train_run(run, data_dir, threads=1).state == "finished"


IN_A_SMALL_HOUSE = """
import sys
from pathlib import Path
from core.config import RunConfig
from core.runs.commands import waiting_commands
from core.runs.folder import RunFolder
from core.runs.supervisor import Supervisor
from core.training.checkpoints import latest_checkpoint
from tests.core.runs.conftest import wait_for

home, config = Path(sys.argv[1]), RunConfig.model_validate_json(sys.argv[2])
supervisor = Supervisor(home, slots=1)
supervisor.start()
run, other = RunFolder.create(home, config), RunFolder.create(home, config.replace({"train.steps": 5}))
supervisor.submit(run)
supervisor.submit(other)
wait_for(lambda: run.status().step >= 45 or run.status().ended, "a few saves")
filler = home / "filler"
with filler.open("wb", buffering=0) as file:  # to the last byte
    try:
        while True:
            file.write(bytes(4096))
    except OSError as error:
        print(error.strerror)
wait_for(lambda: run.status().problem == "disk", "the disk to be found full")
print(run.status().notice)
assert latest_checkpoint(run.checkpoints)
supervisor.pause(run)
supervisor.resume(run)
wait_for(lambda: not waiting_commands(run), "the resume to be heard")
reached = run.status().step
supervisor.check()
print(other.status().notices or other.status().state)
filler.unlink()
wait_for(lambda: run.status().step > reached + 20, "it to go on by itself")
supervisor.stop(run)
wait_for(lambda: other.status().ended, "the other one's turn to come and go")
print(run.status().state, run.status().attempt, other.status().state)
supervisor.close()
"""


def test_runs_survive_a_file_system_filled_to_the_last_byte(data_dir, config, tmp_path):
    house = tmp_path / "house"
    house.mkdir()
    mounted = f"mount -t tmpfs -o size=24m tmpfs {house} && cp -r {data_dir}/texts {data_dir}/runs {house}/"
    script = [sys.executable, "-c", IN_A_SMALL_HOUSE, str(house), config.replace(ENDLESS).model_dump_json()]
    shell = ["sh", "-c", f'{mounted} && exec "$@"', "sh", *script]
    for namespace in (["unshare", "-m"], ["unshare", "-Urm"]):  # as root; as any user, if allowed
        allowed = subprocess.run([*namespace, "sh", "-c", mounted], capture_output=True).returncode == 0
        if allowed:
            env = os.environ | {"GPT_EXPLORER_THREADS": "1"}
            done = subprocess.run([*namespace, *shell], cwd=ROOT, env=env, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            said = done.stdout.splitlines()
            assert said[0] == "No space left on device"
            assert said[1].startswith(("Paused: the disk is nearly full (", "Paused: the disk is full;"))  # in a write
            assert said[2] == WAITS_FOR_DISK_SPACE
            assert said[3] == "stopped 1 finished"
            break
    # If no file system can be mounted, the tests above still use the limit on file sizes.
    assert shortage(house, needed=2**60).startswith("the disk is nearly full (")
