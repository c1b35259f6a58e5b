"""Lessons: every step runs, answers are checked against computed results, and a teacher's link sets and hides."""

import json
import re
import shutil
from itertools import pairwise
from urllib.parse import parse_qsl, urlsplit

import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.import_export.notebooks import NOTEBOOKS
from core.lessons import LESSONS, lesson_text
from core.lessons.lesson_text import glossary, load_prose
from core.text.own_text import save_text
from explorer.learn.bigram.training_text import candidate_words
from explorer.learn.lessons import lessons, steps_of
from explorer.learn.state import StepState, load_data
from explorer.widgets.address import NAVIGATION, ROOT
from tests.pages.conftest import run_until_done

POEM = "The fog comes\non little cat feet.\nIt sits looking\nover harbor and city\n" * 40


@pytest.fixture
def open_step(explorer_home):
    """Return a function that opens a step of the bigram lesson and waits for its background jobs."""

    def open_(step: str | None, lesson: str = "bigram", language: str = "en", **query: str) -> AppTest:
        app = AppTest.from_file(ROOT / "pages" / "learn.py", default_timeout=60)
        app.session_state["language"] = language
        app.query_params.update({"lesson": lesson, **({"step": step} if step else {}), **query})
        return run_until_done(app.run(), shows_errors=True)

    return open_


def said(app: AppTest) -> str:
    kinds = ("markdown", "caption", "success", "warning", "error")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind)).replace("\\", "")


def components(app: AppTest) -> list[dict]:
    return [json.loads(component.proto.json or "{}") for component in app.get("bidi_component")]


def answer(app: AppTest, given: str) -> AppTest:
    if app.radio:
        app.radio[0].set_value(given)
    else:
        next(box for box in app.text_input if box.key.startswith("question")).set_value(given)
    return next(button for button in app.button if button.label == "Check").click().run()


def test_every_step_in_the_outline_of_a_lesson_exists_with_its_prose():
    assert "bigram" in lessons()
    for lesson in lessons():
        assert tuple(steps_of(lesson)) == LESSONS[lesson]
        for name, step in steps_of(lesson).items():
            parts = load_prose(lesson, name).parts
            assert step.answer is None or parts.keys() >= {"question", "right", "wrong"}


def test_without_a_step_all_lessons_are_listed(explorer_home):
    app = AppTest.from_file(ROOT / "pages" / "learn.py", default_timeout=60).run()
    assert not app.exception
    paths = [data for data in components(app) if data.get("listed")]
    assert [path["lesson"] for path in paths] == lessons()
    assert [step[0] for step in paths[0]["steps"]] == list(LESSONS["bigram"])
    app.button(key="begin-bigram").click().run()
    assert app.query_params == {"lesson": "bigram", "step": "text"}


@pytest.mark.parametrize(("lesson", "after"), [*pairwise(LESSONS), (list(LESSONS)[-1], None)])
def test_a_lesson_leads_to_the_next_one_and_the_last_to_the_training_page(explorer_home, lesson, after):
    app = AppTest.from_file(NAVIGATION, default_timeout=60)
    app.query_params.update({"lesson": lesson, "step": LESSONS[lesson][-1]})
    app.switch_page("../pages/learn.py").run()
    assert not app.exception and "That was the last step" in "".join(caption.value for caption in app.caption)
    if after is None:
        app.button(key="lesson_train").click().run()
        assert app.title[0].value == "Train"
    else:
        assert app.button(key="lesson_after").label == f"Next lesson: {load_prose(after, 'lesson').title}"
        app.button(key="lesson_after").click().run()
        assert app.query_params == {"lesson": after, "step": LESSONS[after][0]}
    assert not app.exception


@pytest.mark.parametrize("step", LESSONS["bigram"])
def test_every_step_runs_and_explains_a_wrong_answer(open_step, step):
    app = open_step(step)
    assert load_prose("bigram", step).title in "".join(title.value for title in app.title)
    assert app.code and app.get("expander")
    before = len(app.get("plotly_chart")) + len(app.get("bidi_component")) + len(app.code) + len(app.markdown)
    wrong = answer(app, _wrong(app, step))
    assert not wrong.exception and len(wrong.warning) == 1 and not wrong.success
    after = len(app.get("plotly_chart")) + len(app.get("bidi_component")) + len(app.code) + len(app.markdown)
    assert after > before


