"""The queue and slots of a supervisor, without a training worker."""

import os
import subprocess
import sys
from contextlib import nullcontext
from functools import partial

import psutil
import pytest

from core.errors import ConfigError, RunError
from core.runs.commands import check_unchanged, send_command, waiting_commands
from core.runs.engines.fork_server import FORK_SERVER, ForkServer
from core.runs.folder import RunFolder
from core.runs.processes import this_process
from core.runs.queue import Queue
from core.runs.records import Status
from core.runs.supervisor import Supervisor
from tests.core.runs.conftest import wait_for_state


def test_submitting_a_run_twice_queues_it_once(idle, run):
    idle.submit(run)
    idle.submit(run)
    assert idle.queue.waiting() == [run.id]
    idle.stop(run)
    assert idle.queue.waiting() == []
    idle.submit(run)  # stopped in between: an old click has no effect
    assert idle.queue.waiting() == []
    idle.resume(run)
    assert idle.queue.waiting() == [run.id]
    assert run.status().state == "queued"


def test_a_paused_waiting_run_resumes_at_the_end_of_the_queue(idle, data_dir, config, run):
    other = RunFolder.create(data_dir, config)
    idle.submit(run)
    idle.submit(other)
    idle.pause(run)
    assert run.status().state == "paused"
    assert idle.queue.waiting() == [other.id]
    idle.resume(run)
    assert idle.queue.waiting() == [other.id, run.id]


def test_pausing_cancels_a_resume_or_step_that_still_waits(idle, run):
    run.write_status(Status(state="paused", step=3, steps=12))
    idle.step(run)
    assert idle.queue.waiting() == [run.id]
    idle.pause(run)
    assert (run.status().state, idle.queue.waiting(), waiting_commands(run)) == ("paused", [], [])
    run.write_status(Status(state="paused", step=3, steps=12, pid=os.getpid(), pid_started=this_process().started))
    idle.resume(run)
    assert idle.queue.waiting() == [run.id]
    idle.pause(run)
    assert idle.queue.waiting() == []


def test_a_step_for_a_paused_run_without_a_process_waits_for_its_next_worker(idle, run):
    run.write_status(Status(state="paused", step=3, steps=12))
    send_command(run, "stop")  # meant for the process that has exited
    idle.step(run)
    assert idle.queue.waiting() == [run.id]
    assert [command.name for command in waiting_commands(run)] == ["step"]


def test_commands_that_do_not_fit_the_state_of_a_run_are_refused(idle, run):
    with pytest.raises(RunError, match="queued"):
        idle.step(run)
    run.write_status(Status(state="finished", step=12, steps=12))
    with pytest.raises(RunError, match="nothing to resume"):
        idle.resume(run)
    with pytest.raises(RunError, match="has ended"):
        idle.pause(run)
    idle.stop(run)
    assert run.status().state == "finished"


def test_a_claim_of_a_dead_supervisor_is_queued_again(idle, data_dir, run):
    process = subprocess.Popen([sys.executable, "-c", ""])
    owner = f"{process.pid}:1.0"
    process.wait()
    idle.submit(run)
    assert Queue(data_dir).claim(owner) == run.id
    idle.check()
    assert idle.queue.waiting() == [run.id]
    Queue(data_dir).claim(owner)
    run.delete()
    idle.check()
    assert idle.queue.active() == []


def test_a_queued_run_missing_from_the_queue_is_queued_again(data_dir, run, monkeypatch):
    monkeypatch.setattr("core.runs.supervisor.LOST_SECONDS", -1.0)
    supervisor = Supervisor(data_dir, slots=0)
    supervisor.start()
    assert supervisor.queue.waiting() == [run.id]
    supervisor.close()


def test_a_run_whose_worker_cannot_be_started_fails_and_frees_its_slot(data_dir, config, run, monkeypatch):
    FORK_SERVER.close()
    monkeypatch.setattr(sys, "executable", str(data_dir / "no python here"))
    supervisor = Supervisor(data_dir, slots=1)
    supervisor.start()
    supervisor.submit(run)
    assert run.status().state == "failed"
    assert "No worker could be started" in run.status().reason
    assert supervisor.queue.active() == []
    monkeypatch.undo()
    other = RunFolder.create(data_dir, config)
    supervisor.submit(other)
    wait_for_state(other, "finished")
    supervisor.close()


def test_a_run_whose_worker_cannot_write_its_log_fails(data_dir, run, monkeypatch):
    monkeypatch.setattr("core.runs.engines.engine.FORK_SERVER", ForkServer())  # it has no process yet
    supervisor = Supervisor(data_dir, slots=1)
    supervisor.start()
    run.log_path.mkdir()  # where the worker's output would go
    supervisor.submit(run)
    assert "Is a directory" in run.status().reason
    assert supervisor.queue.active() == []
    supervisor.close()


