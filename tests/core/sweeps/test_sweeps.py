"""Sweeps with real, tiny runs in this process: search, recovery from a killed process, pruning, stop and resume."""

import json
import shutil

import numpy as np
import pytest

from core.class_records import ClassError
from core.classroom import Classroom
from core.cli import main
from core.errors import ConfigError, ExplorerError, RunError
from core.paths import made_data_dir, member_home
from core.runs.folder import list_runs
from core.runs.worker import train_run
from core.sweeps.driver import SweepDriver, advance, extend_sweep, resume_sweep, stop_sweep
from core.sweeps.folder import (
    SweepFolder,
    create_sweep,
    delete_sweep,
    expected_cost,
    list_sweeps,
    open_sweep,
    planned,
    single_runs,
)
from core.sweeps.results import best_point, importances, narrowed, sweep_results
from core.sweeps.space import Dimension, around, draw_point, grid_points, parse_dimension
from core.text.own_text import save_text
from tests.core.runs.conftest import TEXT, config, idle

__all__ = ["config", "idle"]


@pytest.fixture
def data_dir(tmp_path, measured):
    (tmp_path / "runs").mkdir()
    shutil.copy(measured, tmp_path)
    save_text(TEXT, "Bottles", tmp_path)
    return tmp_path


RATES = parse_dimension("train.learning_rate=1e-3..1e-1")


def drive(sweep, supervisor, most: int = 100) -> None:
    """Train the runs that the sweep queues, one after the other, until it ends."""
    for _ in range(most):
        record = advance(sweep, supervisor)
        waiting = [run for run in sweep.runs(record) if run.status().state == "queued"]
        if not waiting:
            return
        train_run(waiting[0], sweep.data_dir)
        supervisor.queue.remove(waiting[0].id)


@pytest.mark.parametrize(
    ("varied", "says"),
    [
        (["train.learning_rate=1e-2..1e-3"], "must rise"),
        (["train.learning_rate=1e-3..7"], "goes from"),
        (["train.learning_rate=1e-3..x"], "not possible"),
        (["train.learning_rate=0.1"], "only one value"),
        (["model.n_layer=1,2,1"], "twice"),
        (["model.n_layer=1,99"], "from 1 to 48"),
        (["model.norm=1..2"], "has no range"),
        (["model.width=1,2"], "no setting called"),
        (["model.n_layers=1..4"], "no setting called"),
        (["train.learning_rate=0..1e-2"], "goes from"),
        (["train.min_learning_rate=0..1e-2"], "must begin above 0"),
        (["train.learning_rate=nan..1"], "needs two numbers"),
        (["model.n_layer=1..4:1000000000000"], "2 to 50 positions"),
        (["model.n_layer=[1],[2]"], "cannot be"),
        (["model.norm=null,none"], "cannot be"),
        (["train.seed=1,2"], "seeds are chosen"),
        (["model.n_layer=1,2", "model.n_layer=3,4"], "only once"),
        (["train.muon_momentum=0.9,0.95"], "no effect"),
        (["model.n_head=3,5", "model.n_embd=16,32"], "cannot be shared equally"),
        (["model.n_layer"], "needs a setting"),
        ([], "varies 1 to 6"),
    ],
)
@pytest.mark.parametrize("method", ["grid", "tpe"])
def test_invalid_dimensions_are_refused_with_the_reason(config, varied, says, method):
    with pytest.raises(ConfigError, match=says):
        planned(config, [parse_dimension(text) for text in varied], method)


@pytest.mark.parametrize("method", ["grid", "tpe"])
def test_a_choice_without_values_is_refused(config, method):
    with pytest.raises(ConfigError, match="it is a choice"):
        planned(config, [Dimension(path="model.norm")], method)


@pytest.mark.parametrize("method", ["grid", "tpe"])
def test_values_that_are_valid_only_in_combination_make_a_sweep(config, method):
    heads, widths = parse_dimension("model.n_head=3,6"), parse_dimension("model.n_embd=48,96")
    assert config.model.n_embd % 3  # neither list is valid alone
    assert planned(config, [heads, widths], method, points=4).size == 4


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ({"points": 0}, "zero runs"),
        ({"points": 201}, "at most 200"),
        ({"seeds": 0}, "number of seeds"),
        ({"points": 90, "seeds": 3}, "270 runs"),
    ],
)
def test_a_sweep_of_no_or_too_many_runs_is_refused(config, numbers, says):
    with pytest.raises(ConfigError, match=says):
        planned(config, [RATES], "random", **numbers)


def test_grids_are_geometric_or_linear_and_fit_the_setting():
    assert parse_dimension("train.learning_rate=1e-4..1e-1").grid() == [1e-4, 1e-3, 1e-2, 1e-1]
    assert parse_dimension("model.n_layer=1..7:3").grid() == [1, 4, 7]
    assert parse_dimension("model.n_embd=32..256").grid() == [32, 64, 128, 256]
    assert parse_dimension("model.norm=layer,none").grid() == ["layer", "none"]
    assert len(list(grid_points([RATES, parse_dimension("model.n_layer=1,2")]))) == 8