def _wrong(app: AppTest, step: str) -> str:
    """Return a wrong answer for Shakespeare's plays with the initial values of a step."""
    if not app.radio:
        return "999"
    options = app.radio[0].options
    space = next((option for option in options if option.startswith("·")), None)
    right = {"text": space, "table": "e", "training": options[1], "writing": options[1], "context": options[0]}
    right["numbers"] = candidate_words(_state("shakespeare"))[0]
    return next(option for option in options if option != right[step])


def _state(name: str) -> StepState:
    return StepState("bigram", "text", load_data(name, ROOT), "en")


RIGHT = {"text": "·", "split": "3", "batch": "32", "table": "e", "loss": "4.14"}


@pytest.mark.parametrize("step", RIGHT)
def test_a_right_answer_is_confirmed_and_marks_the_step_as_done(open_step, step):
    app = answer(open_step(step), RIGHT[step])
    assert len(app.success) == 1 and not app.warning
    (path,) = [data for data in components(app) if "steps" in data]
    assert path["here"] == step and path["right"] == [step]


def test_a_number_with_a_decimal_comma_is_accepted_and_a_formula_is_not(open_step):
    app = open_step("loss")
    assert answer(app, "4,14").success
    assert answer(app, "ln 63").success == [] and "This is not a number yet" in said(app)


def test_the_right_answer_follows_the_sliders(open_step):
    app = open_step("batch", set="pieces:2;block:5")
    assert answer(app, "10").success
    app.slider[0].set_value(3).run()
    assert answer(app, "10").warning and "There are 15" in said(app)


def test_a_teachers_link_sets_and_hides_inputs(open_step):
    app = open_step("batch", set="pieces:2;block:99;strange:1", hide="pieces;text")
    assert [slider.label for slider in app.slider] == ["Sequence length (block size)"]
    assert app.slider[0].value == 12  # clipped to its bounds
    assert not app.selectbox
    (pairs,) = [data for data in components(app) if "x" in data]
    assert (len(pairs["x"]), len(pairs["x"][0])) == (2, 12)
    assert "This link opens the step" not in said(app)  # students cannot make a link themselves


def test_the_link_for_a_class_opens_the_step_with_its_current_inputs(open_step):
    app = open_step("numbers")
    assert "This link opens the step" in said(app)
    app.text_input[0].set_value("Zoë; & co?").run()
    link = next(code.value for code in app.code if "learn?" in code.value)
    query = dict(parse_qsl(urlsplit(link).query))
    assert link.count("%25") == 1  # only what separates two settings is escaped twice
    assert query["lesson"] == "bigram" and query["step"] == "numbers"
    again = open_step("numbers", set=query["set"])
    assert again.text_input[0].value == "Zoë; & co?"


def test_next_drops_the_teachers_values_and_back_restores_them(open_step):
    handed_out = {"set": "pieces:2", "hide": "block"}
    app = open_step("batch", **handed_out)
    app.button(key="lesson_next").click().run()
    assert app.query_params == {"lesson": "bigram", "step": "table"}
    assert not app.get("popover")  # students cannot hand out links
    app.button(key="lesson_back").click().run()
    assert app.query_params == {"lesson": "bigram", "step": "batch"} | handed_out
    assert not app.exception


def test_one_gradient_step_can_be_taken_and_undone(open_step):
    app = open_step("gradient")
    assert app.button(key="lesson_undo").disabled and "no step has been taken" in said(app)
    charts = len(app.get("plotly_chart"))
    app.button(key="lesson_down").click().run()
    assert (
        not app.exception and len(app.get("plotly_chart")) == charts + 2 and "Steps taken on this batch: 1" in said(app)
    )
    (pairs,) = [data for data in components(app) if "x" in data]
    rows = len(set(torch.tensor(pairs["x"]).flatten().tolist()))
    assert f"**{rows}** rows of the table changed" in said(app)
    assert answer(app, str(rows)).success
    app.button(key="lesson_undo").click().run()
    assert "no step has been taken" in said(app)


@pytest.mark.parametrize("step", LESSONS["bigram"])
def test_every_step_runs_on_a_short_own_text(open_step, explorer_home, step):
    corpus = save_text(POEM, "<b>Fog</b> [[loss]] {length}", explorer_home)
    app = open_step(step, set=f"text:{corpus.name}")
    assert not app.error
    assert app.selectbox(key="lesson-text").value == corpus.name


