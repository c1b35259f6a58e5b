import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from core.errors import TextError, UnknownCharacterError
from core.import_export.tokenizers import tokenizer_files
from core.outputs import write_files
from core.text.tokenizers import CharTokenizer, load_tokenizer, opening_ids

texts = st.text(min_size=1)  # every character of Unicode but half surrogate pairs


@given(texts)
def test_decoding_undoes_encoding(text):
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(texts)
def test_ids_follow_the_order_of_code_points(text):
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.tokens == tuple(sorted(set(text)))
    assert tokenizer.vocab_size == len(set(text))
    assert tokenizer.encode(text) == [sorted(set(text)).index(character) for character in text]


@given(texts, texts)
def test_an_unseen_character_is_named_with_its_position(known, text):
    tokenizer = CharTokenizer.from_text(known)
    unseen = [position for position, character in enumerate(text) if character not in known]
    if not unseen:
        assert tokenizer.decode(tokenizer.encode(text)) == text
        return
    with pytest.raises(UnknownCharacterError) as caught:
        tokenizer.encode(text)
    assert (caught.value.position, caught.value.character) == (unseen[0], text[unseen[0]])


@pytest.mark.parametrize("text", ["hé", "h\ud800", "h\0", "h😀"])
def test_the_message_of_an_unseen_character(text):
    with pytest.raises(
        UnknownCharacterError, match=r"at position 1 does not occur in the text this model learned from"
    ):
        CharTokenizer.from_text("hello").encode(text)


def test_arrays_are_int64_and_empty_text_is_fine():
    tokenizer = CharTokenizer.from_text("hello")
    np.testing.assert_array_equal(tokenizer.encode_array("hole"), np.array([1, 3, 2, 0]))
    assert tokenizer.encode_array("hole").dtype == np.int64
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""


@pytest.mark.parametrize("bad", [-1, 4])
def test_an_id_that_no_character_has_is_refused(bad):
    with pytest.raises(TextError, match=f"There is no character number {bad}: this model knows 0 to 3"):
        CharTokenizer.from_text("hello").decode([0, bad])


def test_transformers_reads_it_and_refuses_an_unknown_character_too(tmp_path):
    tokenizer = CharTokenizer.from_text("\nabc 😀")
    write_files(tmp_path, tokenizer_files(tokenizer))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs("ab c\n😀")["input_ids"] == tokenizer.encode("ab c\n😀")
    assert theirs.decode(tokenizer.encode("ab c\n😀")) == "ab c\n😀"
    assert len(theirs) == tokenizer.vocab_size, "no id that the model does not have"
    with pytest.raises(Exception, match="[Uu]n.?k|UNK"):
        theirs("abz")


def test_without_a_prompt_it_begins_at_a_newline_or_where_there_is_none_with_the_first_token():
    assert opening_ids(CharTokenizer.from_text("ab\nc")) == [0]
    assert opening_ids(CharTokenizer.from_text("\tb\n")) == [1]
    assert opening_ids(CharTokenizer.from_text("GATTACA")) == [0]


@given(texts)
def test_saving_and_loading_keep_it(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    tokenizer = CharTokenizer.from_text(text)
    tokenizer.save(path)
    assert load_tokenizer(path) == tokenizer
    assert json.loads(path.read_text()) == {"type": "char", "tokens": list(tokenizer.tokens)}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ('{"type": "char", "tok', "damaged: it is not valid JSON"),
        ("[1, 2]", "of a kind that this version does not know"),
        ('{"type": "words", "tokens": ["a"]}', "of a kind that this version does not know"),
        ('{"type": "char"}', "damaged: its list of characters is missing"),
        ('{"type": "char", "tokens": []}', "damaged: its list of characters is missing"),
        ('{"type": "char", "tokens": [1, 2]}', "damaged: its list of characters is missing"),
        ('{"type": "char", "tokens": ["a", "bc"]}', "damaged: tokens must be distinct single characters"),
        ('{"type": "char", "tokens": ["b", "a"]}', "damaged: tokens must be distinct single characters"),
        ('{"type": "char", "tokens": ["a", "a"]}', "damaged: tokens must be distinct single characters"),
    ],
)
def test_a_damaged_file_is_said_to_be_so(tmp_path, content, sentence):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(TextError, match=sentence):
        load_tokenizer(path)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(TextError, match=r"tokenizer\.json, cannot be read: No such file"):
        load_tokenizer(tmp_path / "tokenizer.json")
