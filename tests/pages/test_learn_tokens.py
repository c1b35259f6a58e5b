"""The lesson on tokenizers: every step runs on the page, and its question is checked from what was computed."""

import pytest
from streamlit.testing.v1 import AppTest

from core.lessons import LESSONS
from core.lessons.lesson_text import load_prose
from core.text.bpe import train_merges
from core.text.own_text import save_text
from core.text.tokenizers import BPETokenizer
from explorer.widgets.address import ROOT
from tests.pages.test_learn_gpt import answer, said, settled

POEM = "The fog comes\non little cat feet.\nIt sits looking\nover harbor and cité\n" * 60


@pytest.fixture
def open_step(explorer_home):
    def open_(step: str) -> AppTest:
        corpus = save_text(POEM, "Fog", explorer_home)
        app = AppTest.from_file(ROOT / "pages" / "learn.py", default_timeout=60)
        app.query_params.update({"lesson": "tokens", "step": step, "set": f"text:{corpus.name}"})
        return settled(app.run())

    return open_


def numbers_right() -> dict[str, str]:
    merges = train_merges(POEM)
    size = max(size for size in (256, 300, 400, 512) if size <= 256 + len(merges))
    tokens = BPETokenizer.from_merges(merges[: size - 256]).encode(POEM)
    return {"bytes": str(len("lookiné".encode())), "merges": f"{len(POEM.encode()) / len(tokens):.1f}"}


@pytest.mark.parametrize("step", LESSONS["tokens"])
def test_a_step_runs_and_its_question_knows_right_from_wrong(open_step, step):
    app, right = open_step(step), numbers_right().get(step, "")
    assert load_prose("tokens", step).title in "".join(header.value for header in app.header)
    assert app.code and "{" not in said(app)
    options = [option.replace("\\", "") for option in app.radio[0].options] if app.radio else ["999", right]
    outcomes = []
    for given in options:
        answer(app, given)
        assert not app.exception and len(app.success) + len(app.warning) == 1
        outcomes.append(bool(app.success))
    assert sum(outcomes) == 1


def test_merging_by_hand_shortens_the_sentence_and_shows_what_comes_next(open_step):
    app = open_step("pairs")
    first = app.dataframe[0].value.iloc[0]
    app.slider[0].set_value(1).run()
    left, right = first.iloc[0].split(" + ")
    assert f"The last merge made {left}{right}" in said(app)
    app.slider[0].set_value(40).run()
    assert not app.exception and app.dataframe[0].value.iloc[0].iloc[1] <= first.iloc[1]