def test_a_missing_runs_folder_is_reported_in_a_sentence(idle, run, data_dir):
    folder = data_dir / "runs"
    folder.rename(data_dir / "elsewhere")
    with pytest.raises(RunError, match="cannot be managed"):
        idle.submit(run)
    (data_dir / "elsewhere").rename(folder)


def test_a_run_resumed_before_its_old_claim_is_checked_is_queued_again(idle, data_dir, run):
    idle.submit(run)
    Queue(data_dir).claim(f"{os.getpid()}:{psutil.Process().create_time()}")  # this live process
    run.write_status(Status(state="stopped", step=4, steps=12))
    idle.resume(run)
    idle.check()
    assert idle.queue.waiting() == [run.id]


def test_a_running_run_that_still_waits_in_the_queue_gets_a_slot(data_dir, run):
    supervisor = Supervisor(data_dir, slots=1)
    supervisor.queue.put(run.id)
    run.write_status(Status(state="running", pid=os.getpid(), pid_started=psutil.Process().create_time()))
    supervisor.check()
    assert [claim.id for claim in supervisor.queue.active()] == [run.id]
    supervisor.close()


def test_temporary_files_of_a_crash_are_removed_at_the_start(data_dir, run):
    left = [run.path / ".tmp-1-status.json", run.commands / ".tmp-2-x.json", data_dir / "texts" / ".tmp-3-text.txt"]
    for path in left:
        path.write_text("{")
        os.utime(path, (1e9, 1e9))
    supervisor = Supervisor(data_dir, slots=0)
    supervisor.start()
    supervisor.close()
    assert not any(path.exists() for path in left)
    assert run.problem is None


def test_setting_changes_of_a_finished_run_wait_for_its_next_worker(idle, run):
    run.write_status(Status(state="finished", step=12, steps=12))
    with pytest.raises(ConfigError, match="cannot end at step 4"):
        idle.change_setting(run, "train.steps", 4)
    idle.change_setting(run, "model.dropout", 0.4)
    with pytest.raises(RunError, match="nothing to resume"):
        idle.resume(run)
    idle.change_setting(run, "train.steps", 20)
    send_command(run, "pause")  # meant for a process that has exited
    idle.resume(run)
    assert idle.queue.waiting() == [run.id]
    assert [command.args["knob"] for command in waiting_commands(run)] == ["model.dropout", "train.steps"]
    with pytest.raises(RunError, match="has not ended"):
        idle.continue_for(run, 5)


@pytest.mark.parametrize(
    ("seen", "now", "refused"),
    [
        ({"state": "finished", "attempt": 1}, {"state": "finished", "attempt": 1}, False),
        ({"state": "finished", "attempt": 1}, {"state": "finished", "attempt": 2}, True),  # continued and done
        ({"state": "finished", "attempt": 1}, {"state": "queued", "attempt": 1}, True),
        ({"state": "stopped", "attempt": 1, "step": 5}, {"state": "stopped", "attempt": 1, "step": 8}, True),
        ({"state": "running", "attempt": 1, "step": 5}, {"state": "paused", "attempt": 1, "step": 8}, False),
        ({"state": "running", "attempt": 1}, {"state": "running", "attempt": 2}, True),  # stopped and resumed
        ({"state": "queued", "attempt": 1}, {"state": "starting", "attempt": 2}, False),
        ({"state": "queued", "attempt": 1}, {"state": "running", "attempt": 3}, True),
    ],
)
def test_check_unchanged_refuses_a_command_for_an_outdated_state(run, seen, now, refused):
    status = Status(steps=12, **now)
    run.write_status(status)
    with pytest.raises(RunError, match=f"it is {status.state} at step") if refused else nullcontext():
        check_unchanged(run, Status(steps=12, **seen))


def test_every_command_from_an_outdated_page_is_refused_without_effect(idle, run):
    run.write_status(Status(state="finished", step=12, steps=12, attempt=2))
    stale = Status(state="finished", step=8, steps=8, attempt=1)
    verbs = (idle.pause, idle.resume, idle.step, idle.stop, idle.delete, partial(idle.continue_for, more_steps=5))
    for verb in verbs:
        with pytest.raises(RunError, match="has changed since the page was drawn: it is finished at step 12"):
            verb(run, shown=stale)
    assert run.status().state == "finished" and waiting_commands(run) == [] and idle.queue.waiting() == []
    run.delete()
    with pytest.raises(RunError, match="has been deleted since the page was drawn"):
        idle.resume(run, shown=stale)
