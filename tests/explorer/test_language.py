"""The app's own sentences go through one door, and come out in the language on view."""

import shutil

import pytest
from streamlit.testing.v1 import AppTest

from core.lessons import prose
from explorer.components._assets import sentences_of
from explorer.frames import Asked, make_frame
from explorer.language import say
from explorer.state import ROOT
from tests.words import FILE, collect, python_sentences, template


@pytest.fixture
def backwards(tmp_path, monkeypatch):
    """A second language, whose sentences stand in brackets."""
    folder = tmp_path / "lessons"
    shutil.copytree(FILE.parent.parent, folder)
    (folder / "xx").mkdir()
    (folder / "xx" / "app.md").write_text("\n\n".join(["#", *(f"## {words}\n⟦{words}⟧" for words in collect())]))
    (folder / "xx" / "words.md").write_text("# Words\n\n## language\nXish\n")
    monkeypatch.setattr(prose, "_FOLDER", folder)
    prose._read.cache_clear()
    yield
    prose._read.cache_clear()


def test_the_file_for_translators_holds_every_sentence():
    assert FILE.read_text("utf-8") == template(), "run `make words`"


def test_a_sentence_can_stand_in_a_heading():
    for sentence in collect():
        assert sentence == " ".join(sentence.split()), sentence


def test_marks_are_found():
    assert python_sentences('say("a {b}", b=1); TABLE = {1: later("c" "d")}; say(TABLE[1]); x.say("e")') == [
        "a {b}",
        "cd",
    ]
    assert sentences_of('say("one"); say("two \\"quoted\\""); essay("three"); say(name)') == ["one", 'two "quoted"']


def test_outside_of_a_session_it_is_english():
    assert say("{count} steps", count="{x}") == "{x} steps"


def test_a_language_is_asked_for_in_the_address_and_stays(backwards, explorer_home):
    app = AppTest.from_file(str(ROOT / "explorer" / "app.py"), default_timeout=60)
    app.query_params["language"] = "xx"
    app.run()
    assert not app.exception
    assert "⟦Build⟧" in [caption.value for caption in app.sidebar.caption]
    del app.query_params["language"]
    app.run()
    assert "⟦Build⟧" in [caption.value for caption in app.sidebar.caption]
    choice = next(one for one in app.sidebar.get("button_group") if one.key == "language_choice")
    choice.set_value("en").run()
    assert "Build" in [caption.value for caption in app.sidebar.caption]


def test_a_frame_of_the_time_machine_is_told_in_the_language_asked_for(backwards, finished_run):
    step = finished_run.moments()[-1]
    assert make_frame(finished_run, Asked(step, "To be", language="xx"))["next"]["words"].startswith("⟦")
    assert not make_frame(finished_run, Asked(step, "To be"))["next"]["words"].startswith("⟦")
