"""Errors for unusable data folders, impossible numbers and deeply nested JSON."""

import os
import pwd
from pathlib import Path

import pytest

from core.cli import main
from core.config import RunConfig
from core.errors import ExplorerError
from core.paths import data_dir
from core.runs.commands import waiting_commands
from core.runs.folder import RunFolder, list_runs
from core.runs.machine import _read_cache
from core.training.hardware import find_hardware
from explorer.__main__ import _set_missing_home
from explorer.__main__ import main as serve

DEEP = "[" * 100_000
LONG = "9" * 5000


@pytest.fixture
def unknown_user(monkeypatch):
    """A user unknown to the system, without HOME, as in a container started with a numeric user id."""

    def not_found(_):
        raise KeyError

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", not_found)


def refused(capsys, *arguments: str, command=main) -> str:
    assert command(list(arguments)) == 2
    out, err = capsys.readouterr()
    assert "Traceback" not in out + err and err.count("\n") == 1
    return err


def test_a_user_without_a_home_folder_must_set_gpt_explorer_home(unknown_user, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("GPT_EXPLORER_HOME", raising=False)
    for command, arguments in ((main, ["runs"]), (serve, [])):
        assert "does not know the home folder of this user. Set GPT_EXPLORER_HOME" in refused(
            capsys, *arguments, command=command
        )
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(tmp_path / "named"))
    assert data_dir() == tmp_path / "named"
    _set_missing_home(data_dir())
    assert Path.home() == tmp_path / "named", "Streamlit looks for its settings there"


def test_a_data_folder_in_an_unknown_users_home_is_refused(monkeypatch, capsys):
    monkeypatch.setenv("GPT_EXPLORER_HOME", "~nosuchuser/x")
    assert "of the user that ~nosuchuser/x names" in refused(capsys, "runs")
    assert "~nosuchuser/y" in refused(capsys, "--home", "~nosuchuser/y", command=serve)


def test_a_non_utf8_path_is_refused_before_anything_is_created(
    explorer_home, finished_run, tmp_path, monkeypatch, capsys
):
    name = os.fsdecode(b"caf\xe9")
    with pytest.raises(ExplorerError, match=r"caf\\xe9.* is not UTF-8, so nothing can be kept there"):
        RunFolder.create(explorer_home, RunConfig(), inside=tmp_path / name)
    out = str(tmp_path / name / "out")
    outs = [
        ("export", finished_run.id, kind, out) for kind in ("huggingface", "nanogpt", "script", "notebook", "report")
    ]
    for command in (*outs, ("prepare", out, "--corpus", "tunes"), ("notebooks", out), ("train", "--out", out)):
        assert "is not UTF-8, so nothing" in refused(capsys, *command)
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(tmp_path / name))
    assert "is not UTF-8" in refused(capsys, "runs")
    assert "is not UTF-8" in refused(capsys, "--home", str(tmp_path / name), command=serve)
    assert not (tmp_path / name).exists() and len(list_runs(explorer_home)) == 1


@pytest.mark.parametrize("tokens", ["-5", "0", "1", "1000001"])
def test_an_out_of_range_vocabulary_size_is_refused_by_estimate(explorer_home, capsys, tokens):
    assert f"--tokens cannot be {tokens}: it must be" in refused(capsys, "estimate", "--tokens", tokens)


def test_absurdly_long_step_numbers_are_refused(finished_run, capsys):
    assert "no run" in refused(capsys, "train", "--from", f"{finished_run.id}@{LONG}")
    for steps in (LONG, f"+{LONG}", "²"):
        assert "--steps needs a step" in refused(capsys, "resume", finished_run.id, "--steps", steps)


def test_deeply_nested_json_counts_as_damaged(finished_run, explorer_home, capsys):
    for setting in (f"model.n_layer={DEEP}", f"model.n_layer={LONG}"):
        assert "model.n_layer cannot be" in refused(capsys, "train", "--set", setting)
    assert "learning_rate cannot be" in refused(capsys, "turn", finished_run.id, f"learning_rate={DEEP}")
    (explorer_home / "trials.json").write_text(DEEP)
    assert _read_cache(explorer_home, find_hardware(), "trials.json") == {}
    (finished_run.commands / "1.pause.json").write_text(DEEP)
    assert [command.name for command in waiting_commands(finished_run)] == [""]
    for path in (finished_run.metrics_path, finished_run.samples_path, finished_run.step_detail_path):
        path.write_text(DEEP)
    assert not finished_run.rows("metrics") and not finished_run.rows("samples") and not finished_run.read_step_detail()
    for path in (finished_run.status_path, finished_run.record_path):
        path.write_text(DEEP)
    assert "damaged" in finished_run.problem and finished_run.status().state == "failed"