@pytest.mark.parametrize(
    "ends",
    ["model.n_embd=8..2048", "model.block_size=2040..2048", "data.vocab_size=260..32768", "train.beta2=0.999..0.9999",
     "train.learning_rate=1e-6..1", "model.n_layer=1..2", "model.dropout=0..0.9", "train.steps=999999..1000000"],
)  # fmt: skip
def test_the_range_around_any_best_value_is_a_valid_sweep(config, ends):
    base, dimension = config.replace({"data.tokenizer": "bpe", "model.n_head": 1}), parse_dimension(ends)
    for best in dimension.grid():
        near = around(dimension, best)
        assert near.low <= best <= near.high and dimension.setting.low <= near.low and len(near.grid()) > 1
        planned(base, [near], "random")


def test_sampled_points_are_valid_and_distinct(config):
    dimensions = [parse_dimension("model.n_head=2,3,4"), parse_dimension("model.n_embd=16..96")]
    rng, points = np.random.default_rng(0), []
    for _ in range(20):  # of 26
        points.append(draw_point(config, dimensions, rng, points))
        config.replace(points[-1])
    assert len({json.dumps(values) for values in points}) == 20


def test_a_tpe_search_finds_the_better_rate_ranks_importances_and_can_be_extended(data_dir, config, idle):
    record = planned(config, [RATES, parse_dimension("model.n_layer=1,2")], "tpe", points=8, prune=False)
    assert expected_cost(data_dir, record, 30, at_a_time=2).runs == 8
    sweep = create_sweep(data_dir, record)
    drive(sweep, idle)
    record = sweep.record()
    results = sweep_results(sweep, record)
    assert record.state == "finished" and record.reason == ""
    assert [len(point.losses) for point in results] == [1] * 8
    assert len({json.dumps(point.values) for point in results}) == 8
    best = best_point(results)
    assert best.values["train.learning_rate"] > 0.01
    assert record.config_of(best.values).train.learning_rate == best.values["train.learning_rate"]
    assert importances(record, results)[0].path == "train.learning_rate"
    rates = narrowed(record, results)[0]
    assert rates.low < best.values["train.learning_rate"] <= rates.high and rates.high / rates.low < 100
    extend_sweep(sweep, 1)
    drive(sweep, idle)
    assert len(sweep.record().points) == 9 and sweep.record().state == "finished"
    assert {run.record().sweep for run in list_runs(data_dir)} == {sweep.id}


def test_a_grid_with_seeds_runs_every_point_once_even_after_a_killed_process(data_dir, config, idle):
    sweep = create_sweep(data_dir, planned(config, [parse_dimension("model.n_layer=1,2")], "grid", seeds=2))
    before = advance(sweep, idle)
    point = before.points[0]
    sweep.write(before.model_copy(update={"points": [point.model_copy(update={"runs": point.runs[:1]})]}))
    for run in list_runs(data_dir):
        idle.queue.remove(run.id)  # one was recorded but not queued, the other not even recorded
    drive(sweep, idle)
    results = sweep_results(sweep, sweep.record())
    assert len(list_runs(data_dir)) == 4
    assert [point.values["model.n_layer"] for point in results] == [1, 2]
    assert all(len(point.losses) == 2 and point.spread > 0 for point in results)
    with pytest.raises(RunError, match="Extend it"):
        resume_sweep(sweep, idle)


def test_a_stopped_sweep_resumes_where_it_stopped(data_dir, config, idle):
    sweep = create_sweep(data_dir, planned(config, [RATES], "random", points=3))
    driver = SweepDriver(idle)
    driver.check()
    stop_sweep(sweep, idle)
    driver.check()
    assert [run.status().state for run in list_runs(data_dir)] == ["stopped"] * 2
    resume_sweep(sweep, idle)
    drive(sweep, idle)
    assert [point.state for point in sweep_results(sweep, sweep.record())] == ["finished"] * 3
    delete_sweep(sweep)
    assert not list_sweeps(data_dir) and len(list_runs(data_dir)) == 3
    with pytest.raises(RunError, match="There is no sweep"):
        open_sweep(data_dir, sweep.id)


class KilledSweep(SweepFolder):
    """A sweep whose process is killed right after writing the record."""

    def write(self, record):
        super().write(record)
        raise KeyboardInterrupt


def test_stopping_or_resuming_a_sweep_is_completed_after_a_killed_process(data_dir, config, idle):
    sweep = create_sweep(data_dir, planned(config, [RATES], "random", points=2))
    SweepDriver(idle).check()
    for change, state in ((stop_sweep, "stopped"), (resume_sweep, "queued")):
        with pytest.raises(KeyboardInterrupt):
            change(KilledSweep(sweep.path), idle)
        assert {run.status().state for run in list_runs(data_dir)} != {state}
        SweepDriver(idle).check()
        assert [run.status().state for run in list_runs(data_dir)] == [state] * 2
        assert not sweep.record().ended and not sweep.record().pending


