"""Several processes train one run, started by torchrun or by the worker."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch.distributed as dist

from core.cli import main
from core.config import RunConfig
from core.errors import ConfigError
from core.runs.folder import RunFolder, list_runs
from core.runs.machine import check_processes, most_processes
from core.runs.supervisor import Supervisor
from core.runs.worker import train_run
from core.training.hardware import find_hardware
from tests.core.runs.conftest import wait_for

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(most_processes(find_hardware("cpu")) < 2, reason="two processes need two cores")


def torchrun(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Start two processes with torchrun, as a user does from the program's folder."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "core", *arguments]
    environment = os.environ | {"GPT_EXPLORER_HOME": str(data_dir), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def processes_of(run: RunFolder) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if str(run.path) in " ".join(p.info["cmdline"] or [])]


def test_two_torchrun_processes_give_the_same_losses_as_one_process(data_dir, config, tmp_path, measured):
    config = config.replace({"model.dropout": 0.0, "train.steps": 50, "train.log_interval": 1})
    alone = RunFolder.create(data_dir, config, name="alone")
    train_run(alone, data_dir, threads=1)
    (file := tmp_path / "settings.json").write_text(config.to_json())
    done = torchrun(data_dir, "train", "--config", str(file), "--name", "together")
    assert done.returncode == 0, done.stderr
    together = next(run for run in list_runs(data_dir) if run.name == "together")
    assert together.record().config.train.processes == 2 and together.status().state == "finished"
    rows = list(zip(alone.rows("metrics"), together.rows("metrics"), strict=True))
    for name in ("loss", "train_loss", "val_loss"):
        pairs = [(one[name], other[name]) for one, other in rows if name in one]
        assert len(pairs) >= 13 and all(other == pytest.approx(one, abs=1e-5) for one, other in pairs)


def test_a_run_whose_second_process_is_killed_resumes_from_its_checkpoint(data_dir, config, monkeypatch):
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "2")
    run = RunFolder.create(data_dir, config.replace({"train.steps": 100_000, "train.processes": 2}))
    supervisor = Supervisor(data_dir, slots=1)
    try:
        supervisor.start()
        supervisor.submit(run)
        wait_for(lambda: run.status().step >= 10, "the first save")
        worker = run.read_status().pid
        (follower,) = psutil.Process(worker).children()
        follower.send_signal(signal.SIGKILL)
        wait_for(lambda: run.status().attempt == 2 and run.status().state == "running", "another worker")
        start = [row["step"] for row in run.rows("events") if row["kind"] == "start"][-1]
        assert start >= 10 and start % 5 == 0
        assert not psutil.pid_exists(worker)
        supervisor.stop(run)
        wait_for(lambda: run.status().ended, "its end")
        assert run.status().state == "stopped", run.status().reason
        wait_for(lambda: not processes_of(run), "its processes to end")
    finally:
        supervisor.delete(run)
        supervisor.close()


def test_invalid_numbers_of_processes_are_refused():
    with pytest.raises(ConfigError, match="batch_size 12 cannot be shared equally among 5 processes"):
        RunConfig().replace({"train.processes": 5})
    with pytest.raises(ConfigError, match="64 processes are too many: this machine has"):
        check_processes(RunConfig().replace({"train.batch_size": 64, "train.processes": 64}), "cpu")


def test_torchrun_with_another_command_is_refused_and_the_other_process_ends(data_dir, monkeypatch, capsys):
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun's own
    torchruns = {"TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True", "MASTER_ADDR": "127.0.0.1"}
    torchruns |= {"MASTER_PORT": str(store.port), "WORLD_SIZE": "2", "GPT_EXPLORER_HOME": str(data_dir)}
    for name, value in torchruns.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "core", "runs"]
    environment = os.environ | {"RANK": "1"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=-1, stderr=-1, text=True) as follower:
        try:
            monkeypatch.setenv("RANK", "0")
            assert main(["runs"]) == 2
            assert follower.communicate(timeout=300) == ("", "")
        finally:
            follower.kill()
    assert follower.returncode == 0
    assert capsys.readouterr().err.startswith("Only the commands train and resume run in several processes")
