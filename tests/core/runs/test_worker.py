import re
import resource
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from core.errors import NotFiniteError, OutOfMemoryEstimate, RunError
from core.model import build_model
from core.runs import worker
from core.runs.commands import send_command
from core.runs.engines.fork_server import FORK_SERVER
from core.runs.folder import RunFolder
from core.runs.queue import supervisor_lock
from core.runs.records import Status
from core.runs.weights import load_model
from core.runs.worker import train_run
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.ngrams import Baselines
from core.text.tasks import TASKS
from core.text.tokenizers import load_tokenizer
from core.training.checkpoints import latest_checkpoint, save_weights
from core.training.evaluation import run_baselines
from tests.conftest import no_more_memory_than
from tests.core.runs.conftest import wait_for_state


def at_step(run, step, *commands):
    """Return a listener that sends commands once a step has been reached."""
    waiting = list(commands)

    def listen(status: Status) -> None:
        while waiting and status.step >= step:
            send_command(run, waiting.pop(0))

    return listen


@pytest.fixture
def eager(monkeypatch):
    """Write the status and check for commands after every step, so that steps can be counted."""
    monkeypatch.setattr("core.runs.recorder.STATUS_SECONDS", 0.0)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.0)


def courses(run: RunFolder) -> list[tuple]:
    """Return the metrics that depend only on the seed: all but speeds and times."""
    same = ("step", "loss", "lr", "grad_norm", "train_loss", "val_loss")
    return [tuple(row.get(name) for name in same) for row in run.rows("metrics")]


def baselines_of(run: RunFolder, data_dir: Path) -> Baselines:
    """Recompute the baselines on the tokens of the run's evaluation windows."""
    config, tokenizer = run.record().config, load_tokenizer(run.tokenizer_path)
    ids = torch.from_numpy(tokenizer.encode_array(load_corpus(config.data.corpus, data_dir)))
    return run_baselines(config, *split_ids(ids, config.data.val_fraction), tokenizer.vocab_size)


def test_a_run_trains_to_its_end_and_writes_all_its_files(data_dir, run):
    heard = []
    status = train_run(run, data_dir, on_status=heard.append)
    assert status == run.status()
    assert (status.state, status.step, status.attempt, status.pid) == ("finished", 12, 1, None)
    assert heard[0].state == "running"
    assert heard[0].pid is not None

    rows = run.rows("metrics")
    assert [row["step"] for row in rows] == [0, 2, 4, 6, 8, 10, 12]
    assert [row["step"] for row in rows if "val_loss" in row] == [0, 4, 8, 12]
    assert "loss" not in rows[0]  # no step yet, but the curve has its first point
    assert all(row.keys() >= {"loss", "lr", "grad_norm", "tokens_per_second", "seconds"} for row in rows[1:])
    assert rows[-1]["val_loss"] == status.val_loss
    assert [row["step"] for row in run.rows("samples")] == [0, 6, 12]
    assert all(len(row["text"]) == 12 for row in run.rows("samples"))
    assert [row["kind"] for row in run.rows("events")] == ["start", "finish"]
    assert [health.step for health in run.health()] == list(range(13))
    assert all(bool(health.updates) == (health.step > 0) for health in run.health())

    probe = run.read_probe()
    assert probe.step == 12
    assert probe.attention.shape == (1, 2, 8, 8)
    assert len(probe.tokens) == 8
    assert probe.embedding.shape[1] == 16
    assert [step for step, _ in run.snapshots()][-1] == 12
    assert run.read_baselines() == asdict(baselines_of(run, data_dir))
    assert load_model(run).step == 12
    record = run.record()
    assert record.corpus_hash
    assert record.hardware