def test_a_sweep_resumed_while_its_runs_still_save_resumes_them_too(data_dir, config, idle):
    sweep = create_sweep(data_dir, planned(config, [RATES], "random", points=1))
    advance(sweep, idle)
    run = list_runs(data_dir)[0]

    def stop_and_resume(status):
        if status.step == 4 and sweep.record().state == "running" and not sweep.record().pending:
            stop_sweep(sweep, idle)
            resume_sweep(sweep, idle)

    train_run(run, data_dir, on_status=stop_and_resume)
    assert run.status().state == "stopped"
    drive(sweep, idle)
    assert run.status().state == "finished" and sweep.record().state == "finished"


def test_a_run_above_the_median_is_pruned(data_dir, config, idle):
    rates = Dimension(path="train.learning_rate", values=(0.01, 0.02, 0.03, 0.04, 1e-6))
    sweep = create_sweep(data_dir, planned(config, [rates], "grid", prune=True))
    for _ in range(4):
        advance(sweep, idle)
        train_run(next(run for run in list_runs(data_dir)[::-1] if run.status().state == "queued"), data_dir)
    advance(sweep, idle)
    last = list_runs(data_dir)[0]
    train_run(last, data_dir, on_status=lambda status: advance(sweep, idle))
    assert last.status().state == "stopped" and last.status().step < 12
    assert last.status().reason == f"Stopped by median pruning at step {last.status().step}."
    advance(sweep, idle)
    assert [point.state for point in sweep_results(sweep, sweep.record())] == ["finished"] * 4 + ["pruned"]


def test_a_sweep_without_finished_runs_says_so(data_dir, config, idle):
    sweep = create_sweep(data_dir, planned(config.replace({"train.steps": 4}), [RATES], "random", points=1))
    advance(sweep, idle)
    idle.stop(list_runs(data_dir)[0])
    record = advance(sweep, idle)
    assert record.state == "finished" and record.reason.startswith("No run of this sweep finished: 1 stopped.")
    with pytest.raises(ExplorerError, match="no best one"):
        narrowed(record, sweep_results(sweep, record))


def test_the_sweep_and_sweeps_commands_plan_list_show_and_delete(data_dir, config, idle, capsys, monkeypatch):
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(data_dir))
    vary = ("--corpus", config.data.corpus, "--vary", "model.n_layer=1,2", "--method", "grid")
    small = ("--set", "model.block_size=8", "--set", "train.batch_size=2", "--set", "train.warmup_steps=0")
    assert main(["sweep", *vary, *small, "--steps", "2", "--estimate"]) == 0
    assert capsys.readouterr().out.startswith("2 runs, about ")
    assert main(["sweep", *vary, "--points", "0", "--method", "tpe"]) == 2
    assert "zero runs" in capsys.readouterr().err
    sweep = create_sweep(data_dir, planned(config.replace({"train.steps": 2}), [RATES], "random", points=1, name="one"))
    drive(sweep, idle)
    assert main(["sweeps"]) == 0 and "one" in capsys.readouterr().out
    assert main(["sweeps", "one"]) == 0 and "Best: learning_rate" in capsys.readouterr().out
    assert main(["sweeps", "one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["points"][0]["runs"][0]["state"] == "finished"
    assert main(["runs"]) == 0 and "... and 1 of sweeps" in capsys.readouterr().out
    assert main(["runs", "--all"]) == 0 and "one 1" in capsys.readouterr().out
    assert not list(single_runs(data_dir, list_runs(data_dir)))
    assert main(["sweeps", "one", "--delete"]) == 0 and len(list(single_runs(data_dir, list_runs(data_dir)))) == 1


def test_a_students_sweep_respects_the_limits_of_the_class(data_dir, config, idle):
    known = Classroom(data_dir, "Physics 11b")
    known.join(known.code, "Ada")
    known.join(known.code, "Emmy")
    homes = [member_home(data_dir, member.id) for member in known.members()]
    for home in homes:
        save_text(TEXT, "Bottles", made_data_dir(home))
    known.change(most_running=1, most_waiting=0, most_steps=12)
    sweep = create_sweep(homes[0], planned(config, [RATES], "random", points=4))
    known.change(frozen=True)
    assert not advance(sweep, idle).runs  # the teacher has frozen the class
    known.change(frozen=False)
    SweepDriver(idle).check()
    assert len(sweep.record().runs) == 1 and idle.queue.waiting() == sweep.record().runs
    assert list_runs(homes[0])[0].member and not list_sweeps(homes[1]) and len(list_sweeps(data_dir)) == 1
    with pytest.raises(ClassError, match="allows 12"):
        create_sweep(homes[1], planned(config, [parse_dimension("train.steps=20,40")], "grid"))
