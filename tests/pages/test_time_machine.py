"""Look inside at every snapshot of a run, drawn in the browser from frames."""

import json
import threading

import pytest
from streamlit.testing.v1 import AppTest

from core.interpretability import Progress
from core.runs.folder import RunFolder
from core.runs.weights import steps_with_weights
from explorer.charts.health import FIGURES, HISTOGRAMS
from explorer.services import jobs
from explorer.widgets.address import ROOT
from tests.components import wait_for_jobs


@pytest.fixture
def app(explorer_home) -> AppTest:
    return AppTest.from_file(ROOT / "pages" / "look_inside.py", default_timeout=60)


def clocks(app: AppTest) -> list[dict]:
    """Return the data of every component that follows the time machine."""
    data = [json.loads(component.proto.json or "{}") for component in app.get("bidi_component")]
    return [one for one in data if "saved_steps" in one]


def without_history(folder: RunFolder) -> None:
    for _, path in folder.snapshots():
        path.unlink()


@pytest.mark.parametrize(("wanted", "place"), [("0", 0), ("1", 1), ("19", -2), ("999", -1), ("x", -1), ("-3", -1)])
def test_an_address_opens_its_step_or_the_nearest_saved_one_before_it(app, finished_run, wanted, place):
    app.query_params.update({"run": finished_run.id, "step": wanted})
    app.run()
    assert not app.exception
    saved = steps_with_weights(finished_run)
    assert {clock["step"] for clock in clocks(app)} == {saved[place]}
    assert all(clock["saved_steps"] == saved and clock["anchor"] == 20 for clock in clocks(app))


def test_every_section_shows_the_chosen_step(app, finished_run):
    app.query_params.update({"run": finished_run.id, "step": "0"})
    app.run()
    for view in app.segmented_control(key="inspect_view").options:
        app.segmented_control(key="inspect_view").set_value(view).run()
        assert not app.exception, view
        assert clocks(app)[0]["step"] == 0


def test_head_scores_stay_until_those_of_the_next_step_are_computed(app, finished_run):
    def captions() -> str:
        return str([caption.value for caption in app.run().caption])

    app.query_params.update({"run": finished_run.id, "view": "Heads"})
    app.run()
    wait_for_jobs()
    assert "These are the scores" not in captions()
    go_on = threading.Event()

    def other_work():  # this job runs first
        go_on.wait(20)
        yield Progress(1, 1, None)

    jobs.job("other work", other_work)
    app.query_params["step"] = "0"
    assert "These are the scores of step 20." in captions() and app.get("plotly_chart")
    go_on.set()
    wait_for_jobs()
    assert not app.exception and "These are the scores" not in captions()


def test_a_run_without_snapshots_has_the_same_views_and_no_slider(app, finished_run):
    without_history(finished_run)
    app.run()
    assert not app.exception
    assert clocks(app) and all(clock["saved_steps"] == [20] for clock in clocks(app))
    assert not any("note" in clock for clock in clocks(app))
    assert "step 20 of 20" in str([caption.value for caption in app.caption])


def test_another_step_or_another_run_can_be_compared_side_by_side(app, add_run):
    older, newer = add_run("patient-otter"), add_run("busy-bee")
    app.query_params.update({"run": older.id, "view": "Attention"})
    app.run()
    other = app.selectbox(key="compare_with")
    assert other.options[:2] == ["another step of this run", "busy-bee"] and other.value is None
    for chosen, step in ((older.id, 0), (newer.id, 20)):
        app.selectbox(key="compare_with").set_value(chosen).run()
        assert not app.exception
        assert app.query_params["with"] == chosen
        others = [clock for clock in clocks(app) if clock["side"] == "b"]
        assert {(clock["run"], clock["step"]) for clock in others} == {(chosen, step)}
        assert len(others) == len([clock for clock in clocks(app) if clock["side"] == "a"]) == 7
    without_history(newer)
    app.run()
    assert not app.exception


def test_a_missing_run_to_compare_with_is_left_out(app, finished_run):
    app.query_params["with"] = "../../etc"
    app.run()
    assert not app.exception
    assert {clock["side"] for clock in clocks(app)} == {"a"}


def test_the_anchor_of_a_run_in_training_is_its_newest_step_with_weights(app, running_run):
    app.query_params["run"] = running_run.id
    app.run()
    assert {clock["anchor"] for clock in clocks(app)} == {steps_with_weights(running_run)[-1]}


def test_a_step_without_a_snapshot_is_replaced_with_a_note(app, finished_run):
    kept = steps_with_weights(finished_run)
    between = next(step for step in range(kept[0], kept[-1]) if step not in kept)
    app.query_params.update({"run": finished_run.id, "step": str(between)})
    app.run()
    nearest = max(step for step in kept if step < between)
    said = f"Step {between} has no snapshot: this is step {nearest}, the nearest before it."
    assert said in [caption.value for caption in app.caption]


def test_training_health_follows_the_steps_and_is_compared_with_another_run(app, add_run):
    older, newer = add_run("patient-otter"), add_run("busy-bee")
    app.query_params.update({"run": older.id, "view": "Health"})
    app.run()
    assert not app.exception
    cards = {clock["name"]: clock for clock in clocks(app) if "words" in clock}
    assert list(cards) == ["health-summary", *(f"health-{name}" for name in FIGURES)]
    steps = [health.step for health in older.health()]
    for card in cards.values():
        assert card["steps"] == steps and len(card["words"]) == len(steps)
        assert not card["figure"] or (json.loads(card["figure"])["data"] and len(card["moves"]) == len(steps))
    app.query_params["with"] = newer.id
    app.run()
    assert not app.exception
    sides = [(clock["name"], clock["side"]) for clock in clocks(app) if "words" in clock]
    assert sorted(sides) == sorted((name, side) for name in cards for side in ("a", "b"))
    shared = [clock for clock in clocks(app) if clock.get("compared")]
    assert {clock["name"] for clock in shared} == {f"health-{name}" for name in HISTOGRAMS}
    assert all(clock["compared"]["side"] != clock["side"] for clock in shared)


def test_a_run_without_health_measurements_is_reported(app, finished_run):
    finished_run.health_path.unlink()
    app.query_params.update({"run": finished_run.id, "view": "Health"})
    app.run()
    assert not app.exception and not [clock for clock in clocks(app) if "words" in clock]
    assert any("has no measurements of its training's health" in info.value for info in app.info)
