"""A run folder of the first release opens, and its training ends with the numbers of that release."""

import json
import tarfile
from pathlib import Path

import pytest

from core.runs.ancestry import fork, fork_config
from core.runs.commands import setting_changes
from core.runs.folder import RunFolder, list_runs
from core.runs.records import Status
from core.runs.weights import load_model
from core.runs.worker import train_run

ARCHIVE = Path(__file__).parents[2] / "data" / "first_release_home.tar.gz"
LOSSES = {  # losses by step of the first release, resumed at step 13
    14: 3.2021965980529785,
    16: 3.195272207260132,
    18: 3.1877667903900146,
    20: 3.1906752586364746,
}


@pytest.fixture
def old_run(tmp_path) -> RunFolder:
    """Stopped at step 13 of 20, with a learning rate change at step 0 and a waiting dropout change."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return list_runs(tmp_path)[0]


def test_the_state_and_history_of_a_first_release_run_are_read(old_run):
    status = old_run.status()
    assert (old_run.name, status.state, status.step) == ("old-otter", "stopped", 13)
    written = json.loads(old_run.status_path.read_text())
    assert written["deaths"] == 0 and Status.model_validate(written | {"deaths": 2}).crashes == 2
    assert [(change.step, change.setting, change.value) for change in setting_changes(old_run)] == [
        (0, "train.learning_rate", 5e-4)
    ]
    assert len(old_run.rows("samples")) == 2
    assert load_model(old_run).tokenizer.vocab_size == 24


def test_a_first_release_run_resumes_with_the_same_losses_and_its_waiting_change(old_run, tmp_path):
    status = train_run(old_run, tmp_path, threads=1)
    assert (status.state, status.step) == ("finished", 20)
    change = setting_changes(old_run)[-1]
    assert (change.step, change.setting, change.value) == (13, "model.dropout", 0.1)
    losses = {row["step"]: row["loss"] for row in old_run.rows("metrics") if row["step"] > 13 and "loss" in row}
    # Bit-identical on the machine that wrote them; other processors round differently.
    assert losses == pytest.approx(LOSSES, abs=1e-6)


def test_a_fork_of_a_first_release_run_starts_with_its_weights(old_run, tmp_path):
    child = fork(tmp_path, old_run, 1, fork_config(old_run, 1))
    assert (child.record().parent, child.record().parent_step) == (old_run.id, 1)
    assert child.start_path.exists()
