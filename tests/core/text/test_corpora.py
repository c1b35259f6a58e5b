import hashlib
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants

from core.errors import TextError
from core.text import corpora
from core.text.corpora import catalogue, find_corpus, load_corpus, python_source, text_hash
from core.text.tasks import TASKS
from tests.core.import_export.hub_server import serving

INCLUDED = ["shakespeare", "python", "surnames", "tang-poems", "tunes", "server-log", "dna", *TASKS]


def test_the_catalogue_lists_included_corpora_and_downloads(tmp_path):
    entries = catalogue(tmp_path)
    assert [entry.name for entry in entries if not entry.download] == INCLUDED
    assert all(entry.title and entry.language and entry.license and entry.description for entry in entries)
    assert [entry.name for entry in entries if entry.download] == ["tinyshakespeare", "tinystories", "wikitext"]


@pytest.mark.parametrize("name", INCLUDED)
def test_the_catalogue_has_the_true_size_of_each_corpus(tmp_path, name):
    assert find_corpus(name, tmp_path).characters == len(load_corpus(name, tmp_path))


@pytest.mark.parametrize("name", ["nosuch", "", "../x", "text-0123456789abcdef"])
def test_an_unknown_corpus_is_refused_with_a_list_of_the_known_ones(tmp_path, name):
    for function in (find_corpus, load_corpus):
        with pytest.raises(TextError, match="There is no text called .* The texts are: shakespeare, tinyshakespeare"):
            function(name, tmp_path)


def test_loading_a_corpus_again_returns_the_cached_text(tmp_path):
    assert load_corpus("shakespeare", tmp_path) is load_corpus("shakespeare", tmp_path)


def test_tiny_shakespeare_is_loaded_from_its_download(tmp_path, monkeypatch):
    text = "First Citizen:\nBefore we proceed any further, hear me speak.\n"
    monkeypatch.setattr(corpora, "TINY_SHAKESPEARE_SHA256", hashlib.sha256(text.encode()).hexdigest())
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / "tinyshakespeare.txt").write_text(text)
    assert not find_corpus("tinyshakespeare", tmp_path).download
    assert load_corpus("tinyshakespeare", tmp_path) == text


def test_the_python_corpus_is_ascii_source_of_bounded_size(tmp_path):
    text = load_corpus("python", tmp_path)
    assert 1_000_000 < len(text) < 7_000_000
    assert text.isascii() and "\r" not in text and "\0" not in text
    assert "import argparse" in text and "\ndef " in text


def test_a_python_installed_without_source_is_refused(tmp_path):
    with pytest.raises(TextError, match="this Python was installed without it"):
        python_source(tmp_path)


def test_non_ascii_source_files_are_skipped(tmp_path):
    (tmp_path / "b.py").write_bytes(b"\nb = 1\r\n\r\n")
    (tmp_path / "a.py").write_text("a = 1")
    (tmp_path / "c.py").write_text("c = 'é'", encoding="utf-8")
    assert python_source(tmp_path) == "a = 1\n\nb = 1\n"


def test_text_hash_is_the_sha256_of_the_utf8_bytes():
    assert text_hash("é") == hashlib.sha256(b"\xc3\xa9").hexdigest()


def test_each_line_of_repeats_is_one_word_twice_with_distinct_letters(tmp_path):
    lines = load_corpus("repeats", tmp_path).splitlines()
    for word, again in map(str.split, lines):
        assert word == again and len({*word}) == len(word)


def test_surnames_are_unique_and_unsorted(tmp_path):
    names = load_corpus("surnames", tmp_path).splitlines()
    assert len(names) == len(set(names)) and names != sorted(names)
    assert all(re.fullmatch("[A-Z][a-z]+", name) for name in names)


def test_each_tang_poem_has_two_or_four_lines_of_ten_characters(tmp_path):
    for poem in load_corpus("tang-poems", tmp_path).rstrip().split("\n\n"):
        lines = poem.split("\n")
        assert len(lines) in (2, 4) and all(re.fullmatch(r"\w{5}，\w{5}。", line) for line in lines)


def test_every_bar_of_a_tune_lasts_six_eighths(tmp_path):
    tunes = load_corpus("tunes", tmp_path).rstrip("\n").split("\n\n")
    assert len(tunes) == 3000
    for number, tune in enumerate(tunes, 1):
        assert tune.startswith(f"X:{number}\n")
        bars = re.findall(r"[^|:\n]+", "\n".join(tune.splitlines()[6:]))
        lengths = [sum(int(length or 1) for _, length in re.findall(r"([A-Ga-g])(\d?)", bar)) for bar in bars]
        assert [length for length in lengths if length] == [6] * 16


def test_each_line_of_the_log_is_one_request(tmp_path):
    line = re.compile(r'192\.0\.2\.\d+ - - \[[^]]+ \+0000\] "(GET|POST) /\S* HTTP/1.1" (200|302|404) \d+ "\S+"')
    lines = load_corpus("server-log", tmp_path).splitlines()
    assert len(lines) == 12_000 and all(line.fullmatch(request) for request in lines)


def test_each_gene_ends_with_its_first_stop_codon(tmp_path):
    gene = re.compile(r"[ACGT]+AGGAGG[ACGT]{6}ATG(?:(?!TAA|TAG|TGA)[ACGT]{3})+(?:TAA|TAG|TGA)")
    lines = load_corpus("dna", tmp_path).splitlines()
    assert len(lines) == 900 and all(map(gene.fullmatch, lines))


def test_a_hub_corpus_is_downloaded_once_and_refused_offline(tmp_path, monkeypatch):
    folder, home = tmp_path / "dataset" / "data", tmp_path / "home"
    folder.mkdir(parents=True)
    stories = [f"Once upon a time there were {number} ducks." for number in range(500)]
    pq.write_table(pa.table({"text": stories}), folder / "train-00000-of-00001-2d5a1467fff1081b.parquet")
    monkeypatch.setattr(corpora, "_HUB_BYTES", 10_000)
    with serving({"roneneldan/TinyStories": folder.parent}) as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{hub.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        )
        text = load_corpus("tinystories", home)
        assert text == "\n\n".join(stories)[: len(text)] and 9_900 < len(text) <= 10_000
        with pytest.raises(TextError, match="no dataset called 'Salesforce/wikitext'"):
            load_corpus("wikitext", home)
    corpora._load_downloaded.cache_clear()
    assert load_corpus("tinystories", home) == text and not find_corpus("tinystories", home).download
    with pytest.raises(TextError, match="cannot be fetched.*Is this machine online"):
        load_corpus("wikitext", home)
    assert not (home / "downloads" / "wikitext.txt").exists()
