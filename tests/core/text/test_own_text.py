import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import TextError
from core.text import own_text
from core.text.batches import split_ids
from core.text.corpora import catalogue, find_corpus, load_corpus
from core.text.own_text import MAX_BYTES, check_trainable, delete_text, read_text, save_text


def test_read_text_treats_bytes_and_strings_alike():
    assert read_text("Größe 😀 שלום\n".encode()) == "Größe 😀 שלום\n"
    assert read_text("Größe 😀 שלום\n") == "Größe 😀 שלום\n"


def test_byte_order_marks_and_carriage_returns_are_removed():
    assert read_text(b"\xef\xbb\xbfone\r\ntwo\rthree\n") == "one\ntwo\nthree\n"
    assert read_text("\ufeffone\r\ntwo") == "one\ntwo"


def test_a_line_of_a_megabyte_is_read_unchanged():
    assert read_text("ab" * 500_000) == "ab" * 500_000


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "This text is empty"),
        ("", "This text is empty"),
        (" \n\t\u2003\n", "This text is empty"),
        (b"\xef\xbb\xbf\r\n", "This text is empty"),
        (b"abc\xff\xfe", r"not valid UTF-8: byte 3 \(0xFF\) cannot be read"),
        (b"\xff\xfe\x00\xd8h\x00", r"not valid UTF-16: byte 2 \(0x00\) cannot be read"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "not a plain text file: it has zero bytes"),
        ("hêllo".encode("utf-16-le"), "not a plain text file: it has zero bytes"),
        (b"caf\xe9", r"byte 3 \(0xE9\)"),
        ("ab\0c", "a NUL character at position 2"),
        (b"ab\0c", "a NUL character at position 2"),
        ("ab\ud800c", r"position 2 is half of a surrogate pair \(U\+D800\)"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 20_902))), "20,902 distinct characters"),
    ],
)
def test_invalid_text_is_refused_with_the_reason(data, sentence):
    with pytest.raises(TextError, match=sentence):
        read_text(data)


def test_a_text_over_the_size_limit_is_refused_before_decoding(monkeypatch):
    monkeypatch.setattr(own_text, "MAX_BYTES", 10)
    assert read_text("x" * 10) == read_text(b"x" * 10) == "x" * 10
    for data in (b"\xff" * 11, "x" * 11, "é" * 6 + "x"):
        with pytest.raises(TextError, match=r"has 1[13] bytes, and at most 10 \(0 KB\) are allowed"):
            read_text(data)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_clean_text_or_a_text_error(data):
    try:
        text = read_text(data)
    except TextError as error:
        assert str(error).endswith(".")
    else:
        assert text.strip() and "\0" not in text and "\r" not in text and read_text(text) == text


@given(st.integers(2, 300), st.floats(0.01, 0.5))
def test_a_text_is_long_enough_exactly_if_both_splits_exceed_a_context(block_size, val_fraction):
    def fits(length):
        return all(len(part) > block_size for part in split_ids("x" * length, val_fraction))

    with pytest.raises(TextError) as caught:
        check_trainable("ab", block_size, val_fraction)
    needed = int(re.search(r"needs ([\d,]+)", str(caught.value))[1].replace(",", ""))
    assert fits(needed) and not fits(needed - 1)
    check_trainable("a" + "b" * (needed - 1), block_size, val_fraction)
    with pytest.raises(TextError) as caught:
        check_trainable("a" + "b" * (needed - 2), block_size, val_fraction)
    way_out = re.search(r"a context of at most (\d+)\.", str(caught.value))
    assert bool(way_out) == (block_size > 2)
    if way_out:
        check_trainable("a" + "b" * (needed - 2), int(way_out[1]), val_fraction)


def test_the_error_for_a_short_text_states_the_needed_length_and_a_fitting_context():
    with pytest.raises(TextError) as caught:
        check_trainable("ab" * 50, block_size=64, val_fraction=0.1)
    assert str(caught.value) == (
        "This text has 100 characters; a context of 64 with 10% kept for validation needs 641. Choose a longer text, "
        "or a context of at most 9."
    )


@pytest.mark.parametrize(("text", "what"), [("", "no characters"), ("aaaa" * 1000, "only one distinct character, 'a'")])
def test_a_text_with_fewer_than_two_distinct_characters_is_refused(text, what):
    with pytest.raises(TextError, match=f"This text has {what}"):
        check_trainable(text, block_size=8, val_fraction=0.1)


