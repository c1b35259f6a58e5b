"""This machine is measured once, and what it does faster decides what a run computes in."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import RunConfig
from core.runs.folder import RunFolder
from core.runs.machine import machine_speed, run_precision
from core.runs.training_loop import train_run
from core.training.hardware import find_hardware, knows_bfloat16

HARDWARE = find_hardware("cpu")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data_dir = tmp_path_factory.mktemp("measured")
    machine_speed(data_dir, HARDWARE, 1)
    return data_dir


def test_it_is_measured_once(measured):
    before = (measured / "machine.json").read_bytes()
    again = machine_speed(measured, HARDWARE, 1)
    assert (measured / "machine.json").read_bytes() == before
    assert again.threads == 1
    assert (again.bfloat16 is not None) == knows_bfloat16("cpu")


@pytest.mark.parametrize(
    "damage", [lambda text: text[:50], lambda text: text.replace("flop", "flap"), lambda text: "[]"]
)
def test_what_is_damaged_or_of_another_machine_is_measured_again(measured, damage, tmp_path):
    path = tmp_path / "machine.json"
    path.write_text(damage((measured / "machine.json").read_text()))
    assert machine_speed(tmp_path, HARDWARE, 1).threads == 1
    assert json.loads(path.read_text())["machine"].startswith(HARDWARE.name)


def test_the_settings_decide_where_they_say_so(tmp_path):
    for asked in ("float32", "bfloat16"):
        choice = run_precision(RunConfig().replace({"train.precision": asked}), HARDWARE, 1, tmp_path)
        assert (choice.precision, choice.sentence) == (asked, f"{asked}, as the settings ask.")
    assert not (tmp_path / "machine.json").exists()


def test_a_run_takes_what_was_measured_to_be_faster_and_keeps_it(data_dir, config, measured):
    kept = json.loads((measured / "machine.json").read_text())
    prices = dict.fromkeys(("step_seconds", "layer_seconds", "flop_seconds", "moved_seconds"), 1e-9)
    kept["speeds"][0]["speed"]["bfloat16"] = prices
    kept["speeds"][0]["speed"]["float32"] = {name: 2 * price for name, price in prices.items()}
    (data_dir / "machine.json").write_text(json.dumps(kept))
    run = RunFolder.create(data_dir, config.replace({"train.precision": "auto", "train.device": "cpu"}))
    train_run(run, data_dir, threads=1)
    assert run.record().precision == "bfloat16"
    (data_dir / "machine.json").unlink()
    assert train_run(run, data_dir, threads=1).notice == ""
    assert run.record().precision == "bfloat16"


def test_a_graphics_card_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("core.runs.machine.knows_bfloat16", lambda device: device == "cuda")
    choice = run_precision(RunConfig(), replace(HARDWARE, device="cuda"), 1, tmp_path)
    assert choice.precision == "bfloat16"
    assert not (tmp_path / "machine.json").exists()
