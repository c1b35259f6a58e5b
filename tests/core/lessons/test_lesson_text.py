"""Lesson texts are complete: every step has its parts, every term is in the glossary, every placeholder is known."""

import re
import shutil

import numpy as np
import pytest

from core.errors import ExplorerError
from core.lessons import LESSONS, lesson_text
from core.lessons.lesson_text import (
    PATHS,
    fill,
    glossary,
    languages,
    links,
    load_guide,
    load_prose,
    parse_prose,
    placeholders,
    terms_in,
    word,
)

STEPS = [(lesson, step) for lesson, steps in LESSONS.items() for step in (*steps, *(["lesson"] if steps else []))]


def test_english_is_the_first_language():
    assert languages()[0] == "en"


@pytest.mark.parametrize(("lesson", "step"), STEPS)
@pytest.mark.parametrize("language", languages())
def test_every_lesson_step_has_all_text_parts_and_uses_only_glossary_terms(lesson, step, language):
    step_prose = load_prose(lesson, step, language)
    assert step_prose.title and step_prose.parts["idea"]
    if step != "lesson":
        assert step_prose.parts.keys() >= {"try", "read on", "expect", "objection"}
    known = glossary(language)
    for name, part in step_prose.parts.items():
        assert part, f"{name} is empty"
        assert not re.search(r"(?<![\w.,])(?!(19|20)\d\d\b)\d{4,}", part), f"{name}: write numbers as in 4,000"
        assert set(terms_in(part)) <= known.keys(), name


@pytest.mark.parametrize("lesson", LESSONS)
@pytest.mark.parametrize("language", languages())
def test_the_stages_of_every_guide_path_add_up_to_its_minutes(lesson, language):
    guide = load_guide(lesson, language)
    assert guide.title and guide.idea
    assert list(guide.paths) == list(PATHS) == [45, 90]
    for minutes, stages in guide.paths.items():
        lines = load_prose(lesson, "guide", language).parts[f"{minutes} minutes"].splitlines()
        assert len(stages) == len(lines) and sum(stage.minutes for stage in stages) == minutes
        assert {step for stage in stages for step in stage.steps} <= set(LESSONS[lesson])
    assert [step for stage in guide.paths[90] for step in stage.steps] == list(LESSONS[lesson])


@pytest.mark.parametrize("language", languages())
def test_the_glossary_is_sorted_and_explains_every_term_it_uses(language):
    known = glossary(language)
    assert list(known) == sorted(known, key=str.lower)
    for term, meaning in known.items():
        assert meaning and set(terms_in(meaning)) <= known.keys(), term


@pytest.mark.parametrize(("lesson", "step"), STEPS)
def test_a_translation_uses_no_placeholder_that_english_lacks(lesson, step):
    english = load_prose(lesson, step).parts
    for language in languages():
        for name, part in load_prose(lesson, step, language).parts.items():
            assert placeholders(part) <= placeholders(english[name])


@pytest.fixture
def sloppy(tmp_path, monkeypatch):
    """A language with missing texts and an unknown placeholder."""
    folder = tmp_path / "lessons"
    shutil.copytree(lesson_text._FOLDER, folder)
    (folder / "de" / "bigram").mkdir(parents=True)
    files = {
        "words.md": "# Worte\n\n## next\n\n## back\nZurück {wohin}\n\n## check\nPrüfen\n",
        "bigram/text.md": "# Was liest es?\n\n## question\n{was}?\n\n## try\nVersuch es.\n",
    }
    for name, text in files.items():
        (folder / "de" / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(lesson_text, "_FOLDER", folder)
    lesson_text._read.cache_clear()
    yield "de"
    lesson_text._read.cache_clear()


def test_missing_or_invalid_translations_fall_back_to_english(sloppy):
    assert [word(name, sloppy) for name in ("next", "back", "check")] == [word("next"), word("back"), "Prüfen"]
    step, english = load_prose("bigram", "text", sloppy), load_prose("bigram", "text")
    assert step.title == "Was liest es?" and step.parts["try"] == "Versuch es."
    assert step.parts["idea"] == english.parts["idea"] and step.parts["question"] == english.parts["question"]


def test_prose_is_parsed_into_a_title_and_named_parts():
    prose = parse_prose("# How?\n\nLike this.\n\nAnd that.\n\n## read on\nA book.\n")
    assert prose == ("How?", {"idea": "Like this.\n\nAnd that.", "read on": "A book."})


def test_placeholders_are_filled_and_braces_kept():
    assert fill("{{{a}}} and {b}", a=1, b="{a}") == "{1} and {a}"
    assert fill("{step}, {size}, {year}", step=4000, size=np.int64(123_456), year="1951") == "4,000, 123,456, 1951"
    assert placeholders("{{a}} {b} {c}") == {"b", "c"}


def test_an_unknown_placeholder_is_an_error_that_names_it():
    with pytest.raises(ExplorerError, match=r"\{loss\}.*a, b"):
        fill("{loss}", a=1, b=2)


def test_a_term_becomes_a_link_with_its_meaning():
    linked = links("A [[batch|batches]] and [[loss]].", lambda term: f"?term={term}")
    assert linked.startswith('A [batches](?term=batch "The sequences of text')
    assert "[loss](?term=loss" in linked and "[[" not in linked


def test_an_unknown_term_is_an_error_that_names_it():
    with pytest.raises(ExplorerError, match="'frobnication'"):
        links("[[frobnication]]", str)


def test_a_language_without_a_folder_falls_back_to_english():
    assert word("next", "xx") == "Next" and load_prose("bigram", "text", "xx") == load_prose("bigram", "text")


def test_an_unknown_word_or_step_is_an_error_that_names_it():
    with pytest.raises(ExplorerError, match="no word called 'hello'"):
        word("hello")
    with pytest.raises(ExplorerError, match=r"bigram/nowhere\.md"):
        load_prose("bigram", "nowhere")
