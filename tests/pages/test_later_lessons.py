"""The lessons on tokens, sudden abilities and scaling laws: answers are checked against computed results."""

import json
import math
import re

import pytest
from streamlit.testing.v1 import AppTest

from core.lessons import LESSONS
from core.lessons.lesson_text import load_prose
from core.lessons.phase_changes import first_step, remainder
from core.paths import gallery_dir
from core.runs.folder import RunFolder
from core.text.bpe import train_merges
from core.text.own_text import save_text
from core.text.tokenizers import BPETokenizer
from explorer.charts.loss import UNITS
from explorer.widgets.address import ROOT
from tests.pages.conftest import run_until_done
from tests.pages.test_learn_gpt import answer, said

POEM = "The fog comes\non little cat feet.\nIt sits looking\nover harbor and cité\n" * 60


@pytest.fixture
def open_step(explorer_home):
    def open_(lesson: str, step: str) -> AppTest:
        app = AppTest.from_file(ROOT / "pages" / "learn.py", default_timeout=60)
        app.query_params.update({"lesson": lesson, "step": step})
        if lesson in ("tokens", "scaling"):
            app.query_params["set"] = f"text:{save_text(POEM, 'Fog', explorer_home).name}"
        return run_until_done(app.run())

    return open_


def numbers_right() -> dict[str, str]:
    merges = train_merges(POEM)
    size = max(size for size in (256, 300, 400, 512) if size <= 256 + len(merges))
    tokens = BPETokenizer.from_merges(merges[: size - 256]).encode(POEM)
    return {"bytes": str(len("lookiné".encode())), "merges": f"{len(POEM.encode()) / len(tokens):.1f}"}


def assert_one_is_right(app: AppTest, options: list[str]) -> None:
    outcomes = []
    for given in options:
        answer(app, given)
        assert not app.exception and len(app.success) + len(app.warning) == 1
        outcomes.append(bool(app.success))
    assert sum(outcomes) == 1


@pytest.mark.parametrize("step", LESSONS["tokens"])
def test_exactly_one_answer_is_right_in_every_step_on_tokens(open_step, step):
    app, right = open_step("tokens", step), numbers_right().get(step, "")
    assert load_prose("tokens", step).title in "".join(title.value for title in app.title)
    assert app.code and "{" not in said(app)
    options = [option.replace("\\", "") for option in app.radio[0].options] if app.radio else ["999", right]
    assert_one_is_right(app, options)


def test_the_compared_models_are_named_by_vocabulary_sizes_that_the_text_allows(open_step):
    app, most = open_step("tokens", "price"), 256 + len(train_merges(POEM))
    assert most < 1024
    named = [option for option in app.radio[0].options if "tokens" in option]
    assert named == [f"{min(384, (256 + most) // 2)} tokens", f"{most} tokens"]


def test_merging_by_hand_shows_the_last_merge_and_the_next_pair(open_step):
    app = open_step("tokens", "pairs")
    first = app.dataframe[0].value.iloc[0]
    app.slider[0].set_value(1).run()
    left, right = first.iloc[0].split(" + ")
    assert f"The last merge made {left}{right}" in said(app)
    app.slider[0].set_value(40).run()
    assert not app.exception and app.dataframe[0].value.iloc[0].iloc[1] <= first.iloc[1]


@pytest.mark.parametrize("step", LESSONS["scaling"])
def test_a_step_on_scaling_laws_asks_for_a_prediction_first(open_step, step):
    app = open_step("scaling", step)
    assert app.code and "{" not in said(app) and "The law predicted" not in said(app)
    if app.radio:
        drawn = json.loads(app.get("plotly_chart")[0].proto.spec)
        assert len(drawn["data"]) == 2  # of three budgets: the reader predicts the whole one
        assert_one_is_right(app, list(app.radio[0].options))
        drawn = json.loads(app.get("plotly_chart")[0].proto.spec)
        assert [trace["name"] for trace in drawn["data"]] == ["quarter", "half", "whole budget"]
        return
    answer(app, "99")
    right = re.search(r"(?:reached|By) \*\*([\d.]+)\*\*", said(app))[1]
    assert app.warning and (step != "prediction" or "The law predicted" in said(app))
    assert answer(app, right).success


def generalized() -> int:
    rows = [row for row in RunFolder(gallery_dir() / "gallery-grokking").rows("metrics") if "val_accuracy" in row]
    return next(row["step"] for row in rows if row["val_accuracy"] >= 0.5)


@pytest.mark.parametrize("step", LESSONS["sudden"])
def test_exactly_one_answer_is_right_in_every_step_on_sudden_abilities(open_step, step):
    app = open_step("sudden", step)
    assert load_prose("sudden", step).title in "".join(title.value for title in app.title)
    assert app.code and app.get("plotly_chart") and "{" not in said(app)
    assert not [box for box in app.selectbox if box.key == "lesson-text"]  # the models are the gallery's
    assert not [text for slider in app.select_slider for text in slider.options if re.fullmatch(r"\d{4,}", text)]
    right = {"grokking": str(generalized() + 20), "circle": "17"}.get(step)
    options = list(app.radio[0].options) if app.radio else ["999999", right]
    assert_one_is_right(app, options)


def test_the_gallery_models_generalize_as_the_lesson_says(open_step):
    rows = [row for row in RunFolder(gallery_dir() / "gallery-grokking").rows("metrics") if "val_accuracy" in row]
    memorized = next(row for row in rows if row["train_accuracy"] >= 0.99)
    assert (
        memorized["val_accuracy"] < 0.2 and memorized["val_loss"] > math.log(59) / 2
    )  # of a guess: the newline after the sum is certain
    assert rows[-1]["val_accuracy"] == 1 and generalized() > 1.5 * memorized["step"]
    app = open_step("sudden", "circle")
    share = int(said(app).split("Together the five strongest have ")[1].split(" %")[0].split("%")[0])
    app.select_slider[0].set_value(0).run()
    assert share > 2 * int(said(app).split("Together the five strongest have ")[1].split(" %")[0].split("%")[0])


def test_losses_are_drawn_in_the_last_chosen_unit(open_step):
    app = open_step("sudden", "induction")
    last = RunFolder(gallery_dir() / "gallery-induction").rows("metrics")[-1]
    for unit, loss in {"bits": last["val_bits_per_byte"], "choices": math.exp(last["val_loss"])}.items():
        app.session_state["lesson-sudden-induction-unit"] = unit
        drawn = json.loads(app.run().get("plotly_chart")[0].proto.spec)
        assert UNITS[unit] in drawn["layout"]["yaxis"]["title"]["text"]
        assert drawn["data"][0]["y"][-1] == pytest.approx(loss, abs=1e-6)
    app.button(key="lesson_next").click().run()
    assert "perplexity" in app.get("plotly_chart")[1].proto.spec


def test_the_first_step_at_a_level_and_the_remainder_of_a_sum_are_computed():
    assert first_step([0, 10, 20], [0.1, 0.5, 0.4], 0.5) == 10 and first_step([0], [0.1], 0.5) == -1
    assert remainder(40, 30, 59) == 11
