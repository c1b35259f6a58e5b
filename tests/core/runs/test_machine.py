"""This machine as runs see it: capacity, speed and numerics."""

import dataclasses
import json
from dataclasses import replace

import pytest
import torch

from core.config import RunConfig
from core.presets import preset
from core.runs.folder import RunFolder
from core.runs.machine import (
    machine_speed,
    resolve_numerics,
    run_precision,
    slots,
    threads_for_run,
)
from core.runs.records import RunRecord
from core.runs.worker import train_run
from core.training import speed
from core.training.cost import CostCoefficients
from core.training.hardware import Hardware, find_hardware, knows_bfloat16
from core.training.speed import PROBES_VERSION

HARDWARE = find_hardware("cpu")


def test_the_machine_speed_is_measured_once(measured):
    before = measured.read_bytes()
    again = machine_speed(measured.parent, HARDWARE, 1)
    assert measured.read_bytes() == before
    assert again.threads == 1
    assert (again.bfloat16 is not None) == knows_bfloat16("cpu")


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:50],
        lambda text: text.replace("flop", "flap"),
        lambda text: "[]",
        lambda text: text.replace(f"probes {PROBES_VERSION}", "probes 1"),
    ],
)
def test_a_speed_cache_that_is_damaged_or_of_other_probes_is_measured_again(measured, damage, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "_PROBES", speed._PROBES[:3])  # only the small ones, each as short as possible
    monkeypatch.setattr(speed, "_SECONDS_EACH", 0.0)
    path = tmp_path / "machine.json"
    path.write_text(damage(measured.read_text()))
    assert machine_speed(tmp_path, HARDWARE, 1).threads == 1
    assert json.loads(path.read_text())["machine"].startswith(HARDWARE.name)


def test_an_explicit_precision_setting_is_used_without_measuring(tmp_path):
    for asked in ("float32", "bfloat16"):
        choice = run_precision(RunConfig().replace({"train.precision": asked}), HARDWARE, 1, tmp_path)
        assert (choice.precision, choice.sentence) == (asked, f"{asked}, as the settings ask.")
    assert not (tmp_path / "machine.json").exists()


def test_a_run_uses_the_faster_measured_precision_and_keeps_it(data_dir, config, measured):
    cache = json.loads(measured.read_text())
    coefficients = dict.fromkeys(CostCoefficients.model_fields, 1e-9)
    cache["speeds"][0]["speed"]["bfloat16"] = coefficients
    cache["speeds"][0]["speed"]["float32"] = {name: 2 * value for name, value in coefficients.items()}
    (data_dir / "machine.json").write_text(json.dumps(cache))
    run = RunFolder.create(data_dir, config.replace({"train.precision": "auto", "train.device": "cpu"}))
    train_run(run, data_dir, threads=1)
    assert run.record().precision == "bfloat16"
    (data_dir / "machine.json").unlink()
    assert train_run(run, data_dir, threads=1).notice == ""
    assert run.record().precision == "bfloat16"


def test_a_gpu_is_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("core.runs.machine.knows_bfloat16", lambda device: device == "cuda")
    choice = run_precision(RunConfig(), replace(HARDWARE, device="cuda"), 1, tmp_path)
    assert choice.precision == "bfloat16"
    assert not (tmp_path / "machine.json").exists()


@pytest.mark.parametrize(("name", "most", "threads"), [("bigram", 8, 1), ("gpt-quick", 8, 1), ("gpt-tiny", 2, 2)])
def test_small_models_use_fewer_threads_than_allowed(name, most, threads):
    assert threads_for_run(preset(name), most) == threads


def test_large_models_use_all_allowed_threads():
    assert threads_for_run(preset("gpt-lecture"), 8) == 8
    assert threads_for_run(preset("gpt2"), 1) == 1


@pytest.mark.parametrize(
    ("device", "cores", "gigabytes", "most"),
    [("cpu", 8, 16, 4), ("cpu", 8, 2, 2), ("cpu", 1, 0.5, 1), ("cuda", 64, 80, 1)],
)
def test_a_gpu_has_one_slot_and_a_cpu_as_many_as_cores_and_memory_allow(device, cores, gigabytes, most):
    machine = dataclasses.replace(find_hardware("cpu"), device=device, cores=cores, memory_bytes=int(gigabytes * 2**30))
    assert slots(machine) == most


HERE = Hardware(
    "cpu", "Some Processor", "Some sentence.", 4, 2**30, {"torch": "2.13", "numpy": "2.0", "python": "3.11"}
)


@pytest.fixture
def record(run) -> RunRecord:
    """The record of a run that started on `HERE`."""
    began = {"machine": HERE.name, "threads": 3, "precision": "bfloat16", "versions": HERE.versions}
    return run.record().model_copy(update=began)


def test_threads_and_precision_are_resolved_once(record, data_dir):
    how = resolve_numerics(record, replace(HERE, versions=HERE.versions | {"python": "3.12"}), 1, data_dir, begun=True)
    assert (how.threads, how.precision, how.notice) == (3, "bfloat16", "")
    assert how.changes.keys() == {"hardware"}  # the versions at its start stay recorded


@pytest.mark.parametrize(
    ("here", "notice"),
    [
        ({"cores": 2}, "Not exact: 3 threads at the start, 2 now."),
        ({"name": "Another"}, "Not exact: Some Processor at the start, Another now."),
        ({"versions": HERE.versions | {"torch": "2.14"}}, "Not exact: torch 2.13 at the start, 2.14 now."),
        (
            {"name": "Another", "versions": {"torch": "2.14", "numpy": "2.1"}},
            "Not exact: Some Processor at the start, Another now; torch 2.13 at the start, 2.14 now; "
            "numpy 2.0 at the start, 2.1 now.",
        ),
    ],
)
def test_a_changed_machine_or_version_is_reported_as_not_exact(record, data_dir, here, notice):
    how = resolve_numerics(record, replace(HERE, **here), 2, data_dir, begun=True)
    assert how.notice == notice
    fresh = resolve_numerics(
        record, replace(HERE, **here), 2, data_dir, begun=False
    )  # nothing is saved, so this machine computes all of it
    assert fresh.notice == ""
    assert fresh.changes["machine"] == here.get("name", HERE.name)


def test_a_worker_keeps_the_recorded_numerics_and_reports_changed_versions(data_dir, run, monkeypatch):
    before = torch.get_num_threads()
    try:
        train_run(run, data_dir, threads=2)
        begun = run.record()
        assert (begun.machine, begun.threads, begun.precision) == (find_hardware().name, 1, "float32")
        assert begun.versions["torch"] == torch.__version__
        old = begun.versions | {"torch": "1.0"}
        run.update_record(versions=old)
        status = train_run(run, data_dir)
    finally:
        torch.set_num_threads(before)
    assert status.notice == f"Not exact: torch 1.0 at the start, {torch.__version__} now."
    assert run.record().versions == old


def test_the_record_of_an_old_run_is_completed(data_dir, run: RunFolder):
    train_run(run, data_dir)
    run.update_record(machine=None, threads=None, precision=None)
    assert train_run(run, data_dir).notice == ""
    assert run.record().threads == 1