def test_a_task_records_its_accuracy_loss_floor_and_graded_answers(data_dir, config):
    changes = {"data.corpus": "modular-addition", "train.steps": 2, "train.eval_interval": 1, "train.eval_windows": 9}
    run = RunFolder.create(data_dir, config.replace(changes))
    status = train_run(run, data_dir)
    rows = [row for row in run.rows("metrics") if "val_loss" in row]
    assert all(0 <= row["train_accuracy"] <= 1 and 0 <= row["val_accuracy"] <= 1 for row in rows) and len(rows) == 3
    assert (status.train_accuracy, status.val_accuracy) == (rows[-1]["train_accuracy"], rows[-1]["val_accuracy"])
    assert run.read_baselines()["floor"] == 0
    problems = run.rows("samples")[-1]["problems"]
    assert len(problems) == 8
    assert all(f"{each['question']}{each['answer']}\n" in TASKS["modular-addition"].text() for each in problems)


def test_a_bigram_run_trains(data_dir, config):
    run = RunFolder.create(data_dir, config.replace({"model.kind": "bigram", "train.snapshots": 0}))
    assert train_run(run, data_dir).state == "finished"
    assert run.read_probe().attention.shape == (0, 0, 8, 8)
    assert run.health() == []
    assert [step for step, _ in run.snapshots()] == [12]


def test_a_stopped_run_resumes_exactly(data_dir, config, eager):
    straight, broken = RunFolder.create(data_dir, config), RunFolder.create(data_dir, config)
    train_run(straight, data_dir)
    status = train_run(broken, data_dir, on_status=at_step(broken, 7, "stop"))
    assert (status.state, status.step) == ("stopped", 7)
    assert "step 7" in status.reason
    assert train_run(broken, data_dir).state == "finished"
    assert broken.status().attempt == 2
    assert courses(broken) == courses(straight)
    assert broken.rows("samples") == straight.rows("samples")
    assert broken.rows("health") == straight.rows("health")
    assert [row["kind"] for row in broken.rows("events")] == ["start", "stop", "start", "finish"]


