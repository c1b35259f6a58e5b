"""The supervisor with real workers, which are started, paused, killed and adopted."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from core.errors import RunError
from core.runs.commands import config_now, send_command, setting_changes, waiting_commands
from core.runs.engines.fork_server import CAN_FORK, FORK_SERVER, ForkServer
from core.runs.folder import RunFolder, list_runs
from core.runs.processes import ProcessId, identify, is_alive, kill
from core.runs.queue import supervisor_lock
from core.runs.records import Status
from core.runs.supervisor import Supervisor
from core.runs.weights import latest_weights
from core.runs.worker import train_run
from core.training.cost import WORKER_BYTES, memory_needed
from tests.benchmarks.estimates import private_kilobytes
from tests.core.runs.conftest import wait_for, wait_for_state

ENDLESS = {
    "train.steps": 1_000_000,
    "train.checkpoint_interval": 20,
    "train.eval_interval": 50,
    "train.log_interval": 1,
}


@pytest.fixture
def prewarming(monkeypatch) -> None:
    """Start the fork server with the supervisor, as in the app, not with the first run."""
    monkeypatch.setenv("GPT_EXPLORER_PREWARM", "1")


@pytest.fixture
def supervisor(data_dir, monkeypatch) -> Iterator[Supervisor]:
    """A supervisor with one slot; its workers are killed at the end."""
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")
    supervisor = Supervisor(data_dir, slots=1)
    supervisor.start()
    yield supervisor
    supervisor.close()
    for run in list_runs(data_dir):
        status = run.status()
        if status.pid is not None and status.pid != os.getpid():
            kill(ProcessId(status.pid, status.pid_started))


@pytest.fixture
def endless(data_dir, config) -> RunFolder:
    return RunFolder.create(data_dir, config.replace(ENDLESS), "endless")


def wait_for_step(run: RunFolder, step: int) -> None:
    wait_for(lambda: run.status().step >= step or run.status().ended, f"step {step} of {run.name}")
    assert not run.status().ended, run.status().reason


def steps_of(run: RunFolder) -> list[int]:
    return [row["step"] for row in run.rows("metrics")]


def test_a_run_is_paused_stepped_resumed_and_stopped(prewarming, supervisor, endless):
    supervisor.submit(endless)
    supervisor.submit(endless)  # a second click
    wait_for_step(endless, 3)
    supervisor.pause(endless)
    paused = wait_for_state(endless, "paused")
    assert is_alive(ProcessId(paused.pid, paused.pid_started))
    supervisor.step(endless)
    wait_for(lambda: endless.status().step == paused.step + 1, "one step")
    assert wait_for_state(endless, "paused").step == paused.step + 1
    assert endless.read_probe().step == paused.step + 1  # the page shows the single step
    wait_for(lambda: not supervisor.queue.active(), "the paused run to give its slot back")

    supervisor.resume(endless)
    supervisor.resume(endless)
    wait_for_step(endless, paused.step + 10)
    assert endless.status().pid == paused.pid
    assert [claim.id for claim in supervisor.queue.active()] == [endless.id]
    supervisor.stop(endless, by="the teacher")
    stopped = wait_for_state(endless, "stopped")
    assert stopped.attempt == 1
    assert stopped.reason == f"Stopped by the teacher at step {stopped.step}."
    assert steps_of(endless) == list(range(steps_of(endless)[-1] + 1))
    kinds = [row["kind"] for row in endless.rows("events")]
    assert kinds[:3] == ["start", "pause", "step"]
    assert kinds[-1] == "stop"
    assert latest_weights(endless) == endless.weights_path
    wait_for(lambda: not psutil.pid_exists(paused.pid), "the worker to leave and be reaped")


def test_a_stop_that_cannot_reach_another_host_does_not_block_other_runs(
    supervisor, endless, data_dir, config, monkeypatch
):
    there = RunFolder.create(data_dir, config)
    there.write_status(Status(state="starting", pid=0, host="another"))  # placed by an app on a cluster
    monkeypatch.setattr("core.runs.supervisor.STOP_SECONDS", 0.0)
    supervisor.stop(there)
    supervisor.submit(endless)
    wait_for_step(endless, 3)
    assert [command.name for command in waiting_commands(there)] == ["stop"]
    assert there.status().state == "starting"  # only an app with its engine can end its process
    supervisor.stop(endless)
    wait_for_state(endless, "stopped")


def test_a_killed_worker_is_replaced_by_one_that_resumes_from_its_checkpoint(prewarming, supervisor, endless):
    supervisor.submit(endless)
    wait_for_step(endless, 30)
    status = endless.status()
    os.kill(status.pid, signal.SIGKILL)
    before = endless.rows("metrics")
    wait_for(lambda: endless.status().attempt == 2, "another worker")
    assert "Its process was ended at step" in endless.status().notice
    assert "it resumed automatically from step" in endless.status().notice
    last = before[-1]["step"]
    wait_for_step(endless, last + 5)
    supervisor.stop(endless)
    stopped = wait_for_state(endless, "stopped")
    assert stopped.attempt == 2
    assert not stopped.notice  # it has trained past the crash and saved
    assert steps_of(endless) == list(range(steps_of(endless)[-1] + 1))  # no gap, no repeat
    saved = {row["step"]: row["loss"] for row in before if "loss" in row}
    again = {row["step"]: row["loss"] for row in endless.rows("metrics") if "loss" in row}
    assert [again[step] for step in saved] == list(saved.values())  # the same course as before


def test_runs_wait_for_the_slot_and_a_new_supervisor_adopts_the_old_ones_worker(supervisor, endless, data_dir, config):
    second = RunFolder.create(data_dir, config.replace(ENDLESS), "second")
    third = RunFolder.create(data_dir, config, "third")
    for run in (endless, second, third):
        supervisor.submit(run)
    assert supervisor.queue.waiting() == [second.id, third.id]
    wait_for_step(endless, 3)
    worker = endless.status().pid
    supervisor.close()

    successor = Supervisor(data_dir, slots=1)
    successor.start()
    try:
        successor.check()
        assert endless.status().pid == worker
        assert successor.queue.waiting() == [second.id, third.id]
        assert second.status().state == "queued"
        successor.stop(second)
        assert second.status().state == "stopped"
        successor.delete(second)
        assert successor.queue.waiting() == [third.id]
        reached = endless.status().step
        wait_for_step(endless, reached + 5)
        successor.delete(endless)  # while it trains
        assert not psutil.pid_exists(worker) or not is_alive(ProcessId(worker, psutil.Process(worker).create_time()))
        assert [run.id for run in list_runs(data_dir)] == [third.id]
        wait_for_state(third, "finished")
    finally:
        successor.close()


def test_a_failed_worker_reports_its_reason(supervisor, data_dir, config):
    run = RunFolder.create(data_dir, config.replace({"data.corpus": "text-0123456789abcdef"}))
    supervisor.submit(run)
    wait_for(lambda: run.status().state == "failed", "the run to fail")
    assert "text-0123456789abcdef" in run.status().reason
    wait_for(lambda: "Traceback" in run.log_path.read_text(), "the traceback in the log")
    wait_for(lambda: not supervisor.queue.active(), "the slot to be free again")


def test_a_run_whose_worker_ends_at_once_fails(data_dir, run, monkeypatch):
    monkeypatch.setattr("core.runs.engines.engine.FORK_SERVER", server := ForkServer())
    monkeypatch.setattr(sys, "executable", "/bin/false")
    supervisor = Supervisor(data_dir, slots=1)
    supervisor.submit(run)
    assert run.status().state == "failed"
    assert "it ended at once; the run's log has the details" in run.status().reason
    assert supervisor.queue.active() == []
    supervisor.close()
    server.close()


def test_workers_survive_a_dead_fork_server_and_a_new_one_is_started(supervisor, endless, data_dir, config):
    supervisor.submit(endless)
    wait_for_step(endless, 3)
    status = endless.status()
    worker = psutil.Process(status.pid)
    assert (
        os.getsid(worker.pid) == os.getpgid(worker.pid) == worker.pid
    )  # its own session and group, so signals to others do not reach it
    worker.parent().kill()
    supervisor.pause(endless)
    assert wait_for_state(endless, "paused").pid == status.pid
    wait_for(lambda: not supervisor.queue.active(), "the slot to be free again")
    second = RunFolder.create(data_dir, config, "second")
    supervisor.submit(second)
    wait_for_state(second, "finished")


def test_a_worker_not_named_in_the_status_does_not_train(data_dir, run):
    before = run.status()
    worker = FORK_SERVER.fork(data_dir, run)  # its status is not written, as on a full disk
    wait_for(lambda: not is_alive(worker), "the worker to leave")
    assert run.status() == before


def test_the_machine_is_measured_in_a_fork_if_the_fork_server_is_running(data_dir, run, measured):
    assert not ForkServer().measure(data_dir, [1])
    FORK_SERVER.fork(data_dir, run)
    shutil.copy(measured, data_dir)  # the cached speed ends it at once; measuring takes seconds
    assert FORK_SERVER.measure(data_dir, [1]) == CAN_FORK
    assert (data_dir / "machine.json").read_bytes() == measured.read_bytes()


@pytest.mark.skipif(not CAN_FORK, reason="workers share nothing")
def test_an_ending_worker_does_not_copy_shared_memory(supervisor, run):
    supervisor.submit(run)
    own = dict.fromkeys(("starting", "running", "finished"), 0)
    pid = run.status().pid
    while kilobytes := private_kilobytes(pid):
        own[run.status().state] = kilobytes
    assert own["running"] > 0 and own["finished"] < own["running"] + 40_000  # the shared pages are 200 MB
    assert 1024 * max(own.values()) < WORKER_BYTES + memory_needed(run.record().config, 100)


def test_a_worker_that_ignores_a_stop_is_killed(idle, run, monkeypatch):
    monkeypatch.setattr("core.runs.supervisor.STOP_SECONDS", 0.0)
    monkeypatch.setattr("core.runs.supervisor.TERMINATE_SECONDS", 0.0)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); signal.pause()"
    process = subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    pid, started = identify(process.pid)
    run.write_status(Status(state="running", step=4, steps=12, pid=pid, pid_started=started))
    idle.stop(run)
    idle.check()
    assert run.status().state == "running"  # SIGTERM first
    idle.check()
    assert run.status().state == "stopped"
    assert "did not react" in run.status().reason
    assert process.wait() == -signal.SIGKILL
    process.stdout.close()


def test_a_stop_of_one_attempt_does_not_end_the_worker_of_the_next(idle, run, monkeypatch):
    monkeypatch.setattr("core.runs.supervisor.STOP_SECONDS", 0.0)
    workers = [subprocess.Popen(["sleep", "600"], start_new_session=True) for _ in range(2)]
    try:
        for attempt, worker in enumerate(workers):
            pid, started = identify(worker.pid)
            run.write_status(Status(state="running", step=4, steps=12, pid=pid, pid_started=started, attempt=attempt))
            if attempt == 0:
                idle.stop(run)
        idle.check()
        assert run.status().state == "running"
        assert workers[1].poll() is None
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def test_a_resume_sent_while_a_paused_worker_leaves_is_not_lost(data_dir, run, monkeypatch):
    monkeypatch.setattr("core.runs.worker.PAUSED_EXIT_SECONDS", 0.0)
    send_command(run, "pause")
    with ThreadPoolExecutor() as pool:
        with supervisor_lock(data_dir / "runs"):  # like a supervisor that checks the state and sends a command
            worker = pool.submit(train_run, run, data_dir, threads=1)
            wait_for(lambda: run.status().state in ("paused", "failed"), "the pause")
            assert run.status().pid == os.getpid()
            send_command(run, "resume")
        assert worker.result().state == "finished"
    assert (run.status().state, run.status().attempt) == ("finished", 1)


@pytest.mark.parametrize("command", ["resume", "step"])
def test_a_command_for_a_paused_worker_that_died_is_taken_by_the_next(supervisor, run, command):
    run.write_status(Status(state="paused", step=0, steps=12))
    send_command(run, command)
    supervisor.queue.put(run.id)
    supervisor.queue.claim("a supervisor", 1)
    status = wait_for_state(run, "finished" if command == "resume" else "paused")
    wait_for(lambda: not waiting_commands(run), "the command to be taken")
    assert wait_for_state(run, status.state).attempt == 1


def test_a_resume_that_waits_for_a_slot_survives_the_death_of_its_worker(idle, supervisor, run):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as worker:
        pid, started = identify(worker.pid)
        run.write_status(Status(state="paused", steps=12, pid=pid, pid_started=started))
        idle.resume(run)
        worker.kill()
    wait_for_state(run, "finished")


def test_a_stop_waits_longer_for_a_worker_with_long_steps(idle, run, monkeypatch):
    monkeypatch.setattr("core.runs.supervisor.STOP_SECONDS", 0.0)
    monkeypatch.setattr("core.runs.supervisor.TERMINATE_SECONDS", 0.0)
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as worker:
        pid, started = identify(worker.pid)
        status = Status(state="running", step=4, steps=12, pid=pid, pid_started=started, slowest=20.0)
        run.write_status(status)
        idle.stop(run)
        idle.check()
        idle.check()
        assert worker.poll() is None
        run.write_status(status.model_copy(update={"slowest": 0.0}))
        idle.check()
        assert worker.wait() == -signal.SIGTERM


def test_a_slow_run_saves_its_steps_when_stopped(supervisor, data_dir, config, monkeypatch):
    monkeypatch.setattr("core.runs.supervisor.STOP_SECONDS", 0.0)
    monkeypatch.setattr("core.runs.supervisor.TERMINATE_SECONDS", 0.0)
    heavy = {"model.n_embd": 256, "model.block_size": 64, "train.batch_size": 64, "train.checkpoint_interval": 1000}
    run = RunFolder.create(data_dir, config.replace(ENDLESS | heavy))
    supervisor.submit(run)
    wait_for_step(run, 2)
    assert run.status().slowest > 0.1
    supervisor.stop(run)
    stopped = wait_for_state(run, "stopped")
    assert "Stopped by hand" in stopped.reason
    assert stopped.step >= 2
    assert latest_weights(run) == run.weights_path


def test_settings_change_while_a_run_trains_and_a_finished_run_is_extended(supervisor, endless):
    supervisor.submit(endless)
    wait_for_step(endless, 3)
    supervisor.change_setting(endless, "train.learning_rate", 2e-3)
    supervisor.change_setting(endless, "train.steps", endless.status().step + 100)
    assert config_now(endless).train.learning_rate == 2e-3  # visible at once, even before the worker has checked
    wait_for(lambda: len(setting_changes(endless)) == 2, "the turns to be taken")
    ended = wait_for_state(endless, "finished")
    assert ended.step == ended.steps == config_now(endless).train.steps
    with pytest.raises(RunError, match="nothing to resume"):
        supervisor.resume(endless)

    supervisor.continue_for(endless, 50)
    assert endless.status().state in ("queued", "starting", "running")
    wait_for(lambda: endless.status().step == ended.step + 50, "fifty steps more")
    assert wait_for_state(endless, "finished").steps == ended.step + 50
    assert steps_of(endless) == list(range(ended.step + 51))
