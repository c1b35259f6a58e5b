"""The GPT lesson: every step runs on the page, and answers are checked against computed results."""

import json
import re

import pytest
from streamlit.testing.v1 import AppTest

from core.lessons import LESSONS
from core.lessons.lesson_text import load_prose
from core.lessons.quick_train import MODERN_PARTS
from core.text.own_text import save_text
from explorer.services import jobs
from explorer.widgets.address import ROOT
from tests.components import wait_for_jobs
from tests.pages.conftest import run_until_done

POEM = "The fog comes\non little cat feet.\nIt sits looking\nover harbor and city\n" * 40
RIGHT = {  # if the text does not decide
    "averaging": "0.2",
    "scaling": "16",
    "positions": "yes",
    "today": "1,536",
    "likeliest": "likeliest",
}


@pytest.fixture
def open_step(explorer_home):
    """Return a function that opens a step on a short text, whose models train quickly, and waits for them."""

    def open_(step: str, **query: str) -> AppTest:
        corpus = save_text(POEM, "Fog", explorer_home)
        app = AppTest.from_file(ROOT / "pages" / "learn.py", default_timeout=60)
        values = ";".join(filter(None, (f"text:{corpus.name}", query.pop("set", ""))))
        app.query_params.update({"lesson": "gpt", "step": step, "set": values, **query})
        return run_until_done(app.run())

    return open_


def said(app: AppTest) -> str:
    kinds = ("markdown", "caption", "success", "warning")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind)).replace("\\", "")


def charts(app: AppTest) -> dict[str, dict]:
    return {chart.proto.id.rsplit("-", 1)[-1]: json.loads(chart.proto.spec) for chart in app.get("plotly_chart")}


def answer(app: AppTest, given: str) -> AppTest:
    if app.radio:
        given = re.sub(r"(?<=[·⏎⇥]) \([a-z ]+\)", "", given)  # the option without the name that is shown after it
        app.radio[0].set_value(given)
    else:
        next(box for box in app.text_input if box.key.startswith("question")).set_value(given)
    return next(button for button in app.button if button.label == "Check").click().run()


def test_numbers_of_a_table_are_below_each_other(open_step):
    (table,) = open_step("averaging").dataframe
    columns = json.loads(table.proto.columns)
    right = {name for name, column in columns.items() if column.get("alignment") == "right"}
    assert right == {"its number", "mean, by loop", "mean, by matrix", "mean, by softmax"}


@pytest.mark.parametrize("step", LESSONS["gpt"])
def test_every_step_runs_and_exactly_one_option_is_right(open_step, step):
    app = open_step(step)
    assert load_prose("gpt", step).title in "".join(title.value for title in app.title)
    assert app.code and app.get("plotly_chart") and "{" not in said(app)
    shown = len(app.get("plotly_chart")) + len(app.markdown) + len(app.dataframe)
    options = (
        [shown.replace("\\", "") for shown in app.radio[0].options] if app.radio else ["999"]
    )  # without Markdown escapes
    outcomes = []
    for given in options:
        answer(app, given)
        assert not app.exception and len(app.success) + len(app.warning) == 1
        outcomes.append(bool(app.success))
        if app.warning:
            assert len(app.get("plotly_chart")) + len(app.markdown) + len(app.dataframe) > shown
    assert sum(outcomes) == bool(app.radio)
    if RIGHT.get(step):
        assert answer(app, load_prose("gpt", step).parts.get(RIGHT[step], RIGHT[step])).success


def test_three_ways_to_average_agree_and_a_score_changes_the_softmax_weights(open_step):
    app = open_step("averaging", set="word:cat")
    table = app.dataframe[0].value
    assert (table.iloc[:, 2] == table.iloc[:, 3]).all() and (table.iloc[:, 3] == table.iloc[:, 4]).all()
    app.slider[0].set_value(4.0).run()
    assert "at the last position is 96%" in said(app)  # e^4 / (e^4 + 2)


def test_the_products_of_an_attention_score_add_up_and_are_scaled(open_step):
    app = open_step("attention", set="sentence:on little cat")
    drawn = charts(app)
    products, weights = drawn["lesson_products"]["data"][0]["y"], drawn["lesson_row"]["data"][0]["y"]
    assert f"The sum is {sum(products):.2f}" in said(app) and sum(weights) == pytest.approx(1)
    assert f"attention score of **{sum(products) / len(products) ** 0.5:.2f}**" in said(app)


def test_the_ladder_has_every_rung_and_links_every_modern_part(open_step):
    app = open_step("ladder")
    (ladder,) = charts(app).values()
    assert ladder["layout"]["yaxis"]["ticktext"][0].strip() == "uniform guess"
    assert len(ladder["layout"]["yaxis"]["ticktext"]) == len(ladder["data"]) / 2 == 11
    assert said(app).count("parameters):") == 8
    links = re.findall(r"train\?preset=gpt-tiny&set=([a-z_]+\.[a-z_]+):", said(app))
    assert links == [path for changes in MODERN_PARTS.values() for path in changes]


def test_a_stopped_ladder_shows_no_progress_and_can_be_restarted(explorer_home):
    corpus = save_text(POEM + "Another text.", "Fog", explorer_home)
    app = AppTest.from_file(ROOT / "pages" / "learn.py", default_timeout=60)
    app.query_params.update({"lesson": "gpt", "step": "ladder", "set": f"text:{corpus.name}"})
    jobs._turns.take()  # another job is running
    app.run()
    assert "Training one model after another" in app.get("progress")[0].proto.text
    next(button for button in app.button if button.label == "Stop").click().run()
    jobs._turns.end()
    wait_for_jobs()
    app.run()
    assert not app.exception and not app.get("progress")
    assert "Stopped before it was done." in said(app) and "Begin again" in [button.label for button in app.button]


def test_shuffling_the_context_changes_the_output_only_with_position_encoding(open_step):
    app = open_step("positions", set="typed:little")
    assert "identical down to the last digit" in said(app)
    app = open_step("positions", set="typed:little;kind:rope")
    assert "percentage points" in said(app)


def test_switches_without_a_modern_part_give_the_same_model(open_step):
    app = open_step("today", set="position:learned;activation:relu;norm:layer")
    table = app.dataframe[0].value
    assert table.iloc[2, 1] == table.iloc[0, 1]  # only the lecture's parts: the same model
    assert len(set(table.iloc[:, 2])) == 2


def test_top_k_of_one_and_a_small_top_p_leave_one_token(open_step):
    app = open_step("choosing", set="k:1")
    assert "tokens remaining: 1." in said(app)
    app = open_step("choosing", set="p:0.05;temperature:0.5")
    assert "is now 100%" in said(app)
