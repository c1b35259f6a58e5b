"""Tracker output of a run, read with TensorBoard's own reader."""

import os
from contextlib import ExitStack

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from core.errors import ConfigError
from core.import_export.trackers import TRACKERS, TrackedRun, Trackers, Values, choose_trackers, chosen_trackers
from core.runs.folder import RunFolder
from core.runs.loaded_run import StopRequest
from core.runs.worker import train_run
from explorer.__main__ import main
from tests.conftest import no_file_longer_than


@pytest.fixture
def track(monkeypatch):
    """Choose trackers for this test only."""
    monkeypatch.delenv("GPT_EXPLORER_TRACK", raising=False)
    return lambda *names: monkeypatch.setenv("GPT_EXPLORER_TRACK", ",".join(names))


def read(run: RunFolder) -> EventAccumulator:
    everything = {"scalars": 0, "histograms": 0, "tensors": 0}
    return EventAccumulator(str(run.path / "tensorboard"), size_guidance=everything).Reload()


def check_same(run: RunFolder) -> None:
    """Check that the events equal the rows of the run's files: no step is missing or repeated."""
    events = read(run)
    tags = {
        "loss": "loss/batch",
        "val_loss": "loss/val",
        "lr": "learning_rate",
        "tokens_per_second": "tokens_per_second",
    }
    for name, tag in tags.items():
        rows = [(row["step"], pytest.approx(row[name])) for row in run.rows("metrics") if name in row]
        assert [(event.step, event.value) for event in events.Scalars(tag)] == rows
    samples = {
        event.step: make_ndarray(event.tensor_proto)[0].decode() for event in events.Tensors("sample/text_summary")
    }
    written = {row["step"]: row["text"].replace("\n", "\n    ") for row in run.rows("samples")}
    assert samples == {step: f"    {text}" for step, text in written.items()}
    health = run.health()
    for name in ("activations", "gradients"):
        histograms = events.Histograms(f"{name}/h.0")
        assert [event.step for event in histograms] == [row.step for row in health]
        shares = [pytest.approx(getattr(row, name)[0] * 10_000) for row in health]
        assert [event.histogram_value.bucket for event in histograms] == shares


def test_tensorboard_reads_the_rows_and_embeddings_of_a_run(run, data_dir, track):
    train_run(run, data_dir)
    check_same(run)
    tokens = run.read_probe().tokens
    (labels,) = (run.path / "tensorboard").rglob("metadata.tsv")
    (vectors,) = (run.path / "tensorboard").rglob("tensors.tsv")
    assert len(labels.read_text().splitlines()) == len(vectors.read_text().splitlines()) > len(set(tokens))
    assert "wte" in (run.path / "tensorboard" / "projector_config.pbtxt").read_text()


def test_repeated_steps_are_tracked_once(run, data_dir, track):
    class Killed(BaseException):
        pass

    def kill(status):
        if status.step >= 8:  # the last checkpoint is of step 5
            raise Killed

    with pytest.raises(Killed):
        train_run(run, data_dir, on_status=kill)
    train_run(run, data_dir)
    assert run.status().attempt == 2
    check_same(run)


def test_events_delayed_by_a_full_disk_are_written_later(run, config):
    trackers = Trackers(TrackedRun(run.path, "id", "name", config, step=-1), lambda file: [], ["tensorboard"])
    losses = [(step, float(step)) for step in range(6)]
    for step, loss in losses:
        with ExitStack() as disk:
            if step in (2, 3):  # the events of step 2 are cut off
                size = sum(file.stat().st_size for file in (run.path / "tensorboard").iterdir())
                disk.enter_context(no_file_longer_than(size + 10 * (step == 2)))
            trackers.log(Values(step, {"loss": loss}))
    trackers.close("finished")
    assert not trackers.notices
    assert [(event.step, event.value) for event in read(run).Scalars("loss")] == losses


def test_a_tracker_added_later_gets_the_earlier_rows(run, data_dir, track):
    track("none")
    stop = StopRequest()
    train_run(
        run, data_dir, on_status=lambda status: setattr(stop, "reason", "x" * (status.step > 6)), stop_request=stop
    )
    assert not (run.path / "tensorboard").exists()
    track("tensorboard")
    train_run(run, data_dir)
    check_same(run)


def test_a_tracker_that_failed_on_earlier_rows_gets_them_the_next_time(run, config):
    def unreadable(file):
        raise OSError(file)

    tracked = TrackedRun(run.path, "id", "name", config, step=2)
    assert Trackers(tracked, unreadable, ["tensorboard"]).notices
    rows = [{"step": step, "loss": float(step)} for step in range(3)]
    trackers = Trackers(tracked, lambda file: rows if file == "metrics" else [], ["tensorboard"])
    trackers.close("finished")
    assert [(event.step, event.value) for event in read(run).Scalars("loss/batch")] == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_a_failing_tracker_does_not_stop_training(run, data_dir, track):
    track("mlflow", "tensorboard")  # mlflow is not installed
    status = train_run(run, data_dir)
    assert (status.state, run.status().notice) == (
        "finished", "mlflow does not track this run (ModuleNotFoundError); the run's log has the details."
    )  # fmt: skip
    check_same(run)


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["x"], "choose tensorboard, wandb"),
        (["mlflow"], "pip install mlflow"),
        (["none", "tensorboard"], "cannot be combined"),
    ],
)
def test_invalid_trackers_are_refused(names, sentence, track):
    with pytest.raises(ConfigError, match=sentence):
        choose_trackers(names)
    assert chosen_trackers() == ["tensorboard"]


def test_external_trackers_are_refused_for_a_class(explorer_home, capsys, track):
    track("tensorboard")
    for name in TRACKERS:
        if name != "tensorboard":
            assert main(["--class", "11b", "--track", name, "--home", str(explorer_home)]) == 2
            assert "not sent to another service" in capsys.readouterr().err
    assert os.environ["GPT_EXPLORER_TRACK"] == "tensorboard"
