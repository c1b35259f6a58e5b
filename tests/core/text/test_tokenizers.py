import json
import os
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer
from tokenizers.implementations import ByteLevelBPETokenizer
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, GPT2TokenizerFast

from core.atomic_io import write_files
from core.config import DataConfig
from core.errors import TextError, UnknownCharacterError
from core.import_export.external_weights import tokenizer_files
from core.text.bpe import train_merges
from core.text.corpora import load_corpus
from core.text.splitting import WORD
from core.text.token_display import kind_of
from core.text.tokenizers import (
    TOKENIZERS,
    BPETokenizer,
    ByteTokenizer,
    CharTokenizer,
    load_tokenizer,
    opening_ids,
    token_texts,
)

texts = st.text(min_size=1)  # every Unicode character except lone surrogates


def test_the_settings_offer_every_tokenizer():
    assert list(TOKENIZERS) == list(get_args(DataConfig.model_fields["tokenizer"].annotation))


@given(texts)
def test_decoding_undoes_encoding(text):
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(texts)
def test_char_ids_follow_code_point_order(text):
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.tokens == tuple(sorted(set(text)))
    assert tokenizer.vocab_size == len(set(text))
    assert tokenizer.encode(text) == [sorted(set(text)).index(character) for character in text]


@given(texts, texts)
def test_encoding_an_unknown_character_reports_it_and_its_position(known, text):
    tokenizer = CharTokenizer.from_text(known)
    unseen = [position for position, character in enumerate(text) if character not in known]
    if not unseen:
        assert tokenizer.decode(tokenizer.encode(text)) == text
        return
    with pytest.raises(UnknownCharacterError) as caught:
        tokenizer.encode(text)
    assert (caught.value.position, caught.value.character) == (unseen[0], text[unseen[0]])


@pytest.mark.parametrize("text", ["hé", "h\ud800", "h\0", "h😀"])
def test_the_error_for_an_unknown_character_states_its_position(text):
    with pytest.raises(
        UnknownCharacterError, match=r"at position 1 does not occur in the text that this model learned from"
    ):
        CharTokenizer.from_text("hello").encode(text)


@pytest.mark.parametrize(
    "tokenizer", [ByteTokenizer.from_text(), BPETokenizer.from_merges([("l", "l")])], ids=lambda made: made.name
)
def test_a_non_utf8_byte_of_the_shell_is_an_unknown_character(tokenizer):
    with pytest.raises(UnknownCharacterError, match=r"U\+DCE9\) at position 3 does not occur"):
        tokenizer.encode(os.fsdecode(b"caf\xe9"))


def test_encoded_arrays_are_int64_and_empty_text_is_allowed():
    tokenizer = CharTokenizer.from_text("hello")
    np.testing.assert_array_equal(tokenizer.encode_array("hole"), np.array([1, 3, 2, 0]))
    assert tokenizer.encode_array("hole").dtype == np.int64
    assert tokenizer.encode("") == [] and tokenizer.decode([]) == ""


@pytest.mark.parametrize("bad", [-1, 4])
def test_decoding_an_unknown_id_is_refused(bad):
    with pytest.raises(TextError, match=f"There is no character number {bad}: this model knows 0 to 3"):
        CharTokenizer.from_text("hello").decode([0, bad])


def test_transformers_reads_an_exported_char_tokenizer(tmp_path):
    tokenizer = CharTokenizer.from_text("\nabc 😀")
    write_files(tmp_path, tokenizer_files(tokenizer))
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    assert theirs("ab c\n😀")["input_ids"] == tokenizer.encode("ab c\n😀")
    assert theirs.decode(tokenizer.encode("ab c\n😀")) == "ab c\n😀"
    assert len(theirs) == tokenizer.vocab_size, "no id that the model does not have"
    with pytest.raises(Exception, match="[Uu]n.?k|UNK"):
        theirs("abz")


def test_generation_without_a_prompt_starts_at_a_newline_or_else_the_first_token():
    assert opening_ids(CharTokenizer.from_text("ab\nc")) == [0]
    assert opening_ids(CharTokenizer.from_text("\tb\n")) == [1]
    assert opening_ids(CharTokenizer.from_text("GATTACA")) == [0]


@given(texts)
def test_a_char_tokenizer_survives_saving_and_loading(tmp_path_factory, text):
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
def test_a_damaged_tokenizer_file_is_refused_with_the_reason(tmp_path, content, sentence):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(TextError, match=sentence):
        load_tokenizer(path)


def test_a_missing_tokenizer_file_is_refused(tmp_path):
    with pytest.raises(TextError, match=r"tokenizer\.json, cannot be read: No such file"):
        load_tokenizer(tmp_path / "tokenizer.json")


