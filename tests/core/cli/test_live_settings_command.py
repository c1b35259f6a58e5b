"""`set`, its old name `turn`, `train --from` and `resume --steps`."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from transformers import GPT2Config, GPT2LMHeadModel

from core.cli import main
from core.live_settings import RESTART
from core.runs.commands import config_now, setting_changes, waiting_commands
from core.runs.folder import RunFolder, list_runs
from core.runs.model_files import import_model
from core.runs.processes import this_process
from core.runs.queue import supervisor_lock
from core.text.own_text import save_text
from tests.core.cli.test_command_line import ROOT, SMALL, data_dir, refused, text_file
from tests.core.import_export.conftest import TEXT, bpe_folder
from tests.core.runs.conftest import TEXT as BOTTLES

__all__ = ["bpe_folder", "data_dir", "text_file"]


WARMUP = ("--set", "train.warmup_steps=2")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, measured) -> Path:
    """A data folder with a finished run, trained once; each test gets a copy."""
    home, text = tmp_path_factory.mktemp("trained"), tmp_path_factory.mktemp("text") / "bottles.txt"
    text.write_text(BOTTLES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GPT_EXPLORER_HOME", str(home))
        assert main(["train", "--text", str(text), "--steps", "12", "--name", "first", *SMALL, *WARMUP]) == 0
    return home


@pytest.fixture
def finished(data_dir, trained, capsys) -> RunFolder:
    shutil.copytree(trained, data_dir, dirs_exist_ok=True)
    capsys.readouterr()
    return list_runs(data_dir)[0]


def test_the_set_command_shows_and_changes_settings_by_short_name(finished, capsys):
    assert main(["set", "first"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "learning_rate: 0.006"
    assert shown[-1] == "steps: 12"
    assert len(shown) == 6
    assert main(["turn", "first", "learning_rate=3e-4", "model.dropout=0.1", "steps=16"]) == 0
    out = capsys.readouterr().out
    assert "learning_rate: 0.006 -> 0.0003\n" in out
    assert "steps: 12 -> 16\n" in out
    assert "takes effect when it resumes" in out
    assert main(["resume", "first"]) == 0
    assert finished.status().step == 16
    assert [(change.step, change.setting) for change in setting_changes(finished)] == [
        (12, "train.learning_rate"),
        (12, "model.dropout"),
        (12, "train.steps"),
    ]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("turn", "first", "dropout"), "set needs a setting and its value, such as learning_rate=3e-4, not 'dropout'"),
        (("turn", "first", "dropout=0.2", "batch_size=0"), "train.batch_size cannot be 0"),
        (
            ("turn", "first", "n_layer=3"),
            "'n_layer' cannot be changed while a run trains. These can: train.learning_rate",
        ),
        (("turn", "first", "dropout=0.2", "steps=4"), "already at step 12"),
        (("turn", "nobody"), "There is no run 'nobody'"),
        (("resume", "first", "--steps", "lots"), "--steps needs a step to end at, such as 4000"),
        (("resume", "first", "--steps", "+0"), "1 step or more"),
        (("resume", "first", "--steps", "5"), "already at step 12"),
        (("resume", "first", "--steps", "5", "--schedule", "restart"), "already at step 12"),
        (("resume", "first", "--schedule", "restart"), "--schedule is for additional steps. Add how many"),
        (("train", "--from", "nobody@3"), "There is no run 'nobody'"),
        (("train", "--from", "first@3"), "no weights of step 3. It has the weights of 0, 12"),
        (("train", "--from", "first", "--set", "model.n_layer=2"), "A fork keeps the model"),
    ],
)
def test_invalid_setting_changes_resumes_and_forks_are_refused_without_effect(
    data_dir, finished, capsys, arguments, sentence
):
    assert sentence in refused(capsys, *arguments)
    assert waiting_commands(finished) == []
    assert len(list_runs(data_dir)) == 1


def test_a_finished_run_resumes_for_more_steps_or_until_a_step(finished, capsys):
    assert main(["resume", "first", "--steps", "+8"]) == 0
    assert finished.status().step == 20
    assert main(["resume", "first", "--steps", "24"]) == 0
    assert finished.status().step == 24
    assert [row["step"] for row in finished.rows("metrics")] == [0, 5, 10, 12, 15, 20, 24]


def test_resume_reports_the_learning_rate_and_can_restart_the_schedule(finished, capsys):
    assert main(["resume", "first", "--steps", "+3"]) == 0
    assert "The learning rate stays at 6e-4, where its schedule ended. --schedule restart" in capsys.readouterr().out
    assert main(["resume", "first", "--steps", "+9", "--schedule", "restart"]) == 0
    warmup = config_now(finished).train.warmup_steps
    message = f"The learning rate warms up over {warmup} steps, then decays from 6e-3 to 6e-4 until step 24."
    assert message in capsys.readouterr().out
    assert setting_changes(finished)[-1] == (15, RESTART, 0, 15)
    assert finished.last_metrics()["step"] == 24
    assert main(["resume", "first", "--steps", "30", "--schedule", "restart"]) == 0
    assert setting_changes(finished)[-1] == (24, RESTART, 15, 24)


def test_the_last_step_of_a_running_run_is_changed_with_set_not_resume(finished, capsys):
    me = this_process()
    going = {"state": "running", "pid": me.pid, "pid_started": me.started}
    finished.write_status(finished.status().model_copy(update=going))
    assert f"python -m core set {finished.id} steps=" in refused(capsys, "resume", "first", "--steps", "+8")
    assert main(["turn", "first", "steps=40"]) == 0
    assert "waits" not in capsys.readouterr().out.replace("steps: 12 -> 40", "")
    assert config_now(finished).train.steps == 40


def test_train_from_a_run_trains_a_fork_from_its_weights(data_dir, finished, capsys):
    assert main(["train", "--from", "first@0", "--steps", "4", "--set", "train.learning_rate=0.01"]) == 0
    child = list_runs(data_dir)[0] if list_runs(data_dir)[0].id != finished.id else list_runs(data_dir)[1]
    record = child.record()
    assert (record.parent, record.parent_step, record.name) == (finished.id, 0, "first from step 0")
    assert (record.config.train.learning_rate, record.config.model.n_layer, child.status().step) == (0.01, 1, 4)
    assert child.rows("metrics")[0]["val_loss"] == finished.rows("metrics")[0]["val_loss"]
    assert main(["train", "--from", "first", "--name", "second", "--steps", "2"]) == 0
    (second,) = [run for run in list_runs(data_dir) if run.name == "second"]
    assert second.record().parent_step == 12
    assert second.rows("metrics")[0]["val_loss"] == finished.rows("metrics")[-1]["val_loss"]


def test_the_memory_estimate_of_a_fork_uses_its_own_vocabulary_size(data_dir, bpe_folder, tmp_path, capsys):
    vocabulary = json.loads((bpe_folder / "vocab.json").read_text())
    many = dict(vocabulary) | {f"piece{number}": number for number in range(len(vocabulary), 50_257)}
    shape = {"vocab_size": len(many), "n_positions": 2048, "n_embd": 8, "n_layer": 1, "n_head": 1}
    source = tmp_path / "many-pieces"
    GPT2LMHeadModel(GPT2Config(**shape, bos_token_id=None, eos_token_id=None)).save_pretrained(source)
    (source / "vocab.json").write_text(json.dumps(many))
    (source / "merges.txt").write_bytes((bpe_folder / "merges.txt").read_bytes())
    import_model(data_dir, source, save_text(TEXT * 1000, "To be", data_dir).name, "many")
    # The logits for all tokens take 200 GB; those for two dozen characters a thousandth of it.
    said = refused(capsys, "train", "--from", "many", "--set", "train.batch_size=512", "--steps", "1", *SMALL[:2])
    assert "These settings need about" in said
    assert len(list_runs(data_dir)) == 1


TURNS = """
import sys
from core.cli import main
for steps in range(20, 60):
    assert main(["turn", "first", f"steps={steps}"]) == 0
"""


def test_setting_changes_from_a_shell_never_overwrite_a_supervisors_status_updates(data_dir, finished):
    runs, written = data_dir / "runs", finished.status().attempt
    with supervisor_lock(runs):  # from here on a supervisor exists
        shell = subprocess.Popen([sys.executable, "-c", TURNS], cwd=ROOT, stdout=subprocess.DEVNULL)
    with shell:
        while shell.poll() is None:
            with supervisor_lock(runs):
                status = finished.status()
                finished.write_status(status.model_copy(update={"attempt": status.attempt + 1}), durable=False)
                written += 1
    assert shell.returncode == 0
    assert (finished.status().attempt, finished.status().steps) == (written, 59)