def test_rows_beyond_the_checkpoint_are_removed_and_written_again(data_dir, config, monkeypatch):
    straight, broken = RunFolder.create(data_dir, config), RunFolder.create(data_dir, config)
    train_run(straight, data_dir)

    def die(status):
        if status.step >= 9:
            raise KeyboardInterrupt  # while the step is being recorded

    monkeypatch.setattr("core.runs.recorder.STATUS_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        train_run(broken, data_dir, on_status=die)
    assert broken.status().state == "stopped"
    assert broken.rows("metrics")[-1]["step"] == 8  # the last checkpoint is of step 5
    with broken.metrics_path.open("a") as file:
        file.write('{"step": 9, "lo')
    train_run(broken, data_dir)
    assert courses(broken) == courses(straight)
    assert broken.rows("health") == straight.rows("health")


def test_without_a_checkpoint_a_run_restarts(data_dir, run):
    run.append("metrics", {"step": 0, "val_loss": 9.0})
    run.append("metrics", {"step": 2, "loss": 9.0})
    train_run(run, data_dir)
    assert [row["step"] for row in run.rows("metrics")] == [0, 2, 4, 6, 8, 10, 12]


def test_a_run_with_a_damaged_checkpoint_resumes_from_the_previous_one(data_dir, config, eager):
    straight, broken = RunFolder.create(data_dir, config), RunFolder.create(data_dir, config)
    train_run(straight, data_dir)
    train_run(broken, data_dir, on_status=at_step(broken, 8, "stop"))
    newest = latest_checkpoint(broken.checkpoints)
    newest.write_bytes(newest.read_bytes()[:-10])
    train_run(broken, data_dir)
    assert courses(broken) == courses(straight)


def test_the_process_of_a_long_paused_run_exits_and_the_run_stays_paused(data_dir, run, eager, monkeypatch):
    monkeypatch.setattr(worker, "PAUSED_EXIT_SECONDS", 0.0)
    status = train_run(run, data_dir, on_status=at_step(run, 3, "pause"))
    assert (status.state, status.step, status.pid) == ("paused", 3, None)
    assert run.status() == status
    assert train_run(run, data_dir).state == "finished"


def test_a_single_step_is_logged_between_log_intervals(data_dir, run, eager):
    heard = []

    def listen(status):
        heard.append((status.state, status.step))
        if (status.state, status.step) == ("running", 2):
            send_command(run, "step")
        elif (status.state, status.step) == ("paused", 3):
            send_command(run, "resume")

    train_run(run, data_dir, on_status=listen)
    assert ("paused", 3) in heard
    assert [row["step"] for row in run.rows("metrics")] == [0, 2, 3, 4, 6, 8, 10, 12]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_diverging_run_fails_and_saves_only_finite_weights(data_dir, config, precision):
    wild = {
        "train.precision": precision,
        "train.learning_rate": 1.0,
        "train.min_learning_rate": 1.0,
        "train.warmup_steps": 0,
        "train.grad_clip": 0.0,
        "train.steps": 3000,
        "train.checkpoint_interval": 1,
        "train.log_interval": 500,
        "train.eval_interval": 5000,
        "train.sample_interval": 5000,
        "train.snapshots": 24,
        "model.norm": "none",
        "model.n_layer": 4,
        "model.activation": "swiglu",
    }
    run = RunFolder.create(data_dir, config.replace(wild))
    with pytest.raises(NotFiniteError, match=r"stopped (at|after) step [\d,]+.*finite"):
        train_run(run, data_dir)
    status = run.status()
    assert (status.state, status.problem) == ("failed", "not_finite")
    assert "lower learning rate" in status.reason
    saves = sorted(run.checkpoints.glob("*.safetensors"))
    assert saves
    for path in (*saves, run.weights_path, *(path for _, path in run.snapshots())):
        assert all(np.isfinite(array).all() for name, array in load_file(path).items() if array.dtype.kind == "f"), path


OVERFLOWS = {"model.norm": "none", "model.init_std": 2.0, "model.activation": "relu2", "model.n_layer": 12}


@pytest.mark.parametrize("often", ["sample", "eval", "log"])
def test_an_overflowing_run_always_fails_with_the_non_finite_loss_as_reason(data_dir, config, often):
    """The untrained model overflows already, so the first step's loss is not finite."""
    run = RunFolder.create(data_dir, config.replace(OVERFLOWS | {f"train.{often}_interval": 1}))
    if often == "log":
        send_command(run, "step")  # with step detail
    with pytest.raises(NotFiniteError):
        train_run(run, data_dir)
    status = run.status()
    assert (status.state, status.problem) == ("failed", "not_finite")
    assert status.reason.startswith("Training stopped at step 1: the loss (nan) is no longer a finite number")
    assert not run.rows("samples") and run.read_probe() is None


def test_opening_a_model_with_non_finite_weights_is_refused(data_dir, run):
    train_run(run, data_dir)
    model, _, step = load_model(run)
    with torch.no_grad():
        model.transformer.h[0].attn.c_attn.weight[0, 0] = float("nan")
    save_weights(run.weights_path, model, step)
    run.snapshots()[-1][1].unlink()  # it has the same step
    with pytest.raises(RunError, match="contain numbers that are not finite"):
        load_model(run)


LARGE = {"model.n_embd": 512, "model.block_size": 256, "train.batch_size": 512, "train.eval_interval": 12}


def test_a_run_that_runs_out_of_memory_fails_with_a_reason(data_dir, config, monkeypatch):
    monkeypatch.setenv("GPT_EXPLORER_THREADS", "1")
    run = RunFolder.create(data_dir, config.replace(LARGE))  # one layer's MLP activations of this batch take 1 GB
    with supervisor_lock(data_dir / "runs"):  # the worker waits for this lock
        process = FORK_SERVER.fork(data_dir, run)
        # A limit on the process's data pages, the sixth number in statm; no check reads it beforehand.
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[5])
        most = pages * resource.getpagesize() + 2**27
        resource.prlimit(process.pid, resource.RLIMIT_DATA, (most, most))
        started = {"state": "starting", "pid": process.pid, "pid_started": process.started}
        run.write_status(run.status().model_copy(update=started))
    status = wait_for_state(run, "failed")
    assert status.problem == "memory", status.reason
    assert "not enough memory" in status.reason
    assert "smaller batch" in status.reason


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no limit on a process's memory is kept")
def test_a_run_is_refused_before_it_starts_if_free_memory_is_too_small(data_dir, config, monkeypatch):
    monkeypatch.setattr("core.runs.loaded_run.MEMORY_SECONDS", 0.1)
    run = RunFolder.create(data_dir, config.replace(LARGE))
    with no_more_memory_than(2**30), pytest.raises(OutOfMemoryEstimate):
        train_run(run, data_dir, threads=1)
    status = run.status()
    assert (status.state, status.problem) == ("failed", "memory")
    assert re.search(r"need about [\d.]+ GB of memory, but .* has .*, of which [\d.]+ GB are free", status.reason)
    assert run.rows("metrics") == []


