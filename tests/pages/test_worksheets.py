"""Worksheets and guides: the printed answer to every question is the one that the lesson's page accepts."""

import html
import re

import pytest
from starlette.testclient import TestClient
from streamlit.testing.v1 import AppTest

from core.lessons import LESSONS
from core.lessons.lesson_text import load_prose
from core.text.own_text import save_text
from explorer.learn import experiments
from explorer.learn.lessons import steps_of
from explorer.learn.printed import printed_steps
from explorer.widgets.address import page_file
from tests.components import wait_for_jobs
from tests.pages.conftest import run_until_done
from tests.pages.test_learn_gpt import answer

POEM = "The fog comes\non little cat feet.\nIt sits looking\nover harbor and cité\n" * 60


def printed(lesson: str, corpus: str, names: tuple[str, ...] = ()):
    """Return the printed steps of a lesson after all their computations."""
    steps = {name: step for name, step in steps_of(lesson).items() if not names or name in names}
    made = printed_steps(lesson, steps, corpus, "en")
    while not all(step.is_ready for step in made):
        assert not any(step.problem for step in made)
        wait_for_jobs()
        made = printed_steps(lesson, steps, corpus, "en")
    return {step.name: step for step in made}


def open_step(lesson: str, step: str, corpus: str, more: str = "") -> AppTest:
    app = AppTest.from_file(page_file("learn"), default_timeout=60)
    app.query_params.update({"lesson": lesson, "step": step, "set": f"text:{corpus}{more}"})
    return app.run()


def plain(markdown: str) -> str:
    return re.sub(r"\\(.)", r"\1", markdown)


@pytest.mark.parametrize("lesson", [lesson for lesson in LESSONS if lesson != "break"])
def test_every_answer_in_a_guide_is_accepted_by_its_lesson(lesson, explorer_home):
    corpus = save_text(POEM, "Fog", explorer_home).name
    made = printed(lesson, corpus)
    assert list(made) == list(LESSONS[lesson])
    for name, step in made.items():
        (question,) = step.questions
        assert question.words and step.why and step.title == load_prose(lesson, name).title
        assert (question.answer in question.options) == bool(question.options)
        app = answer(run_until_done(open_step(lesson, name, corpus)), plain(question.answer).replace("−", "-"))
        assert len(app.success) == 1, (name, question)


def test_the_printed_results_of_experiments_are_right_predictions_on_the_page(explorer_home, monkeypatch):
    monkeypatch.setattr(experiments, "FIRST_STEPS", 5)
    corpus = save_text(POEM, "Fog", explorer_home).name
    for name, step in printed("break", corpus, ("mask", "planted")).items():
        app = open_step("break", name, corpus, ";steps:5")
        for part, question in zip(("curve", "kind"), step.questions, strict=True):
            app.radio(f"predict-{part}-{name}").set_value(plain(question.answer))
        app = run_until_done(app.button("break_run").click().run())
        assert len(app.success) == 2 and step.why


def test_worksheet_and_guide_are_complete_pages_without_scripts(client: TestClient, explorer_home):
    corpus = save_text("<b>Fog</b> & *cat* [x](javascript:alert(1)) comes\n" * 60, "<i>Mine</i>", explorer_home).name
    for paper in ("worksheet", "guide"):
        address = f"/api/lessons/bigram/{paper}?text={corpus}"
        while 'http-equiv="refresh"' in (page := client.get(address)).text:
            assert page.status_code == 200
            wait_for_jobs()
        assert "<i>" not in page.text and "&lt;i&gt;Mine" in page.text
        assert not re.search(r"<(b|script|a)[ >]", page.text)
        said = html.unescape(page.text)
        assert all(load_prose("bigram", step).title in said for step in LESSONS["bigram"])
        assert ("Expected answer" in said) == (paper == "guide") == ("A path of 90 minutes" in said)
    for absent in ("bigram/key", "nothing/guide", "bigram/guide?text=gone"):
        assert client.get(f"/api/lessons/{absent}").status_code == 404
