"""Home: what the page offers before, during and after a first run."""

import json

import pytest
from streamlit.testing.v1 import AppTest

from core.runs.folder import list_runs
from explorer.widgets.address import NAVIGATION
from explorer.widgets.layout import literal


@pytest.fixture
def app(explorer_home) -> AppTest:
    return AppTest.from_file(NAVIGATION, default_timeout=30)


def words_of(app: AppTest) -> str:
    return "\n".join(
        str(element.value) for kind in ("title", "markdown", "caption", "text") for element in app.get(kind)
    )


def primary_buttons(app: AppTest) -> list[str]:
    return [button.key for button in app.button if button.proto.type == "primary"]


def test_a_newcomer_sees_a_gallery_model_and_one_primary_button(app):
    app.run()
    assert not app.exception
    assert "learned from Shakespeare" in words_of(app) and "of memory" in words_of(app)
    drawn = [json.loads(c.proto.json) for c in app.get("bidi_component") if '"saved_steps"' in c.proto.json]
    assert {(data["run"], data["writes"], data["step"]) for data in drawn} == {("gallery-shakespeare", 14, 6000)}
    assert len(drawn) == 2  # the slider and the picture
    assert primary_buttons(app) == ["start_quick"]
    app.button(key="home_look").click().run()
    assert app.query_params["run"] == "gallery-shakespeare" and app.title[0].value == "Look inside"


def test_one_click_starts_gpt_quick_and_opens_its_run(app, explorer_home):
    app.run()
    app.button(key="start_quick").click().run()
    assert not app.exception
    (folder,) = list_runs(explorer_home)
    assert folder.record().config.preset == "gpt-quick"
    assert app.query_params["run"] == folder.id
    assert folder.status().state in ("queued", "starting", "running")


def test_a_newcomer_can_choose_how_many_minutes_to_train(app, explorer_home):
    app.run()
    app.select_slider(key="start_timed_minutes").set_value(1).run()
    assert app.button(key="start_timed").label == "Train for 1 minute"
    app.button(key="start_timed").click().run()
    assert not app.exception
    (folder,) = list_runs(explorer_home)
    assert folder.record().config.preset == "gpt-fast" and app.query_params["run"] == folder.id


def test_a_second_click_before_the_page_changes_starts_no_second_run(explorer_home):
    def twice():
        import streamlit as st

        from explorer.home.run_cards import start_first_run
        from explorer.widgets import session

        number = session.ticket("start_quick")
        start_first_run(number)
        first = session.click_result("start_quick")
        start_first_run(number)
        st.text(f"{first == session.click_result('start_quick')} {first}")

    app = AppTest.from_function(twice, default_timeout=30).run()
    (folder,) = list_runs(explorer_home)
    assert app.text[0].value == f"True {folder.id}"


@pytest.mark.parametrize("preset", ["gpt-quick", "gpt-fast"])
def test_while_the_first_run_trains_the_primary_button_opens_it(app, add_run, preset):
    folder = add_run("busy-bee", state="running", step=10, seconds_left=5.0)
    record = folder.record()
    folder.write_record(record.model_copy(update={"config": record.config.model_copy(update={"preset": preset})}))
    app.run()
    assert primary_buttons(app) == ["watch_quick"]
    app.button(key="watch_quick").click().run()
    assert not app.exception and app.query_params["run"] == folder.id


def test_recent_runs_are_listed_with_a_damaged_one(app, finished_run, running_run, damaged_run):
    app.run()
    assert not app.exception
    shown = words_of(app)
    assert "patient-otter" in shown and "busy-bee" in shown
    assert "damaged" in shown
    assert "as uncertain as a uniform choice among" in shown


def test_markup_in_a_run_name_is_not_rendered(app, add_run):
    add_run("<img src=x onerror=alert(1)> **bold** [x](y)")
    app.run()
    assert "<img src=x onerror=alert(1)> **bold** [x](y)" in [text.value for text in app.text]


def test_a_data_folder_that_cannot_be_written_is_reported(app, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("")
    monkeypatch.setenv("GPT_EXPLORER_HOME", str(file))
    app.run()
    assert not app.exception and "cannot write there" in app.error[0].value.replace("\\", "")


def test_the_viewed_run_is_in_the_sidebar_and_in_every_link(app, finished_run):
    app.query_params["run"] = finished_run.id
    app.run()
    assert "patient-otter" in [text.value for text in app.sidebar.text]
    assert "GPT · 2 layers · finished" in [caption.value for caption in app.sidebar.caption]
    links = [link.proto for link in app.sidebar.get("page_link")]
    assert {link.label for link in links} >= {"Home", "Data", "Train", "Generate", "Look inside", "Lessons", "Runs"}
    assert all(link.query_string == f"run={finished_run.id}" for link in links)


def test_the_last_viewed_run_stays_in_the_sidebar_on_a_page_without_a_run(app, finished_run):
    app.query_params["run"] = finished_run.id
    app.run()
    del app.query_params["run"]
    app.run()
    (link,) = [each.proto for each in app.sidebar.get("page_link") if each.proto.label == literal("patient-otter")]
    assert link.query_string == f"run={finished_run.id}" and "train" in link.page


@pytest.mark.parametrize("run_id", ["../../x", "<img src=x onerror=alert(1)>", "20260101-000000-zzzzzzzzzzzz"])
def test_an_address_of_a_missing_run_raises_no_exception(app, run_id):
    app.query_params["run"] = run_id
    app.run()
    assert not app.exception


def test_a_damaged_run_does_not_break_the_sidebar(app, damaged_run):
    app.query_params["run"] = damaged_run.id
    app.run()
    assert not app.exception


def test_a_button_on_home_opens_the_lessons(app):
    app.run().button(key="home_learn").click().run()
    assert not app.exception and app.title[0].value == "Lessons"
