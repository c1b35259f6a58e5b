"""Your first ten minutes: every step of the tour opens an existing page and leads to the next step."""

import pytest
from streamlit.testing.v1 import AppTest

from explorer.home.tour import STEPS
from explorer.widgets.address import NAVIGATION


@pytest.fixture
def app(explorer_home) -> AppTest:
    return AppTest.from_file(NAVIGATION, default_timeout=60)


def bar_of(app: AppTest) -> str:
    """Return the title and instruction in the tour's bar, or "" without a bar."""
    return next((one.value for one in app.main.markdown if f" of {len(STEPS)}: " in one.value), "")


def walk(app: AppTest, run_id: str) -> None:
    for number, step in enumerate(STEPS, start=1):
        assert not app.exception and not app.error
        assert bar_of(app) == f"**{number} of {len(STEPS)}: {step.title}.** {step.sentence}"
        assert app.query_params.get("run") == (run_id if step.of_run else None)
        if number < len(STEPS):
            app.button(key=f"tour_to_{number + 1}").click().run()
    assert app.title[0].value == "Lessons" and not [button for button in app.button if button.label == "Next"]


def test_the_tour_leads_from_home_to_the_lessons_and_back(app):
    app.run()
    assert not bar_of(app)
    app.button(key="home_tour").click().run()
    walk(app, "gallery-shakespeare")
    for number in range(len(STEPS) - 1, 0, -1):
        app.button(key=f"tour_to_{number}").click().run()
        assert not app.exception and bar_of(app).startswith(f"**{number} of")


@pytest.mark.parametrize("step", ["0", "8", "x"])
def test_a_missing_step_of_the_tour_is_reported(app, step):
    app.query_params["tour"] = step
    app.run()
    assert not app.exception and not bar_of(app) and app.query_params["tour"] == step
    assert f"tour='{step}', which is not possible" in app.error[0].value.replace("\\", "")


def test_the_tour_uses_the_users_own_run_if_there_is_one(app, finished_run, damaged_run):
    app.query_params["tour"] = "1"
    app.run()
    walk(app, finished_run.id)


def test_starting_a_run_advances_the_tour(app, running_run):
    app.query_params.update({"tour": "2", "run": running_run.id})
    app.switch_page("../pages/train.py").run()
    assert not app.exception and bar_of(app).startswith("**3 of")
    links = [link.proto.query_string for link in app.sidebar.get("page_link")]
    assert links and all("tour=2" in query for query in links)


def test_the_tour_can_be_left_and_continued_from_home(app):
    app.query_params["tour"] = "5"
    app.run()
    app.button(key="tour_leave").click().run()
    assert not app.exception and not bar_of(app) and "tour" not in app.query_params
    button = app.button(key="home_tour")
    assert button.label == "Go on with your first ten minutes"
    button.click().run()
    assert bar_of(app).startswith("**5 of") and app.title[0].value == "Look inside"


@pytest.mark.parametrize("number", ["0", "99", "x"])
def test_a_missing_step_of_the_tour_shows_no_bar(app, number):
    app.query_params["tour"] = number
    app.run()
    assert not app.exception and not bar_of(app)
