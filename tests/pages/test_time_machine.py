"""Look inside at every moment of a training: with our own routes drawn in the browser, without them by the page."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.runs.folder import RunFolder
from explorer.services import jobs, shared
from explorer.widgets.address import ROOT


@pytest.fixture
def app(explorer_home) -> AppTest:
    return AppTest.from_file(ROOT / "pages" / "look_inside.py", default_timeout=60)


@pytest.fixture
def live(app):
    """The same with our own routes beside the pages."""
    shared.serve_live_streams()
    yield app
    shared.serve_live_streams(False)
    jobs._thread.submit(lambda: None).result()  # what a section has begun ends before its run is taken away
    jobs._jobs.clear()


def clocks(app: AppTest) -> list[dict]:
    """What every component that moves was given."""
    data = [json.loads(component.proto.json or "{}") for component in app.get("bidi_component")]
    return [one for one in data if "moments" in one]


def without_history(folder: RunFolder) -> None:
    for _, path in folder.snapshots():
        path.unlink()


def test_without_routes_a_plain_slider_chooses_the_moment(app, finished_run):
    app.run()
    slider = app.select_slider(key="time_step")
    assert slider.options == [f"step {step}" for step in finished_run.moments()] and slider.value == 20
    slider.set_value(finished_run.moments()[1]).run()
    assert not app.exception
    assert app.query_params["step"] == str(finished_run.moments()[1])
    assert f"step {finished_run.moments()[1]} of 20" in str([caption.value for caption in app.caption])
    app.select_slider(key="time_step").set_value(20).run()
    assert not app.exception and "step" not in app.query_params


@pytest.mark.parametrize(("asked", "place"), [("0", 0), ("1", 1), ("19", -2), ("999", -1), ("x", -1), ("-3", -1)])
def test_an_address_opens_the_moment_or_the_kept_one_before_it(live, finished_run, asked, place):
    live.query_params.update({"run": finished_run.id, "step": asked})
    live.run()
    assert not live.exception
    moments = finished_run.moments()
    assert {clock["step"] for clock in clocks(live)} == {moments[place]}
    assert all(clock["moments"] == moments and clock["anchor"] == 20 for clock in clocks(live))


def test_every_section_is_of_the_moment(live, finished_run):
    live.query_params.update({"run": finished_run.id, "step": "0"})
    live.run()
    for view in live.segmented_control(key="inspect_view").options:
        live.segmented_control(key="inspect_view").set_value(view).run()
        assert not live.exception, view
        assert clocks(live)[0]["step"] == 0


def test_a_run_without_history_has_no_slider_and_the_same_views(live, finished_run):
    without_history(finished_run)
    live.run()
    assert not live.exception
    assert clocks(live) and all(clock["moments"] == [20] for clock in clocks(live))
    assert not any("note" in clock for clock in clocks(live))
    assert "step 20 of 20" in str([caption.value for caption in live.caption])


def test_another_moment_and_another_run_stand_beside_it(live, add_run):
    older, newer = add_run("patient-otter"), add_run("busy-bee")
    live.query_params["run"] = older.id
    live.run()
    beside = live.selectbox(key="compare_with")
    assert beside.options == ["another moment of this run", "busy-bee"] and beside.value is None
    for chosen, step in ((older.id, 0), (newer.id, 20)):
        live.selectbox(key="compare_with").set_value(chosen).run()
        assert not live.exception
        assert live.query_params["with"] == chosen
        others = [clock for clock in clocks(live) if clock["side"] == "b"]
        assert {(clock["run"], clock["step"]) for clock in others} == {(chosen, step)}
        assert len(others) == len([clock for clock in clocks(live) if clock["side"] == "a"]) == 7
    without_history(newer)
    live.run()
    assert not live.exception


def test_a_run_beside_it_that_is_gone_is_left_out(live, finished_run):
    live.query_params["with"] = "../../etc"
    live.run()
    assert not live.exception
    assert {clock["side"] for clock in clocks(live)} == {"a"}


def test_the_anchor_of_a_run_that_trains_stays_for_a_while(live, running_run):
    live.query_params["run"] = running_run.id
    live.run()
    assert {clock["anchor"] for clock in clocks(live)} == {running_run.moments()[-1]}


def test_a_moment_that_was_not_kept_is_said_to_be_another(live, finished_run):
    kept = finished_run.moments()
    between = next(step for step in range(kept[0], kept[-1]) if step not in kept)
    live.query_params.update({"run": finished_run.id, "step": str(between)})
    live.run()
    nearest = max(step for step in kept if step < between)
    said = f"The weights of step {between} were not kept: this is step {nearest}, the nearest before it."
    assert said in [caption.value for caption in live.caption]
