"""Commands for settings and single runs: `settings`, `--config`, `show`, `pause`, `stop`, `rename`, ..."""

import argparse
import json

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

from core.cli import main, parser
from core.config import SETTINGS, RunConfig
from core.presets import PRESETS, preset
from core.runs.commands import config_now, drop_commands, waiting_commands
from core.runs.folder import list_runs
from core.runs.processes import this_process
from core.runs.weights import steps_with_weights
from core.trash import DAYS, deleted
from tests.core.cli.test_command_line import SMALL, data_dir, refused, text_file

__all__ = ["data_dir", "text_file"]

CHANGED = ("--preset", "gpt-fast", "--set", "train.compile=on", "--set", "model.residual=true", "--steps", "7")


def said(capsys, *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def commands() -> dict[str, argparse.ArgumentParser]:
    (found,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    return {name: command for name, command in found.choices.items() if name != "worker"}


@pytest.mark.parametrize("name", commands())
def test_the_help_of_every_option_states_its_default(name, capsys):
    for action in commands()[name]._actions:
        if action.option_strings and action.nargs != 0 and action.help != argparse.SUPPRESS:
            assert "default" in action.help, action.option_strings
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0 and capsys.readouterr().out


def test_all_settings_are_listed_with_bounds_default_and_help(data_dir, capsys):
    table, known = said(capsys, "settings"), json.loads(said(capsys, "settings", "--json"))
    assert list(known) == list(SETTINGS)
    for path, setting in SETTINGS.items():
        assert path in table
        assert (known[path]["default"], known[path]["help"]) == (setting.default, setting.help)
    assert known["model.n_layer"]["low"] == 1 and known["model.n_layer"]["high"] == 48
    assert known["train.compile"]["choices"] == ["auto", "on", "off"]
    assert "1 to 48" in table and "auto, on, off" in table


def test_runs_are_exported_as_a_parquet_table(data_dir, text_file, tmp_path, capsys):
    table = tmp_path / "runs.parquet"
    assert "There are no runs yet" in refused(capsys, "runs", "--export", str(table))
    train = ("train", "--text", str(text_file), "--steps", "2", *SMALL)
    said(capsys, *train, "--name", "first")
    said(capsys, *train, "--name", "second", "--set", "train.seed=7")
    said(capsys, "runs", "--export", str(table))
    read = pd.read_parquet(table)
    assert list(read.name) == ["second", "first"] and read["train.seed"][0] == 7
    assert list(read.val_loss) == [run.status().val_loss for run in list_runs(data_dir)]
    assert {*SETTINGS} <= {*read.columns}
    said(capsys, "rename", "first", "other")
    assert "already exists" in refused(capsys, "runs", "--export", str(table))


@pytest.mark.parametrize("name", PRESETS)
def test_dumped_settings_are_read_back(data_dir, tmp_path, capsys, name):
    for dump in (str, lambda text: yaml.safe_dump(json.loads(text))):
        file = tmp_path / "settings"
        text = said(capsys, "train", "--preset", name, "--set", "train.beta2=0.95", "--dump-config")
        assert RunConfig.parse(text) == preset(name).replace({"train.beta2": 0.95})
        file.write_text(dump(text))
        assert said(capsys, "train", "--config", str(file), "--dump-config") == text
    assert list_runs(data_dir) == []


def test_minutes_choose_every_setting_except_those_on_the_command_line(data_dir, text_file, capsys):
    assert "must be above 0" in refused(capsys, "train", "--minutes", "0", "--text", str(text_file))
    dump = ("--set", "train.seed=3", "--dump-config")
    few, more = (RunConfig.parse(said(capsys, "train", "--minutes", minutes, *dump)) for minutes in ("2", "300"))
    assert few.train.seed == more.train.seed == 3 and few.model.token_shift
    assert few.model.n_embd < more.model.n_embd
    often = RunConfig.parse(said(capsys, "train", "--minutes", "300", *dump, "--set", "train.eval_interval=1"))
    read, less = (config.train.steps * config.train.batch_size * config.model.block_size for config in (more, often))
    assert less < read, "settings on the line count in the time"
    assert "Leave out train.steps" in refused(capsys, "train", "--minutes", "5", "--steps", "9", *dump)


def test_a_settings_file_overrides_the_preset_and_the_command_line_overrides_both(data_dir, tmp_path, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("preset: gpt-fast\ntrain: {compile: on, learning_rate: 6e-4, steps: 9}\nmodel:\n  residual: yes\n")
    config = RunConfig.parse(said(capsys, "train", "--config", str(file), "--steps", "7", "--dump-config"))
    assert (config.preset, config.train.compile, config.train.learning_rate, config.train.steps) == (
        "gpt-fast", "on", 6e-4, 7,
    )  # fmt: skip
    assert config.model.residual is True and config.model.n_layer == preset("gpt-fast").model.n_layer
    file.write_text("model.n_layer: 2\n")
    assert RunConfig.parse(said(capsys, "train", "--config", str(file), "--dump-config")).model.n_layer == 2
    for content, sentence in (
        ("model: {n_layers: 3}", "There is no setting called 'model.n_layers'"),
        ("train: {steps: 0}", "train.steps cannot be 0"),
        ("preset: nope", "There is no preset called 'nope'"),
        ("- 1", "does not contain settings in JSON or YAML"),
        ("a: [", "does not contain settings in JSON or YAML"),
        ("[" * 100_000, "does not contain settings in JSON or YAML"),
        ("!!python/object/apply:os.system ['true']", "does not contain settings in JSON or YAML"),
        ("model: 3", "model cannot be 3"),
    ):
        file.write_text(content)
        assert sentence in refused(capsys, "train", "--config", str(file))
    assert "cannot be read" in refused(capsys, "train", "--config", str(tmp_path / "none.json"))


def test_estimate_accepts_the_options_of_train(data_dir, text_file, capsys):
    shared = {option for action in commands()["train"]._actions for option in action.option_strings}
    offered = {option for action in commands()["estimate"]._actions for option in action.option_strings}
    assert shared - offered == {"--name", "--out", "--dump-config", "--track"}
    assert "for 3 steps" in said(capsys, "estimate", "--text", str(text_file), "--steps", "3", *SMALL)
    assert not list((data_dir / "texts").glob("bottles*"))
    assert "--tokens cannot be -5: it must be a whole number from 2" in refused(capsys, "estimate", "--tokens", "-5")
    assert "No such file" in refused(capsys, "estimate", "--text", "none.txt")


@pytest.fixture
def kept_steps(finished_run) -> list[int]:
    steps = steps_with_weights(finished_run)
    assert len(steps) > 2
    return steps


def test_generate_and_export_use_earlier_weights_by_step(finished_run, kept_steps, tmp_path, capsys):
    asked = ["--prompt", "To", "--tokens", "60"]
    newest = said(capsys, "generate", "latest", *asked)
    assert said(capsys, "generate", f"latest@{kept_steps[-1]}", *asked) == newest
    assert said(capsys, "generate", f"{finished_run.name}@{kept_steps[0]}", *asked) != newest
    for step in (kept_steps[0], kept_steps[-1]):
        said(capsys, "export", f"latest@{step}", "huggingface", str(tmp_path / f"step-{step}"))
    first, last = (
        load_file(tmp_path / f"step-{step}" / "model.safetensors") for step in (kept_steps[0], kept_steps[-1])
    )
    assert any(not first[name].equal(last[name]) for name in first)
    kept = ", ".join(map(str, kept_steps))
    for command in (("generate", "latest@7"), ("export", "latest@7", "nanogpt", str(tmp_path / "x.pt"))):
        assert f"no weights of step 7. It has the weights of {kept}" in refused(capsys, *command)
    assert "whole run" in refused(capsys, "export", "latest@20", "report", str(tmp_path / "x.html"))


def test_the_show_command_prints_a_run_and_its_changed_settings(finished_run, capsys):
    shown, data = said(capsys, "show", "latest"), json.loads(said(capsys, "show", "latest", "--json"))
    config = config_now(finished_run)
    assert f"id: {finished_run.id}" in shown and "state: finished" in shown and "step 20 of 20" in shown
    assert data["status"]["val_loss"] == finished_run.status().val_loss and data["config"] == config.model_dump()
    assert data["files"] == {"bytes": finished_run.size, "steps_with_weights": steps_with_weights(finished_run)}
    assert "  model.n_layer: 2 (preset: 4)" in shown and "train.steps: 20" in shown
    assert "train.seed:" not in shown and "data.corpus:" not in shown


def test_a_run_is_renamed_and_deleted(finished_run, add_run, capsys, monkeypatch):
    other = add_run("other")
    assert "is now called plain" in said(capsys, "rename", finished_run.id, "plain\x07")
    assert finished_run.record().name == "plain"
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert "--yes" in refused(capsys, "delete", "plain") and finished_run.path.exists()
    questions = []
    for answer, left in (("", True), ("n", True), ("y", False)):
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        monkeypatch.setattr("builtins.input", lambda question, answer=answer: questions.append(question) or answer)
        said(capsys, "delete", "plain")
        assert finished_run.path.exists() is left
    assert f"trash, where it stays for {DAYS} days" in questions[0]
    said(capsys, "delete", "other", "--yes")
    assert not other.path.exists()
    assert {each.name for each in deleted(other.data_dir)} == {finished_run.id, other.id}


def test_a_running_run_is_paused_stopped_and_resumed_from_another_shell(running_run, finished_run, capsys):
    said(capsys, "pause", running_run.id)
    said(capsys, "stop", running_run.id)
    assert [command.name for command in waiting_commands(running_run)] == ["pause", "stop"]
    drop_commands(running_run)
    me = this_process()
    paused = {"state": "paused", "pid": me.pid, "pid_started": me.started}
    running_run.write_status(running_run.status().model_copy(update=paused))
    message = refused(capsys, "resume", running_run.id, "--steps", "600")
    assert "is paused at step 10" in message and f"python -m core resume {running_run.id}" in message
    assert "continues at step 10" in said(capsys, "resume", running_run.id)
    assert [command.name for command in waiting_commands(running_run)] == ["resume"]
    for command in ("pause", "stop"):
        message = refused(capsys, command, finished_run.id)
        assert "already finished" in message or "has ended" in message