def test_snapshots_stay_within_their_size_limit(data_dir, config, monkeypatch):
    weights = sum(parameter.nbytes for parameter in build_model(config.model, 30).parameters())
    monkeypatch.setattr("core.runs.weights.SNAPSHOT_BYTES", 3 * weights)
    run = RunFolder.create(data_dir, config.replace({"train.snapshots": 24}))
    train_run(run, data_dir)
    assert [step for step, _ in run.snapshots()][-1] == 12
    assert 2 <= len(run.snapshots()) <= 3
    monkeypatch.setattr("core.runs.weights.SNAPSHOT_BYTES", weights // 2)  # too small for even one
    run = RunFolder.create(data_dir, config)
    train_run(run, data_dir)
    assert run.snapshots() == []
    assert load_model(run).step == 12


def test_a_run_whose_text_is_missing_or_too_short_fails_with_a_reason(data_dir, config):
    run = RunFolder.create(data_dir, config.replace({"data.corpus": "text-0123456789abcdef"}))
    with pytest.raises(Exception, match="text-0123456789abcdef"):
        train_run(run, data_dir)
    assert run.status().state == "failed"
    assert "text-0123456789abcdef" in run.status().reason
    run = RunFolder.create(data_dir, config.replace({"model.block_size": 2048}))
    with pytest.raises(Exception, match="context of at most"):
        train_run(run, data_dir)


def test_resuming_a_run_whose_text_has_changed_is_refused(data_dir, run, eager):
    train_run(run, data_dir, on_status=at_step(run, 6, "stop"))
    run.write_record(run.record().model_copy(update={"corpus_hash": "0" * 64}))
    with pytest.raises(RunError, match="no longer the one that this run started with"):
        train_run(run, data_dir)


def test_a_second_process_training_a_run_is_refused_without_changing_its_status(data_dir, run):
    with run.training_lock():
        before = run.status()
        with pytest.raises(RunError, match="Another process is already training"):
            train_run(run, data_dir)
        assert run.status() == before


def test_an_operating_system_error_fails_the_run_with_a_reason(data_dir, run):
    run.samples_path.mkdir()
    with pytest.raises(RunError, match="The operating system refused .*Is a directory"):
        train_run(run, data_dir)
    status = run.status()
    assert status.state == "failed"
    assert "Is a directory" in status.reason
    assert str(data_dir) not in status.reason


def test_the_status_records_the_longest_time_between_command_checks(data_dir, run, eager):
    heard = []

    def listen(status: Status) -> None:
        heard.append(status.slowest)
        if status.step == 6:
            time.sleep(0.3)  # acts like a long step

    slowest = train_run(run, data_dir, on_status=listen).slowest
    assert heard[0] < 0.3 <= slowest
