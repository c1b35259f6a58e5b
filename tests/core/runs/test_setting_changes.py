"""Setting changes within this process; tests/core/runs/test_exact_resume.py kills real workers."""

import json
from threading import Thread

import pytest

from core.errors import ConfigError, RunError
from core.formatting import SCHEDULE_RESTARTED
from core.live_settings import RESTART, SettingChange
from core.runs import worker
from core.runs.ancestry import fork_config
from core.runs.commands import (
    change_settings,
    config_now,
    extend,
    has_steps_left,
    remove_command,
    send_command,
    setting_changes,
    waiting_commands,
    write_setting_change,
)
from core.runs.documents import run_facts
from core.runs.folder import RunFolder
from core.runs.loaded_run import cut_after
from core.runs.records import Status
from core.runs.worker import train_run

RATE, DROPOUT, BATCH = "train.learning_rate", "model.dropout", "train.batch_size"


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Write the status and check for commands after every step, so that steps can be counted."""
    monkeypatch.setattr("core.runs.recorder.STATUS_SECONDS", 0.0)
    monkeypatch.setattr(worker, "POLL_SECONDS", 0.0)


def at(step, *doings):
    """Return a listener that calls the functions once a step has been reached."""
    waiting = list(doings)

    def listen(status: Status) -> None:
        while waiting and status.step >= step:
            waiting.pop(0)()

    return listen


def course(run: RunFolder) -> list[tuple]:
    """Return the metrics that depend only on the settings: all but speeds and times."""
    same = ("step", "loss", "lr", "grad_norm", "train_loss", "val_loss")
    return [tuple(row.get(name) for name in same) for row in run.rows("metrics")]


def change_rows(run: RunFolder) -> list[tuple]:
    rows = [row for row in run.rows("events") if row["kind"] == "turn"]
    return [(row["step"], row["knob"], row["value"], row["before"]) for row in rows]


def test_config_now_includes_a_change_while_the_worker_applies_it(run):
    """A page that read the old value in between reset its slider, which then sent the old value again."""

    def take(before: float) -> None:
        for command in waiting_commands(run):
            write_setting_change(run, SettingChange(0, DROPOUT, before, command.args["value"]), command.id)
            remove_command(run, command)

    before = 0.0
    for value in [0.1, 0.2] * 20:
        change_settings(run, (DROPOUT, value))
        worker_thread = Thread(target=take, args=(before,))
        worker_thread.start()
        while worker_thread.is_alive():
            assert config_now(run).model.dropout == value
        before = value
    assert len(setting_changes(run)) == 40


def test_a_setting_is_changed_between_two_steps_and_recorded_once(data_dir, run):
    train_run(
        run,
        data_dir,
        on_status=at(7, lambda: change_settings(run, (RATE, 5e-3)), lambda: change_settings(run, ("train.steps", 16))),
    )
    assert change_rows(run) == [(7, RATE, 5e-3, 1e-3), (7, "train.steps", 16, 12)]
    assert setting_changes(run) == [SettingChange(7, RATE, 1e-3, 5e-3), SettingChange(7, "train.steps", 12, 16)]
    config = config_now(run)
    assert (config.train.learning_rate, config.train.steps, config.train.decay_steps) == (5e-3, 16, 12)
    assert run.record().config.train.steps == 12
    assert waiting_commands(run) == []
    status = run.status()
    assert (status.state, status.step, status.steps) == ("finished", 16, 16)
    assert [row["step"] for row in run.rows("metrics")] == [0, 2, 4, 6, 8, 10, 12, 14, 16]


def test_recorded_setting_changes_are_replayed_at_their_steps(data_dir, config):
    live = RunFolder.create(data_dir, config)
    listeners = [
        at(3, lambda: change_settings(live, (RATE, 4e-3)), lambda: change_settings(live, (DROPOUT, 0.3))),
        at(
            6,
            lambda: change_settings(live, (BATCH, 3)),
            lambda: change_settings(live, ("train.eval_interval", 3)),
        ),
        at(
            7,
            lambda: change_settings(live, ("train.sample_temperature", 0.4)),
            lambda: change_settings(live, ("train.steps", 15)),
        ),
    ]
    train_run(live, data_dir, on_status=lambda status: [listen(status) for listen in listeners])
    assert len(setting_changes(live)) == 6

    repeated = RunFolder.create(data_dir, config)
    repeated.events_path.write_bytes(live.events_path.read_bytes())
    train_run(repeated, data_dir)
    assert course(repeated) == course(live)
    assert repeated.rows("samples") == live.rows("samples")
    assert repeated.weights_path.read_bytes() == live.weights_path.read_bytes()
    assert change_rows(repeated) == change_rows(live)  # none was written twice

    straight = RunFolder.create(data_dir, config)
    train_run(straight, data_dir)
    assert course(straight)[:2] == course(live)[:2]
    assert course(straight)[2:] != course(live)[2:]


def test_a_setting_change_before_the_start_applies_to_the_first_step(data_dir, config):
    run, emerged = RunFolder.create(data_dir, config), RunFolder.create(data_dir, config.replace({BATCH: 3}))
    change_settings(run, (BATCH, 3))
    assert config_now(run).train.batch_size == 3
    assert setting_changes(run) == []
    train_run(run, data_dir, drop_stale=True)  # this drops pauses and stops, but not setting changes
    train_run(emerged, data_dir)
    assert change_rows(run) == [(0, BATCH, 3, 2)]
    assert course(run)[1:] == course(emerged)[1:]


def test_a_setting_change_while_paused_waits_for_the_next_worker(data_dir, run, monkeypatch):
    monkeypatch.setattr(worker, "PAUSED_EXIT_SECONDS", 0.0)
    train_run(run, data_dir, on_status=at(4, lambda: send_command(run, "pause")))
    assert run.status().state == "paused"
    change_settings(run, ("train.steps", 20))
    assert run.status().steps == 20
    assert config_now(run).train.steps == 20
    assert train_run(run, data_dir).step == 20
    assert change_rows(run) == [(4, "train.steps", 20, 12)]


def test_a_later_setting_change_overrides_one_recorded_at_a_later_step(run):
    rows = [(8, RATE, 1e-2), (9, DROPOUT, 0.2), (6, RATE, 2e-2), (6, RATE, 3e-2), (12, DROPOUT, 0.0)]
    for step, setting, value in rows:
        write_setting_change(run, SettingChange(step, setting, 0, value), "")
    run.append("events", {"step": 1, "kind": "turn", "knob": "model.n_layer", "value": 3})  # never written by us
    run.append("events", {"kind": "turn"})
    assert setting_changes(run) == [
        SettingChange(6, RATE, 0, 2e-2),
        SettingChange(6, RATE, 0, 3e-2),
        SettingChange(9, DROPOUT, 0, 0.2),
        SettingChange(12, DROPOUT, 0, 0.0),
    ]
    write_setting_change(run, SettingChange(13, BATCH, 0, 0), "")
    with pytest.raises(RunError, match="changed in run .* cannot be used: train.batch_size cannot be 0"):
        config_now(run)


def test_a_setting_change_recorded_by_a_worker_that_died_is_not_applied_twice(data_dir, run):
    change_settings(run, (RATE, 5e-3))
    (command,) = waiting_commands(run)
    write_setting_change(run, SettingChange(0, RATE, 1e-3, 5e-3), command.id)
    train_run(run, data_dir)
    assert setting_changes(run) == [SettingChange(0, RATE, 1e-3, 5e-3)]
    assert waiting_commands(run) == []


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("model.n_layer", 3, "'model.n_layer' cannot be changed while a run trains"),
        (DROPOUT, 2, "model.dropout cannot be 2"),
        (BATCH, "many", "train.batch_size cannot be 'many'"),
        ("train.steps", 7, "is already at step 8, so it cannot end at step 7"),
    ],
)
def test_invalid_setting_changes_are_refused_at_once(run, setting, value, sentence):
    run.write_status(Status(state="running", step=8, steps=12))
    with pytest.raises(ConfigError, match=sentence):
        change_settings(run, (setting, value))
    assert waiting_commands(run) == []


def test_a_worker_ignores_invalid_commands(data_dir, run):
    for args in ({}, {"knob": BATCH, "value": "many"}, {"knob": "model.n_layer", "value": 3}):
        send_command(run, "turn", **args)
    send_command(run, "dance")
    assert train_run(run, data_dir).state == "finished"
    assert setting_changes(run) == []
    assert waiting_commands(run) == []


def test_a_run_shortened_to_end_now_is_evaluated_at_its_last_step(data_dir, run):
    train_run(run, data_dir, on_status=at(5, lambda: send_command(run, "turn", knob="train.steps", value=3)))
    status = run.status()
    assert (status.state, status.step, status.steps) == ("finished", 5, 5)  # step 3 had passed
    assert run.rows("metrics")[-1].keys() >= {"val_loss", "train_loss"}
    assert run.rows("samples")[-1]["step"] == 5
    assert run.snapshots()[-1][0] == 5
    rows = len(run.rows("metrics"))
    assert train_run(run, data_dir).state == "finished"
    assert len(run.rows("metrics")) == rows


def test_a_finished_run_can_be_extended(data_dir, run):
    train_run(run, data_dir)
    assert not has_steps_left(run)
    extend(run, 6)
    assert has_steps_left(run)
    assert run.status().steps == 18
    train_run(run, data_dir)
    assert (run.status().state, run.status().step) == ("finished", 18)
    assert change_rows(run) == [(12, "train.steps", 18, 12)]
    rates = [row["lr"] for row in run.rows("metrics") if row["step"] > 12]
    assert rates == pytest.approx([run.record().config.train.min_learning_rate] * 3)  # no jump
    with pytest.raises(ConfigError, match="1 step or more"):
        extend(run, 0)
    run.write_status(Status(state="queued"))
    with pytest.raises(RunError, match="has not ended"):
        extend(run, 5)


def test_a_schedule_restart_is_recorded_as_a_change_and_replayed_exactly(data_dir, config):
    broken = RunFolder.create(data_dir, config.replace({"train.warmup_steps": 2}))
    train_run(broken, data_dir)
    extend(broken, 12, "restart")
    train_run(broken, data_dir, on_status=at(17, lambda: send_command(broken, "stop")))
    assert broken.status().state == "stopped"
    assert train_run(broken, data_dir).step == 24
    assert change_rows(broken) == [(12, "train.steps", 24, 12), (12, RESTART, 12, 0)]
    rates = {row["step"]: row["lr"] for row in broken.rows("metrics") if "lr" in row}
    assert [rates[step + 12] for step in range(2, 13, 2)] == [rates[step] for step in range(2, 13, 2)]
    assert (12, SCHEDULE_RESTARTED) in run_facts(broken, data_dir).setting_changes
    fork = fork_config(broken).train
    assert (fork.schedule_start, fork.decay_steps, fork.warmup_steps) == (0, 0, 2)

    straight = RunFolder.create(data_dir, broken.record().config)
    straight.events_path.write_bytes(broken.events_path.read_bytes())
    train_run(straight, data_dir)
    assert course(broken) == course(straight)
    assert broken.weights_path.read_bytes() == straight.weights_path.read_bytes()


def test_a_schedule_restarts_at_the_step_from_which_training_resumes(data_dir, run):
    train_run(run, data_dir, on_status=at(6, lambda: send_command(run, "stop")))
    saved = run.status().step
    run.write_status(run.status().model_copy(update={"state": "failed", "step": saved + 2}))
    extend(run, 10, "restart")
    train_run(run, data_dir)
    assert change_rows(run) == [(saved, "train.steps", saved + 12, 12), (saved, RESTART, saved, 0)]


def test_the_number_of_snapshots_stays_bounded_when_a_run_is_extended(data_dir, run):
    train_run(run, data_dir)
    for _ in range(4):
        extend(run, 20)
        train_run(run, data_dir)
    steps = [step for step, _ in run.snapshots()]
    assert len(steps) <= run.record().config.train.snapshots
    assert (steps[0], steps[-1]) == (0, 92)


def test_single_steps_write_a_step_detail_and_do_not_change_training(data_dir, config):
    straight, stepped = RunFolder.create(data_dir, config), RunFolder.create(data_dir, config)
    train_run(straight, data_dir)
    assert straight.read_step_detail() is None
    seen = []

    def listen(status: Status) -> None:
        if status.state == "paused":
            seen.append(stepped.read_step_detail())
            send_command(stepped, "step" if status.step < 6 else "resume")
        elif status.step == 3:
            send_command(stepped, "pause")

    train_run(stepped, data_dir, on_status=listen)
    details = [step_detail for step_detail in seen if step_detail]
    assert {step_detail.step for step_detail in details} == {4, 5, 6}
    rows = {row["step"]: row for row in stepped.rows("metrics")}
    for step_detail in details:
        assert step_detail.batch_size == len(step_detail.inputs) == len(step_detail.targets) == 2
        assert step_detail.inputs[0][1:] == step_detail.targets[0][:-1]
        losses = [loss for piece in step_detail.losses for loss in piece]
        assert sum(losses) / len(losses) == pytest.approx(step_detail.loss, abs=1e-3)
        assert step_detail.loss == rows[step_detail.step]["loss"]
        assert (
            step_detail.before is not None and step_detail.after is not None and step_detail.before != step_detail.after
        )
        assert {"wte", "h.0.attn", "h.0.mlp"} <= step_detail.gradient_norms.keys() == step_detail.weight_norms.keys()
    same = {row[0]: row for row in course(straight)}
    assert all(row == same.get(row[0], row) for row in course(stepped))
    assert stepped.weights_path.read_bytes() == straight.weights_path.read_bytes()
    cut_after(stepped, 5)
    assert stepped.read_step_detail() is None


def test_runs_from_before_setting_changes_existed_stay_readable(data_dir, run):
    record = json.loads(run.record_path.read_bytes())
    for name in ("parent_step", "machine", "threads", "precision"):
        del record[name]
    run.record_path.write_text(json.dumps(record))
    status = json.loads(run.status_path.read_bytes())
    for name in ("notice", "crashes"):
        del status[name]
    run.status_path.write_text(json.dumps(status))
    assert run.problem is None
    assert config_now(run) == run.record().config
    assert train_run(run, data_dir).state == "finished"
    assert run.record().threads == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"train.optimizer": "muon", "model.qk_norm": True, "model.bigram_start": True, "model.zero_init": True},
        {"train.precision": "bfloat16", "model.dropout": 0.3},
        {"model.kind": "bigram"},
    ],
    ids=["modern", "bfloat16", "bigram"],
)
def test_every_kind_of_run_stopped_between_setting_changes_ends_the_same(data_dir, config, changes):
    broken = RunFolder.create(data_dir, config.replace(changes))
    listeners = [
        at(3, lambda: change_settings(broken, (RATE, 4e-3)), lambda: change_settings(broken, (BATCH, 3))),
        at(7, lambda: send_command(broken, "stop")),
        at(9, lambda: change_settings(broken, (DROPOUT, 0.2)), lambda: change_settings(broken, ("train.steps", 14))),
    ]
    for state in ("stopped", "finished"):
        train_run(broken, data_dir, on_status=lambda status: [listen(status) for listen in listeners])
        assert broken.status().state == state

    straight = RunFolder.create(data_dir, config.replace(changes))
    straight.events_path.write_bytes(broken.events_path.read_bytes())
    train_run(straight, data_dir)
    assert course(broken) == course(straight)
    assert broken.weights_path.read_bytes() == straight.weights_path.read_bytes()
    newest = [max(path.name for path in run.checkpoints.iterdir()) for run in (broken, straight)]
    assert newest[0] == newest[1]  # it ends in the SHA-256 of weights, optimizer and rng
