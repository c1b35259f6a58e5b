"""Workers killed with SIGKILL at various times: the run resumes by itself and ends as if uninterrupted."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from safetensors.numpy import load_file

from core.runs.commands import waiting_commands
from core.runs.folder import RunFolder, list_runs
from core.runs.processes import ProcessId, kill
from core.runs.records import MAX_KILLS, Status, after_crash, last_log_lines
from core.runs.supervisor import Supervisor
from core.runs.worker import train_run
from tests.core.runs.conftest import wait_for

ROOT = Path(__file__).parents[3]
# Evaluation and sampling take most of the time, so that most kills happen during them.
SLOW = {
    "train.steps": 60,
    "train.checkpoint_interval": 6,
    "train.eval_interval": 3,
    "train.eval_windows": 200,
    "train.log_interval": 1,
    "train.sample_interval": 5,
    "train.sample_length": 100,
}
APP_WITHOUT_PAGES = """
import sys, time
from pathlib import Path
from core.runs.supervisor import Supervisor
supervisor = Supervisor(Path(sys.argv[1]), slots=int(sys.argv[2]))
supervisor.start()
print("up", flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def nothing_left_running(data_dir, monkeypatch):
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")
    yield
    for run in list_runs(data_dir):
        status = run.status()
        if status.pid is not None and status.pid != os.getpid():
            kill(ProcessId(status.pid, status.pid_started))


@pytest.fixture
def supervisor(data_dir):
    supervisor = Supervisor(data_dir, slots=1)
    supervisor.start()
    yield supervisor
    supervisor.close()


def outcome(run: RunFolder) -> dict:
    """Return everything that must be bit-identical to an uninterrupted run: all but speeds and times."""
    timed = ("seconds", "tokens_per_second")
    rows = [{name: value for name, value in row.items() if name not in timed} for row in run.rows("metrics")]
    weights = [run.weights_path, *(path for _, path in run.snapshots())]
    arrays = {f"{path.name}/{name}": array.tobytes() for path in weights for name, array in load_file(path).items()}
    return {"rows": rows, "samples": run.rows("samples"), "weights": arrays}


def wait_until_it_ends(run: RunFolder) -> Status:
    wait_for(lambda: run.status().ended, f"{run.name} to end")
    return run.status()


def test_a_run_killed_five_times_ends_exactly_like_an_uninterrupted_one(data_dir, config, supervisor):
    config = config.replace(SLOW)
    straight, broken = RunFolder.create(data_dir, config, "straight"), RunFolder.create(data_dir, config, "broken")
    train_run(straight, data_dir, threads=1)
    supervisor.submit(broken)
    wait_for(lambda: broken.status().pid, "the first worker")
    # Before anything is written; between the first evaluation and the first save; twice in the middle; near the end.
    for rows in (0, 3, 20, 35, 58):
        wait_for(lambda rows=rows: len(broken.rows("metrics")) >= rows, f"row {rows}")
        before = broken.status()
        os.kill(before.pid, signal.SIGKILL)
        wait_for(lambda old=before: broken.status().pid not in (None, old.pid), "another worker")
    finished = wait_until_it_ends(broken)
    assert (finished.state, finished.crashes) == ("finished", 0)
    assert finished.attempt >= 5  # the first may have died before counting itself
    assert outcome(broken) == outcome(straight)
    starts = [row["step"] for row in broken.rows("events") if row["kind"] == "start"]
    assert starts == sorted(starts)
    assert starts[-1] >= 48


def test_a_pause_survives_the_worker_that_was_killed_before_saving(data_dir, config, supervisor):
    never = {"train.checkpoint_interval": 100_000, "train.snapshots": 0, "model.n_embd": 128}
    run = RunFolder.create(data_dir, config.replace(SLOW | {"train.steps": 100_000} | never))
    supervisor.submit(run)
    wait_for(lambda: run.status().step >= 3, "a few steps")
    # The system lets it write its rows, but not its checkpoint of 2 MB.
    resource.prlimit(run.status().pid, resource.RLIMIT_FSIZE, (2**20, resource.RLIM_INFINITY))
    supervisor.pause(run)
    wait_for(lambda: run.status().problem == "disk", "the save to be refused")
    assert "pause" in [row["kind"] for row in run.rows("events")]
    os.kill(run.status().pid, signal.SIGKILL)
    wait_for(lambda: run.status().attempt == 2 and run.status().state in ("paused", "failed"), "the pause")
    wait_for(lambda: not waiting_commands(run), "the pause to be done")
    assert (run.status().state, run.status().problem, run.status().step) == ("paused", "", 0)  # nothing had been saved
    supervisor.resume(run)
    wait_for(lambda: run.status().step >= 3, "it to go on")
    supervisor.stop(run)
    assert wait_until_it_ends(run).state == "stopped"


def test_a_restarted_app_adopts_live_workers_and_restarts_dead_ones(data_dir, config):
    endless = config.replace(SLOW | {"train.steps": 100_000})
    living, dead, paused = (RunFolder.create(data_dir, endless, name) for name in ("living", "dead", "paused"))
    script = [sys.executable, "-c", APP_WITHOUT_PAGES, data_dir, "3"]
    server = subprocess.Popen(script, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert server.stdout.readline() == b"up\n"
    restarted = Supervisor(data_dir, slots=3)
    for run in (living, dead, paused):
        restarted.submit(run)
    for run in (living, dead, paused):
        wait_for(lambda run=run: run.status().step >= 7, f"{run.name} to have a save")
    restarted.pause(paused)
    wait_for(lambda: paused.status().state == "paused", "the pause")
    before = {run.name: run.status() for run in (living, dead, paused)}
    server.kill()
    server.communicate()
    for run in (dead, paused):
        os.kill(before[run.name].pid, signal.SIGKILL)
    wait_for(lambda: dead.status().state == "queued", "the death to be seen")
    restarted.start()
    wait_for(lambda: dead.status().state == "running" and dead.status().attempt == 2, "the dead one to go on")
    assert living.status().pid == before["living"].pid
    assert living.status().attempt == 1
    assert (paused.status().state, paused.status().pid, paused.status().attempt) == ("paused", None, 1)
    restarted.stop(living)
    wait_for(lambda: living.status().state == "stopped", "the adopted one to obey")
    restarted.close()


def test_a_run_killed_repeatedly_before_its_first_save_still_finishes(data_dir, config, supervisor):
    late = config.replace(SLOW | {"train.checkpoint_interval": 1000, "train.eval_windows": 20})
    straight, broken = RunFolder.create(data_dir, late, "straight"), RunFolder.create(data_dir, late, "broken")
    train_run(straight, data_dir, threads=1)
    supervisor.submit(broken)
    for attempt in (1, 2, 3):
        wait_for(lambda attempt=attempt: broken.status().attempt == attempt and broken.status().step > 1, "a few steps")
        os.kill(broken.status().pid, signal.SIGKILL)
    finished = wait_until_it_ends(broken)
    assert (finished.state, finished.crashes, finished.attempt) == ("finished", 0, 4), finished.reason
    assert outcome(broken) == outcome(straight)


@pytest.mark.parametrize(("words", "most"), [("Fatal Python error: Segmentation fault", 3), ("step 3: training", 10)])
def test_a_crash_is_retried_fewer_times_than_a_kill(words, most):
    states = [after_crash(Status(state="running", crashes=crashes), words, -1).state for crashes in range(most)]
    assert states == ["queued"] * (most - 1) + ["failed"]


def test_a_run_that_dies_repeatedly_without_a_step_fails(data_dir, config, supervisor, monkeypatch):
    monkeypatch.setattr("core.runs.records.MAX_KILLS", 2)
    run = RunFolder.create(data_dir, config.replace(SLOW | {"train.eval_windows": 100_000, "train.steps": 1000}))
    supervisor.submit(run)
    for attempt in (1, 2):
        wait_for(lambda attempt=attempt: run.status().attempt == attempt and run.status().pid, "a worker")
        wait_for(lambda: last_log_lines(run.log_path), "its first words")
        os.kill(run.status().pid, signal.SIGKILL)
    failed = wait_until_it_ends(run)
    assert (failed.state, failed.crashes, failed.attempt) == ("failed", 2, 2)
    assert "ended 2 times without a save in between. Its last log lines: " in failed.reason
    supervisor.resume(run)  # resuming by hand tries again
    wait_for(lambda: run.status().state == "running", "another try")
    assert (run.status().crashes, run.status().notice) == (0, "")


def test_a_worker_killed_for_lack_of_memory_is_not_restarted(data_dir, config, supervisor, tmp_path):
    run = RunFolder.create(data_dir, config.replace(SLOW | {"train.steps": 100_000}))
    supervisor.submit(run)
    wait_for(lambda: run.status().step > 1, "a few steps")
    assert "/proc/vmstat" in run.status().oom_kills  # recorded by the worker
    pid = run.status().pid
    os.kill(pid, signal.SIGSTOP)  # it writes no more
    wait_for(lambda: psutil.Process(pid).status() == psutil.STATUS_STOPPED, "it to hold still")
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 5\n")
    run.write_status(run.read_status().model_copy(update={"oom_kills": {str(counter): 4}}))
    os.kill(pid, signal.SIGKILL)
    failed = wait_until_it_ends(run)
    assert (failed.state, failed.problem, failed.attempt) == ("failed", "memory", 1)
    assert "no memory left" in failed.reason
    wait_for(lambda: not supervisor.queue.active(), "the slot to be free")


def test_a_run_killed_after_a_stop_command_stays_stopped(data_dir, config, supervisor):
    run = RunFolder.create(data_dir, config.replace(SLOW | {"train.steps": 100_000}))
    supervisor.submit(run)
    wait_for(lambda: run.status().step > 1, "a few steps")
    pid = run.status().pid
    os.kill(pid, signal.SIGSTOP)
    supervisor.stop(run)
    os.kill(pid, signal.SIGKILL)
    stopped = wait_until_it_ends(run)
    assert (stopped.state, stopped.attempt) == ("stopped", 1)
    assert "before it had saved" in stopped.reason


def test_a_damaged_checkpoint_is_skipped_with_a_notice(data_dir, config):
    straight, broken = (RunFolder.create(data_dir, config.replace({"train.steps": 30})) for _ in range(2))
    train_run(straight, data_dir, threads=1)
    with pytest.raises(KeyboardInterrupt):
        train_run(broken, data_dir, threads=1, on_status=_interrupt_at(17))
    older, newer = sorted(broken.checkpoints.iterdir())
    data = bytearray(newer.read_bytes())
    data[len(data) // 2] ^= 0b1000
    newer.write_bytes(data)
    heard = []
    train_run(broken, data_dir, threads=1, on_status=heard.append)
    assert heard[0].notice == "The newest save was damaged; the one before it was used."
    assert heard[-1].notice == heard[0].notice
    starts = [row["step"] for row in broken.rows("events") if row["kind"] == "start"]
    assert starts == [0, int(older.name[5:13])]
    assert outcome(broken) == outcome(straight)


def _interrupt_at(step: int):
    def listen(status: Status) -> None:
        if status.step >= step:
            raise KeyboardInterrupt

    return listen


def test_child_processes_of_a_dead_or_hanging_worker_are_ended(data_dir, config, supervisor, monkeypatch):
    monkeypatch.setattr("core.runs.supervisor.STOP_SECONDS", 0.0)
    monkeypatch.setattr("core.runs.supervisor.TERMINATE_SECONDS", 0.0)
    parent = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    for fate in ("dies", "hangs"):
        run = RunFolder.create(data_dir, config)
        with subprocess.Popen(
            [sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as worker:
            child = psutil.Process(int(worker.stdout.readline()))
            started = psutil.Process(worker.pid).create_time()
            crashes = MAX_KILLS - 1 if fate == "dies" else 0
            status = Status(state="running", step=4, steps=12, pid=worker.pid, pid_started=started, crashes=crashes)
            run.write_status(status)
            supervisor.queue.put(run.id)
            supervisor.queue.claim("someone")
            if fate == "dies":
                worker.kill()
            else:
                worker.send_signal(signal.SIGSTOP)
                supervisor.stop(run)
            assert wait_until_it_ends(run).state == ("failed" if fate == "dies" else "stopped")
            wait_for(lambda child=child: not child.is_running(), "the child to be gone")
        wait_for(lambda: not supervisor.queue.active(), "the slot to be free")


def test_a_torn_last_line_hides_no_other_row(data_dir, run):
    train_run(run, data_dir)
    for path in (run.metrics_path, run.samples_path, run.events_path):
        rows = path.read_bytes()
        with path.open("ab") as file:
            file.write(json.dumps({"step": 99}).encode()[:7])
        assert path.read_bytes() != rows
    assert [row["step"] for row in run.rows("metrics")] == [0, 2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in run.rows("samples")] == [0, 6, 12]
    assert [row["kind"] for row in run.rows("events")] == ["start", "finish"]