def test_a_saved_text_is_in_the_catalogue_and_loads_unchanged(tmp_path):
    text = "Größe 😀\nשלום\n"
    saved = save_text(text, "Mine", tmp_path)
    assert saved.own and saved.title == "Mine" and saved.characters == len(text)
    assert find_corpus(saved.name, tmp_path) == saved
    assert load_corpus(saved.name, tmp_path) == text


def test_saving_a_text_twice_keeps_one_copy_with_the_newer_title(tmp_path):
    first, second = save_text("abc", "one", tmp_path), save_text("abc", "two", tmp_path)
    assert first.name == second.name
    assert [corpus.title for corpus in catalogue(tmp_path) if corpus.own] == ["two"]


def test_own_texts_are_listed_newest_first(tmp_path):
    names = [save_text(text, text, tmp_path).name for text in ("abc", "def", "ghi")]
    assert [corpus.name for corpus in catalogue(tmp_path) if corpus.own] == names[::-1]


@pytest.mark.parametrize(
    ("title", "label"),
    [
        ("../../x", "../../x"),
        ("<img src=x onerror=alert(1)>", "<img src=x onerror=alert(1)>"),
        ("  two\n\tlines\0 ", "two lines"),
        ("\u202eabc", "abc"),
        ("x" * 200, "x" * 80),
        ("", "My text"),
    ],
)
def test_a_title_is_cleaned_and_never_used_as_a_path(tmp_path, title, label):
    saved = save_text("abc", title, tmp_path)
    assert saved.title == label
    assert sorted(file.name for file in tmp_path.rglob("*") if file.is_file()) == [
        f"{saved.name}.json",
        f"{saved.name}.txt",
    ]


def test_a_deleted_text_can_no_longer_be_loaded(tmp_path):
    saved = save_text("abc", "Mine", tmp_path)
    assert load_corpus(saved.name, tmp_path) == "abc"
    delete_text(saved.name, tmp_path)
    assert not list((tmp_path / "texts").iterdir())
    with pytest.raises(TextError, match="There is no text called"):
        load_corpus(saved.name, tmp_path)
    with pytest.raises(TextError, match="There is no text called"):
        delete_text(saved.name, tmp_path)


@pytest.mark.parametrize("name", ["shakespeare", "../secret", "text-0123", "text-../../etc/passwd1"])
def test_only_own_texts_can_be_deleted(tmp_path, name):
    (tmp_path / "secret.txt").write_text("keep")
    with pytest.raises(TextError, match="There is no text of your own"):
        delete_text(name, tmp_path)
    assert (tmp_path / "secret.txt").exists()


def test_a_text_changed_on_disk_is_refused(tmp_path):
    saved = save_text("abc", "Mine", tmp_path)
    (tmp_path / "texts" / f"{saved.name}.txt").write_text("abd")
    with pytest.raises(TextError, match="has been changed on disk"):
        load_corpus(saved.name, tmp_path)


@pytest.mark.parametrize("card", [None, "", "[]", '{"title": "x"}', '{"title": 1, "characters": "x", "saved": ""}'])
def test_a_text_with_missing_or_damaged_metadata_is_still_listed_and_loaded(tmp_path, card):
    saved = save_text("abc", "Mine", tmp_path)
    file = tmp_path / "texts" / f"{saved.name}.json"
    file.unlink() if card is None else file.write_text(card)
    assert find_corpus(saved.name, tmp_path).title == saved.name
    assert load_corpus(saved.name, tmp_path) == "abc"


def test_an_unwritable_text_folder_is_reported(tmp_path):
    (tmp_path / "texts").write_text("a file where the folder should be")
    with pytest.raises(TextError, match="The text cannot be kept in"):
        save_text("abc", "Mine", tmp_path)


@pytest.mark.parametrize(
    "encoding",
    [
        "utf-8",
        "utf-8-sig",
        "utf-16",
        "utf-32",
        ("utf-16-le", b"\xff\xfe"),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-32-be", b"\0\0\xfe\xff"),
    ],
    ids=str,
)
def test_unicode_encodings_with_a_byte_order_mark_are_detected(encoding):
    text = "Größe, 今日は 😀\nzwei"
    encoding, mark = encoding if isinstance(encoding, tuple) else (encoding, b"")
    assert read_text(mark + text.encode(encoding)) == text


def test_the_size_limit_applies_to_the_utf8_text_for_every_file_encoding():
    with pytest.raises(TextError, match="20,971,52. bytes"):
        read_text(("a" * (MAX_BYTES + 1)).encode("utf-16"))
    assert len(read_text(("a" * (MAX_BYTES - 1) + "b").encode("utf-16"))) == MAX_BYTES
