"""Real workers, really killed: the result of a run with setting changes does not depend on when they are killed."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.runs.commands import change_settings, send_command, setting_changes, waiting_commands
from core.runs.engines.fork_server import FORK_SERVER
from core.runs.folder import RunFolder
from core.runs.processes import ProcessId, is_alive, kill
from core.runs.queue import supervisor_lock
from core.runs.records import last_log_lines
from tests.core.runs.conftest import wait_for

CHANGES = {
    "train.steps": 1_000_000,  # a setting change ends the run
    "train.checkpoint_interval": 100_000,  # only a pause saves, so a test knows where a resume starts
    "train.eval_interval": 50,
    "train.sample_interval": 70,
    "train.log_interval": 10,
}


class Workers:
    """Starts one worker at a time for a run, and kills it."""

    def __init__(self, data_dir: Path, run: RunFolder):
        self.data_dir, self.run = data_dir, run
        self.process: ProcessId | None = None

    def start(self) -> None:
        status = self.run.status()
        with supervisor_lock(self.data_dir / "runs"):
            FORK_SERVER.start_worker(self.data_dir, self.run, status)
        self.process = self.run.status().process
        self.wait(lambda: self.run.status().attempt > status.attempt, "the worker to begin")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        wait_for(lambda: not is_alive(self.process), "the worker to be gone")

    def wait(self, condition, what: str) -> None:
        def met() -> bool:
            alive, fulfilled = is_alive(self.process), condition()  # in this order, because it may end in between
            assert alive or fulfilled, last_log_lines(self.run.log_path)
            return fulfilled

        wait_for(met, what)

    def reach(self, step: int) -> int:
        self.wait(lambda: self.run.status().step >= step, f"step {step}")
        return self.run.status().step

    def pause(self) -> int:
        send_command(self.run, "pause")
        self.wait(lambda: self.run.status().state == "paused", "the pause")
        return self.run.status().step

    def change(self, **changes) -> int:
        """Change settings, and return the step at which the last change took effect."""
        for setting, value in changes.items():
            change_settings(self.run, (setting.replace("__", "."), value))
        self.wait(lambda: not waiting_commands(self.run), "the changes to be taken")
        return setting_changes(self.run)[-1].step

    def finish(self) -> None:
        self.wait(lambda: self.run.status().state == "finished", "the end")
        wait_for(lambda: not is_alive(self.process), "the worker to leave")


@pytest.fixture
def workers(data_dir, config) -> Iterator[Workers]:
    workers = Workers(data_dir, RunFolder.create(data_dir, config.replace(CHANGES), "killed"))
    yield workers
    if workers.process:
        kill(workers.process)


def assert_as_if_never_killed(workers: Workers) -> None:
    """Train with the same setting changes without interruption, and compare everything but speeds and times."""
    killed = workers.run
    straight = RunFolder.create(workers.data_dir, killed.record().config, "straight")
    rows = [row for row in killed.rows("events") if row["kind"] == "turn"]
    straight.events_path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    workers.run = straight
    workers.start()
    workers.finish()
    assert straight.status().attempt == 1
    assert [row for row in straight.rows("events") if row["kind"] == "turn"] == rows
    same = ("step", "loss", "lr", "grad_norm", "train_loss", "val_loss")
    for row, expected in zip(killed.rows("metrics"), straight.rows("metrics"), strict=True):
        assert [row.get(name) for name in same] == [expected.get(name) for name in same]
    assert killed.rows("samples") == straight.rows("samples")
    assert killed.weights_path.read_bytes() == straight.weights_path.read_bytes()
    (ours, *_unused), (theirs, *_unused) = (
        sorted(run.checkpoints.iterdir(), reverse=True) for run in (killed, straight)
    )
    assert ours.name == theirs.name  # it ends in the SHA-256 of weights, optimizer and rng
    assert "Not exact" not in killed.status().notice
    assert straight.status().notice == ""


def test_a_run_killed_around_a_setting_change_resumes_exactly(workers):
    workers.start()
    workers.reach(1)
    saved = workers.pause()
    assert workers.change(train__learning_rate=4e-3, model__dropout=0.3) == saved
    workers.kill()  # at the step of the save

    workers.start()
    workers.reach(saved + 1)
    later = workers.change(train__batch_size=5, train__sample_temperature=1.3, train__eval_interval=30)
    assert later > saved
    workers.kill()  # after the change, before any save

    workers.start()
    workers.reach(saved + 1)
    workers.kill()  # within the repeated steps

    workers.start()
    workers.reach(later + 1)
    end = max(workers.run.status().step, later) + 300
    workers.change(train__learning_rate=1e-3, train__steps=end)
    workers.finish()
    assert workers.run.status().step == end
    assert workers.run.status().attempt == 4
    assert len(setting_changes(workers.run)) == 7
    assert_as_if_never_killed(workers)


def test_a_run_killed_before_its_first_save_restarts_exactly(workers):
    workers.start()
    workers.reach(1)
    first = workers.change(train__batch_size=4, model__dropout=0.0)
    workers.kill()
    change_settings(workers.run, ("train.learning_rate", 2e-3))  # applied by the next worker at its first step
    workers.start()
    workers.reach(first + 1)
    workers.change(train__steps=workers.run.status().step + 200)
    workers.finish()
    change = setting_changes(workers.run)[0]
    assert (change.step, change.setting, change.value) == (0, "train.learning_rate", 2e-3)
    assert_as_if_never_killed(workers)