def test_the_question_about_the_tables_asks_about_a_row_that_they_show(open_step):
    app = open_step("table")  # q is the most predictable row, but too rare to be shown
    letter = re.search(r"after \*\*(.)\*\*", said(app))[1]
    tables = [json.loads(drawn.proto.spec) for drawn in app.get("plotly_chart")][:2]
    assert all(f"{letter} " in table["layout"]["yaxis"]["ticktext"] for table in tables)


def test_an_alphabet_too_large_for_a_table_is_refused_in_a_sentence(open_step, explorer_home):
    corpus = save_text("".join(map(chr, range(0x4E00, 0x4E00 + 600))) * 3, "Characters", explorer_home)
    app = open_step("table", set=f"text:{corpus.name}")
    assert "600 different characters" in said(app) and app.selectbox(key="lesson-text").options
    assert app.title and app.get("plotly_chart")  # the step continues with another text


@pytest.mark.parametrize(
    ("lesson", "step", "sentence", "left"),
    [
        ("bigram", "no-such-step", "has no step 'no-such-step'", {"lesson": "bigram", "step": "text"}),
        ("bigramm", "text", "There is no lesson 'bigramm'", {}),
    ],
)
def test_a_misspelled_link_is_reported_and_a_way_to_continue_is_offered(open_step, lesson, step, sentence, left):
    app = open_step(step, lesson=lesson)
    assert sentence in app.error[0].value.replace("\\", "") and app.title[0].value == "Lessons"
    assert app.query_params == {"lesson": lesson, "step": step}
    app.button(key="take_another").click().run()
    assert not app.exception and not app.error and app.query_params == left


def test_a_link_to_a_missing_text_is_reported_until_another_is_chosen(open_step):
    app = open_step("text", set="text:text-gone")
    assert (
        "asks for the text 'text-gone', which is not on this machine" in said(app) and app.title[0].value != "Lessons"
    )
    app.selectbox(key="lesson-text").select_index(1).run()
    assert not app.exception and "text-gone" not in said(app)


def test_the_glossary_starts_with_the_requested_term(open_step):
    app = open_step("loss", lesson="glossary")
    sentence = [text.value for text in app.markdown]
    assert sentence[0].startswith("## loss") and len(sentence) >= len(glossary())


def test_a_second_language_is_a_folder_and_falls_back_to_english(open_step, tmp_path, monkeypatch):
    folder = tmp_path / "lessons"
    shutil.copytree(ROOT / "core" / "lessons" / "text", folder)
    (folder / "de" / "bigram").mkdir(parents=True)
    (folder / "de" / "words.md").write_text("# Worte\n\n## language\nDeutsch\n\n## next\nWeiter\n", encoding="utf-8")
    german = "# Was liest ein Modell?\n\nText, [[loss|nichts als Text]].\n\n## question\nWelches Zeichen?\n"
    (folder / "de" / "bigram" / "text.md").write_text(german, encoding="utf-8")
    monkeypatch.setattr(lesson_text, "_FOLDER", folder)
    lesson_text._read.cache_clear()
    try:
        app = open_step("text", language="de")
        assert app.title[0].value == "Was liest ein Modell?" and app.button(key="lesson_next").label == "Weiter"
        assert "nichts als Text" in said(app) and "Welches Zeichen?" in said(app)
        assert "the space" in answer(app, "·").success[0].value  # English until it is translated
        app.button(key="lesson_next").click().run()
        assert app.query_params == {"lesson": "bigram", "step": "numbers"}
        assert load_prose("bigram", "numbers").title == app.title[0].value  # not translated yet
        assert "language=de" in said(app)  # a link to the glossary, opened elsewhere, keeps the language
    finally:
        lesson_text._read.cache_clear()


def test_every_lesson_with_a_notebook_offers_its_download(explorer_home):
    app = AppTest.from_file(ROOT / "pages" / "learn.py", default_timeout=60).run()
    offered = {button.key for button in app.get("download_button")}
    assert offered == {f"notebook-{lesson}" for lesson in lessons() if lesson in NOTEBOOKS}


def test_words_of_a_text_do_not_collide_with_names_of_parts_of_a_step(open_step, explorer_home):
    """Its five-letter words are offered as answers, and some are also names of parts of the step."""
    corpus = save_text("*right* wrong panel, a text of words. " * 60, "Ours", explorer_home)
    app = open_step("numbers", set=f"text:{corpus.name}")
    assert {"wrong", "panel"} <= set(app.radio[0].options)
    assert answer(app, app.radio[0].options[0]).radio
    assert not app.exception
