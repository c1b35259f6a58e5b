"""A run trained again from its script and its notebook: really executed, in processes of their own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

from core.errors import RunError
from core.runs.continuation import turn
from core.runs.documents import DOCUMENTS, why_no_document, write_document
from core.runs.folder import RunFolder
from core.runs.forks import fork
from core.runs.models import load_model
from core.runs.recipes import recipe_of
from core.runs.training_loop import train_run
from core.text.own_text import read_text
from tests.core.runs.conftest import TEXT

ROOT = Path(__file__).parents[3]
NAME = 'owl </script><script>alert(1)</script> """ # \\'


@pytest.fixture
def trained(data_dir, config) -> RunFolder:
    """A run that was steered on its way."""
    run = RunFolder.create(data_dir, config, name=NAME)
    turn(run, "train.learning_rate", 3e-3)
    turn(run, "model.dropout", 0.2)
    train_run(run, data_dir, threads=1)
    return run


def execute(script: Path, data_dir: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run a script next to `core`, as far as Python can tell."""
    environment = dict(os.environ, GPT_EXPLORER_HOME=str(data_dir), PYTHONPATH=str(ROOT))
    return subprocess.run(
        [sys.executable, str(script), *arguments], env=environment, capture_output=True, text=True, timeout=120
    )


def test_the_script_trains_the_run_again_to_the_last_bit(trained, data_dir, tmp_path):
    script = tmp_path / "again.py"
    write_document(trained, "script", script, data_dir)
    done = execute(script, data_dir)
    assert done.returncode == 0, done.stderr
    assert "The same to the last bit." in done.stdout
    found = re.search(r"validation loss (\S+) here, (\S+) then", done.stdout)
    assert float(found[1]) == float(found[2]) == trained.read_metrics()[-1]["val_loss"]
    ours, again = load_model(trained), load_model(trained, tmp_path / "retrained.safetensors")
    assert ours.step == again.step
    assert all((a == b).all() for a, b in zip(ours.model.parameters(), again.model.parameters(), strict=True))


def test_the_notebook_trains_a_fork_again_from_its_parents_first_step(trained, data_dir, tmp_path, monkeypatch):
    further = fork(data_dir, trained, None, trained.record().config.replace({"train.steps": 5, "train.seed": 2}))
    train_run(further, data_dir, threads=1)
    assert len(recipe_of(further, data_dir).stages) == 2
    notebook = nbformat.reads(DOCUMENTS["notebook"](further, data_dir), as_version=4)
    nbformat.validate(notebook)
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = "".join(output.text for cell in notebook.cells for output in cell.get("outputs", []) if "text" in output)
    assert "The same to the last bit." in said and repr(further.read_metrics()[-1]["val_loss"]) in said


def test_another_text_is_refused_and_the_right_file_taken(trained, data_dir, tmp_path):
    script, elsewhere = tmp_path / "again.py", tmp_path / "elsewhere"
    write_document(trained, "script", script, data_dir)
    elsewhere.mkdir()
    alone = execute(script, elsewhere)
    assert alone.returncode == 1 and "Hand its file over" in alone.stderr and "Traceback" not in alone.stderr
    file = tmp_path / "bottles.txt"
    file.write_text(read_text(TEXT))
    assert "The same to the last bit." in execute(script, elsewhere, str(file)).stdout


def test_a_run_that_was_stopped_is_trained_as_far_as_it_came(trained, data_dir):
    trained.write_status(trained.status().model_copy(update={"state": "stopped", "step": 8}))
    (stage,) = recipe_of(trained, data_dir).stages
    assert stage.until == 8 and max(stage.measured) == 8


def test_a_fork_of_a_deleted_run_begins_with_the_weights_it_kept(trained, data_dir, tmp_path):
    further = fork(data_dir, trained, None, trained.record().config.replace({"train.steps": 5}))
    train_run(further, data_dir, threads=1)
    again = fork(data_dir, further, None, further.record().config)
    train_run(again, data_dir, threads=1)
    trained.delete()
    assert [len(recipe_of(run, data_dir).stages) for run in (further, again)] == [1, 1]
    script = tmp_path / "again.py"
    write_document(again, "script", script, data_dir)
    missing = execute(script, data_dir)
    assert missing.returncode == 1 and "tokenizer.json" in missing.stderr
    for path in (again.start_path, again.tokenizer_path):
        shutil.copy(path, tmp_path)
    assert "The same to the last bit." in execute(script, data_dir).stdout


def test_what_cannot_be_trained_again_says_why(trained, data_dir):
    further = fork(data_dir, trained, None, trained.record().config)
    trained.update_record(origin="imported from x")
    assert "was imported" in why_no_document(trained, "script", data_dir)
    assert why_no_document(trained, "report", data_dir) == ""
    with pytest.raises(RunError, match="was imported"):
        recipe_of(trained, data_dir)
    assert recipe_of(further, data_dir).given and why_no_document(further, "notebook", data_dir) == ""