TEXT = (
    "To be, or not to be: that is the question.\n"
    "Whether 'tis nobler in the mind to suffer\n\n"
    "The slings — and arrows…\n"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    grown = ByteLevelBPETokenizer()
    grown.train_from_iterator([TEXT] * 4, vocab_size=320, min_frequency=1, show_progress=False)
    place = tmp_path_factory.mktemp("bpe")
    grown.save_model(str(place))
    return place


@pytest.fixture(scope="module")
def tokenizer(folder):
    return BPETokenizer.from_folder(folder)


@given(st.text(max_size=80))
def test_a_bpe_tokenizer_round_trips_any_text(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_bpe_tokenizer_encodes_as_transformers_does(folder, tokenizer):
    theirs = GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    for text in (TEXT, "  two  spaces\t\n\n\n end ", "Größe 123 ünïcode 漢字 😀"):
        assert tokenizer.encode(text) == theirs(text)["input_ids"]


@pytest.mark.parametrize("seam", ["a\nb", "a\n\nb", "a \nb", "a\n b", "a\n\n\n b", "a\r\nb"])
def test_encoding_a_long_text_in_chunks_gives_the_same_ids(tokenizer, seam):
    text = (TEXT + seam) * 800
    assert len(text) > 3 * 20_000
    assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text)


SIGNS = [chr(code) for code in range(0x3001) if not chr(code).isalnum() and (code < 0x100 or chr(code).isspace())]


@pytest.mark.parametrize("sign", SIGNS, ids=ascii)
def test_chunk_boundaries_are_boundaries_of_the_pre_tokenizer(sign):
    def split(text: str) -> list[str]:
        return [word for word, _span in ByteLevel(add_prefix_space=False).pre_tokenize_str(text)]

    around = ["a", "don't", "!", "'", " ", "\n", "é", "漢", "1", "a ", "!\n", "  x", ""]
    text = "".join(f"{before}{sign}{after}" for before in around for after in around)
    pieces = WORD.findall(text)
    assert "".join(pieces) == text and split(text) == [word for piece in pieces for word in split(piece)]


@given(st.lists(st.integers(0, 280), max_size=20))
def test_token_texts_join_to_the_decoded_text(tokenizer, ids):
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids) and "".join(texts) == tokenizer.decode(ids)


def test_a_split_character_is_labeled_in_bytes_and_its_text_follows_the_last_token(tokenizer):
    ids = tokenizer.encode("a 😀—")
    assert [tokenizer.tokens[id] for id in ids[2:7]] == ["<0xF0>", "<0x9F>", "<0x98>", "<0x80>", "<0xE280>"]
    assert "".join(token_texts(tokenizer, ids)) == "a 😀—" and token_texts(tokenizer, ids)[2:6] == ["", "", "", "😀"]
    assert not any("�" in token for token in tokenizer.tokens)
    assert {kind_of(tokenizer.tokens[id]) for id in ids[2:6]} == {"other"}


def with_prefix_space(folder):
    grown = ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), add_prefix_space=True)
    return Tokenizer.from_str(grown.to_str())


def with_template(folder):
    grown = Tokenizer.from_str(ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).to_str())
    grown.add_special_tokens(["<bos>"])
    marks = [("<bos>", grown.token_to_id("<bos>"))]
    grown.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=marks)
    return grown


def with_another_rule(folder):
    grown = Tokenizer.from_str(ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).to_str())
    grown.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    return grown


def with_added(*tokens):
    def kind(folder):
        files = str(folder / "vocab.json"), str(folder / "merges.txt")
        grown = Tokenizer.from_str(ByteLevelBPETokenizer(*files).to_str())
        grown.add_tokens(list(tokens))
        return grown

    return kind


ADDED = {
    "line": with_added("\nW"),
    "sign": with_added("be,"),
    "whole": with_added("<|t|>", "tin"),
    "word": with_added(AddedToken(",", single_word=True)),
}


@pytest.mark.parametrize("kind", [with_prefix_space, with_template, with_another_rule, *ADDED.values()])
def test_a_long_text_and_a_prompt_get_the_same_tokens_with_any_pre_tokenizer(folder, kind):
    theirs = kind(folder)
    tokenizer = BPETokenizer(theirs)
    text = "Two" + TEXT * 800
    assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text) == theirs.encode(text).ids
    once = tokenizer.encode("To be")
    assert tokenizer.encode(tokenizer.decode(once)) == once, "a text that was shown can be encoded again"


def test_a_bpe_tokenizer_survives_saving_and_loading(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again == tokenizer
    assert again.tokens == tokenizer.tokens
    assert " be" in again.tokens


def test_damaged_bpe_files_and_unknown_ids_are_refused(tmp_path, tokenizer):
    assert BPETokenizer.from_folder(tmp_path) is None
    for content in ("{", '{"model": 3}', '{"type": "bpe", "tokenizer": {"model": {}}}', '{"type": "bpe"}'):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(TextError):
            BPETokenizer.from_folder(tmp_path)
        with pytest.raises(TextError):
            load_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(TextError, match="no token number 99999"):
        tokenizer.decode([99999])


def test_chinese_characters_never_decode_to_a_replacement_character(tmp_path):
    text = load_corpus("tang-poems", tmp_path)[:3000]
    for tokenizer in (ByteTokenizer.from_text(), BPETokenizer.from_merges(train_merges(text)[:40])):
        ids = tokenizer.encode(text)
        assert len(ids) > len(text)  # characters are split over tokens
        assert tokenizer.decode(ids) == "".join(token_texts(tokenizer, ids)) == text
        assert not any("\ufffd" in token for token in tokenizer.tokens)  # labels spell the bytes
        cut = "".join(token_texts(tokenizer, ids[:50]))
        assert text.startswith(cut.rstrip("\ufffd")) and cut.count("\ufffd") <= 1
