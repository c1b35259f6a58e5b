import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.text.display import KINDS, kind_of, plain, read_newlines, visible


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("a", "a"),
        ("\n", "⏎"),
        (" ", "·"),
        ("\t", "⇥"),
        ("", ""),
        ("\r", "U+000D"),
        ("\0", "U+0000"),
        ("\u200b", "U+200B"),
        ("\ufeff", "U+FEFF"),
        ("\u202e", "U+202E"),
        ("\u00a0", "U+00A0"),
        ("\ufe0f", "U+FE0F"),
        ("\u0301", "◌\u0301"),
        ("😀", "😀"),
        ("ש", "ש"),
        ("the ", "the·"),
    ],
)
def test_what_cannot_be_seen_is_shown_by_a_sign(token, shown):
    assert visible(token) == shown


@given(st.text(min_size=1))
def test_nothing_stays_invisible(token):
    shown = visible(token)
    assert shown.strip() and all(unicodedata.category(character)[0] not in "CZ" for character in shown)


@pytest.mark.parametrize(
    ("tokens", "kind"),
    [
        ("aeioué", "vowel"),
        ("bcxyzçñ", "consonant"),
        ("ABEZÉ", "capital"),
        ("059٣", "digit"),
        (".,;:!?'\"&$-+—“", "punctuation"),
        (" \n\t\u00a0", "space"),
        ("шДש中😀\u200b\0", "other"),
    ],
)
def test_kinds(tokens, kind):
    assert {kind_of(token) for token in tokens} == {kind}


@given(st.text())
def test_every_token_has_a_kind(token):
    assert kind_of(token) in KINDS


def test_a_newline_can_be_typed_in_one_line_and_its_two_characters_too():
    assert read_newlines(r"ROMEO:\nBut\n\n") == "ROMEO:\nBut\n\n"
    assert read_newlines(r"print('\\n') \t \\ \\\\") == r"print('\n') \t \\ \\\\"


@pytest.mark.parametrize("name", ["<script>x</script>", "[a](javascript:b)", "# *x*", "`<b>`", "a\n\n# b"])
def test_anybodys_text_is_no_markdown(name):
    shown = plain(name)
    assert "<" not in shown and "\n" not in shown
    assert not any(mark in shown.replace(f"\\{mark}", "") for mark in "*`[](#")
