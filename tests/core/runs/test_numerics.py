"""What a run began with is kept, and a run that cannot have it again says so."""

from dataclasses import replace

import pytest
import torch

from core.runs.folder import RunFolder
from core.runs.numerics import resolve_numerics
from core.runs.records import RunRecord
from core.runs.training_loop import train_run
from core.training.hardware import Hardware, find_hardware

HERE = Hardware(
    "cpu", "Some Processor", "Some sentence.", 4, 2**30, {"torch": "2.13", "numpy": "2.0", "python": "3.11"}
)


@pytest.fixture
def record(run) -> RunRecord:
    """Of a run that has begun on `HERE`."""
    began = {"machine": HERE.name, "threads": 3, "precision": "bfloat16", "versions": HERE.versions}
    return run.record().model_copy(update=began)


def test_threads_and_precision_are_settled_once(record, data_dir):
    how = resolve_numerics(record, replace(HERE, versions=HERE.versions | {"python": "3.12"}), 1, data_dir, begun=True)
    assert (how.threads, how.precision, how.notice) == (3, "bfloat16", "")
    assert how.changes.keys() == {"hardware"}  # what it began with stays written down


@pytest.mark.parametrize(
    ("here", "notice"),
    [
        ({"cores": 2}, "Not exact: 3 threads began it, this machine has 2."),
        ({"name": "Another"}, "Not exact: Some Processor began it, Another goes on."),
        ({"versions": HERE.versions | {"torch": "2.14"}}, "Not exact: torch 2.13 began it, 2.14 goes on."),
        (
            {"name": "Another", "versions": {"torch": "2.14", "numpy": "2.1"}},
            "Not exact: Some Processor began it, Another goes on; torch 2.13 began it, 2.14 goes on; "
            "numpy 2.0 began it, 2.1 goes on.",
        ),
    ],
)
def test_what_is_not_as_it_began_is_told(record, data_dir, here, notice):
    how = resolve_numerics(record, replace(HERE, **here), 2, data_dir, begun=True)
    assert how.notice == notice
    afresh = resolve_numerics(
        record, replace(HERE, **here), 2, data_dir, begun=False
    )  # nothing saved: all of it is computed here
    assert afresh.notice == ""
    assert afresh.changes["machine"] == here.get("name", HERE.name)


def test_a_worker_keeps_what_the_first_one_settled_and_tells_what_it_cannot(data_dir, run, monkeypatch):
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
    assert status.notice == f"Not exact: torch 1.0 began it, {torch.__version__} goes on."
    assert run.record().versions == old


def test_an_old_runs_record_is_completed(data_dir, run: RunFolder):
    train_run(run, data_dir)
    run.update_record(machine=None, threads=None, precision=None)
    assert train_run(run, data_dir).notice == ""
    assert run.record().threads == 1
