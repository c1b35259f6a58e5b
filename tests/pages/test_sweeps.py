"""Sweeps: ranges for settings on Train, and the page of a sweep with and without results."""

import pytest
from streamlit.testing.v1 import AppTest

from core.runs.folder import list_runs
from core.runs.supervisor import Supervisor
from core.runs.worker import train_run
from core.sweeps import rate_finder
from core.sweeps.driver import advance
from core.sweeps.folder import Point, create_sweep, list_sweeps, planned
from core.sweeps.space import grid_points, parse_dimension
from explorer.services import shared
from explorer.widgets.address import NAVIGATION
from tests.components import wait_for_jobs


@pytest.fixture
def page(explorer_home) -> AppTest:
    return AppTest.from_file(NAVIGATION, default_timeout=30).switch_page("../pages/sweeps.py")


@pytest.fixture
def no_slot(explorer_home, monkeypatch) -> Supervisor:
    """Return a supervisor that starts no worker: the tests train in their own process."""
    supervisor = Supervisor(explorer_home, slots=0)
    monkeypatch.setitem(shared._supervisors, explorer_home, supervisor)
    return supervisor


def test_without_a_sweep_the_page_leads_to_train(page):
    page.run()
    assert not page.exception and "empty_state_go" in [button.key for button in page.button]
    page.query_params["sweep"] = "20260101-000000-aaaaaaaaaaaa"
    page.run()
    assert "There is no sweep" in page.error[0].value


def test_a_sweep_shows_its_points_and_charts(page, explorer_home, finished_run, no_slot):
    config = finished_run.record().config.replace({"train.steps": 4, "train.warmup_steps": 0, "train.eval_interval": 2})
    dimensions = [parse_dimension("train.learning_rate=1e-3..1e-1"), parse_dimension("model.n_head=1,2")]
    sweep = create_sweep(explorer_home, planned(config, dimensions, "random", points=3, seeds=2, name="both"))
    while advance(sweep, no_slot).state == "running":
        for run in list_runs(explorer_home):
            if run.status().state == "queued":
                train_run(run, explorer_home)
    page.run()
    assert not page.exception
    said = "".join(element.value for element in page.markdown)
    for title in ("Best recipe", "Parallel coordinates", "Slice plot", "Contour plot", "Importances", "Points"):
        assert title in said
    assert list(page.dataframe[0].value["Point"]) and "± " in said
    page.switch_page("../pages/runs.py").run()
    assert list(page.dataframe[0].value["Name"]) == [finished_run.name]
    page.toggle(key="runs_of_sweeps").set_value(True).run()
    assert len(page.dataframe[0].value) == 7


def test_lists_of_runs_group_the_runs_of_a_sweep(page, explorer_home, finished_run, add_run, no_slot):
    config = finished_run.record().config
    sweep = create_sweep(explorer_home, planned(config, [parse_dimension("model.n_head=1,2")], "grid", name="planned"))
    with sweep.changing() as record:
        runs = [add_run(f"planned {number}") for number in (1, 2)]
        points = [
            Point(values=point, runs=[run.id]) for point, run in zip(grid_points(record.dimensions), runs, strict=True)
        ]
        sweep.write(record.model_copy(update={"points": points, "state": "stopped"}))
    home = page.switch_page("../pages/home.py").run()
    assert not home.exception
    assert [text.value for text in home.text][-2:] == ["planned", finished_run.name]
    look = page.switch_page("../pages/look_inside.py").run()
    chosen = look.selectbox(key="inspect_run")
    assert chosen.value == finished_run.id and not [name for name in chosen.options if "planned" in name]
    chosen.set_value("runs_of_sweeps_listed").run()
    chosen = look.selectbox(key="inspect_run")
    assert chosen.value == finished_run.id and len([name for name in chosen.options if "planned" in name]) == 2
    look.session_state["page-runs_of_sweeps_listed"] = False
    look.query_params["run"] = runs[0].id
    look.run()
    assert look.selectbox(key="inspect_run").value == runs[0].id and not look.exception


def test_a_sweep_over_chosen_settings_starts_from_the_training_page(page, explorer_home, no_slot):
    train = page.switch_page("../pages/train.py")
    train.query_params["set"] = "train.steps:4;train.warmup_steps:0"
    train.run()
    train.multiselect(key="sweep_over").set_value(["train.learning_rate", "model.n_head", "model.n_layer"]).run()
    assert not train.exception
    assert [element.key for element in train.select_slider if element.key.startswith("range-")] == [
        "range-train.learning_rate"
    ]
    train.number_input(key="sweep_points").set_value(2).run()
    train.button(key="sweep_start").click().run()
    assert not train.exception
    (sweep,) = list_sweeps(explorer_home)
    record = sweep.record()
    assert record.total == 2 and record.config.train.steps == 4
    assert [dimension.path for dimension in record.dimensions] == [
        "train.learning_rate",
        "model.n_head",
        "model.n_layer",
    ]


def test_a_range_test_suggests_a_learning_rate_that_one_click_applies(page, explorer_home, no_slot, monkeypatch):
    monkeypatch.setattr(rate_finder, "STEPS", 40)
    train = page.switch_page("../pages/train.py")
    train.query_params["set"] = "model.n_layer:1;model.n_head:1;model.n_embd:16;model.block_size:8"
    train.run()
    train.button(key="rate_test").click().run()
    wait_for_jobs()
    train.run()
    assert not train.exception
    train.button(key="rate_apply").click().run()
    rate = train.select_slider(key="set-train.learning_rate").value
    assert rate != 6e-3 and "The settings have this rate." in [element.value for element in train.caption]


def test_a_scaling_study_needs_enough_sizes_and_is_planned(page, explorer_home, no_slot):
    page.run()
    page.text_input(key="study_sizes").set_value("1x8, 1x16").run()
    assert "4 to 12 different sizes" in page.error[0].value
    page.text_input(key="study_sizes").set_value("1x8, 1x16, 1x24, 2x24").run()
    page.button(key="study_start").click().run()
    assert not page.exception
    (sweep,) = list_sweeps(explorer_home)
    assert sweep.record().total == 24 and sweep.record().budget > 0
