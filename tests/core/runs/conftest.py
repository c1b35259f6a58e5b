"""Fixtures: a data folder with its own text, and settings of a tiny model, so that runs take little time."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config import RunConfig
from core.runs.folder import RunFolder
from core.runs.records import Status
from core.runs.supervisor import Supervisor
from core.text.own_text import save_text

TEXT = "\n".join(f"{n} bottles of beer on the wall, take {n % 7} down, pass {n % 3} around." for n in range(99, 0, -1))


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    (tmp_path / "runs").mkdir()
    save_text(TEXT, "Bottles", tmp_path)
    return tmp_path


@pytest.fixture
def config(data_dir: Path) -> RunConfig:
    corpus = save_text(TEXT, "Bottles", data_dir).name
    return RunConfig().replace(
        {
            "data.corpus": corpus,
            "model.n_layer": 1,
            "model.n_head": 2,
            "model.n_embd": 16,
            "model.block_size": 8,
            "model.dropout": 0.1,
            "train.steps": 12,
            "train.batch_size": 2,
            "train.warmup_steps": 2,
            "train.eval_interval": 4,
            "train.eval_windows": 4,
            "train.log_interval": 2,
            "train.sample_interval": 6,
            "train.sample_length": 12,
            "train.checkpoint_interval": 5,
            "train.snapshots": 4,
            "train.precision": "float32",
        }
    )


@pytest.fixture
def run(data_dir: Path, config: RunConfig) -> RunFolder:
    return RunFolder.create(data_dir, config)


@pytest.fixture
def idle(data_dir) -> Iterator[Supervisor]:
    """A supervisor that never starts a worker."""
    supervisor = Supervisor(data_dir, slots=0)
    yield supervisor
    supervisor.close()


def wait_for(condition: Callable[[], object], what: str, seconds: float = 300) -> None:
    """Wait until a condition holds. The limit is generous, for a busy machine."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)


def wait_for_state(run: RunFolder, state: str) -> Status:
    wait_for(lambda: run.status().state in (state, "failed"), f"{run.name} to be {state}")
    status = run.status()
    assert status.state == state, status.reason
    return status
