import hashlib

import pytest

from core.errors import TextError
from core.text import corpora
from core.text.corpora import catalogue, find_corpus, load_corpus, python_source, text_hash


def test_the_catalogue_begins_with_what_comes_with_the_lab(tmp_path):
    entries = catalogue(tmp_path)
    assert [entry.name for entry in entries] == ["shakespeare", "tinyshakespeare", "python", "repeats"]
    assert all(entry.title and entry.language and entry.license and entry.description for entry in entries)
    assert [entry.download for entry in entries] == [False, True, False, False]


@pytest.mark.parametrize("name", ["shakespeare", "python", "repeats"])
def test_the_catalogue_knows_the_true_size(tmp_path, name):
    assert find_corpus(name, tmp_path).characters == len(load_corpus(name, tmp_path))


@pytest.mark.parametrize("name", ["nosuch", "", "../x", "text-0123456789abcdef"])
def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path, name):
    for function in (find_corpus, load_corpus):
        with pytest.raises(TextError, match="There is no text called .* The texts are: shakespeare, tinyshakespeare"):
            function(name, tmp_path)


def test_loading_again_does_no_work(tmp_path):
    assert load_corpus("shakespeare", tmp_path) is load_corpus("shakespeare", tmp_path)


def test_tiny_shakespeare_is_taken_from_its_download(tmp_path, monkeypatch):
    text = "First Citizen:\nBefore we proceed any further, hear me speak.\n"
    monkeypatch.setattr(corpora, "TINY_SHAKESPEARE_SHA256", hashlib.sha256(text.encode()).hexdigest())
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "tinyshakespeare.txt").write_text(text)
    assert not find_corpus("tinyshakespeare", tmp_path).download
    assert load_corpus("tinyshakespeare", tmp_path) == text


def test_pythons_library_is_ascii_source_of_bounded_size(tmp_path):
    text = load_corpus("python", tmp_path)
    assert 1_000_000 < len(text) < 7_000_000
    assert text.isascii() and "\r" not in text and "\0" not in text
    assert "import argparse" in text and "\ndef " in text


def test_a_python_without_source_is_said_to_be_so(tmp_path):
    with pytest.raises(TextError, match="this Python was installed without it"):
        python_source(tmp_path)


def test_source_that_is_not_ascii_is_left_out(tmp_path):
    (tmp_path / "b.py").write_bytes(b"\nb = 1\r\n\r\n")
    (tmp_path / "a.py").write_text("a = 1")
    (tmp_path / "c.py").write_text("c = 'é'", encoding="utf-8")
    assert python_source(tmp_path) == "a = 1\n\nb = 1\n"


def test_the_hash_is_that_of_the_utf8_bytes():
    assert text_hash("é") == hashlib.sha256(b"\xc3\xa9").hexdigest()


def test_words_are_written_twice_and_their_letters_differ(tmp_path):
    lines = load_corpus("repeats", tmp_path).splitlines()
    for word, again in map(str.split, lines):
        assert word == again and len({*word}) == len(word)
