import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.lessons.lesson_text import fill
from core.text.token_display import KINDS, escape_markdown, isolated, kind_of, quoted, read_newlines, visible


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("a", "a"),
        ("\n", "⏎"),
        (" ", "·"),
        ("\t", "⇥"),
        ("", ""),
        ("\r", "␍"),
        ("\0", "␀"),
        ("\x1b[31m", "␛[31m"),
        ("\x7f", "␡"),
        ("\x85", "U+0085"),
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
def test_invisible_characters_are_shown_as_symbols(token, shown):
    assert visible(token) == shown


@given(st.text(min_size=1))
def test_every_token_has_a_visible_form(token):
    shown = visible(token)
    assert shown.strip() and all(unicodedata.category(character)[0] not in "CZ" for character in shown)


@pytest.mark.parametrize(
    ("tokens", "kind"),
    [
        ("aeiouéøæœıɘə", "vowel"),
        ("bcxyzçñßđłŋſþ", "consonant"),
        ("ABEZÉØẞ", "capital"),
        ("059٣", "digit"),
        (".,;:!?'\"&$-+—“", "punctuation"),
        (" \n\t\u00a0", "space"),
        ("шДש中ىすª", "letter"),
        ("😀\u200b\0", "other"),
    ],
)
def test_characters_are_classified_by_kind(tokens, kind):
    assert {kind_of(token) for token in tokens} == {kind}


@given(st.text())
def test_every_token_has_a_kind(token):
    assert kind_of(token) in KINDS


def test_read_newlines_expands_backslash_n_unless_it_is_escaped():
    assert read_newlines(r"ROMEO:\nBut\n\n") == "ROMEO:\nBut\n\n"
    assert read_newlines(r"print('\\n') \t \\ \\\\") == r"print('\n') \t \\ \\\\"


@pytest.mark.parametrize("name", ["<script>x</script>", "[a](javascript:b)", "# *x*", "`<b>`", "a\n\n# b"])
def test_user_text_is_escaped_in_markdown(name):
    shown = escape_markdown(name)
    assert "<" not in shown and "\n" not in shown
    assert not any(mark in shown.replace(f"\\{mark}", "") for mark in "*`[](#")


def test_right_to_left_letters_are_isolated_from_the_sentence_around_them():
    assert isolated("ى") == "\u2068ى\u2069" and quoted("ש") == "'\u2068ש\u2069'"
    assert isolated("9%") == "9%" and quoted("é") == "'é'"
    sentence = fill("'{token}' looks {share} at '{other}', {back} back", token="ى", share="9%", other="ل", back=1)
    assert sentence == "'\u2068ى\u2069' looks 9% at '\u2068ل\u2069', 1 back"
