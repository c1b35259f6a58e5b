import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.implementations import ByteLevelBPETokenizer
from transformers import GPT2TokenizerFast

from core.errors import TextError
from core.text.bpe import BPETokenizer
from core.text.tokenizer import load_tokenizer

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
def test_any_text_comes_back_as_it_was(tokenizer, text):
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_it_cuts_as_transformers_does(folder, tokenizer):
    theirs = GPT2TokenizerFast(str(folder / "vocab.json"), str(folder / "merges.txt"))
    for text in (TEXT, "  two  spaces\t\n\n\n end ", "Größe 123 ünïcode 漢字 😀"):
        assert tokenizer.encode(text) == theirs(text)["input_ids"]


@pytest.mark.parametrize("seam", ["a\nb", "a\n\nb", "a \nb", "a\n b", "a\n\n\n b", "a\r\nb"])
def test_a_long_text_cut_in_pieces_is_the_same_as_whole(tokenizer, seam):
    text = (TEXT + seam) * 800
    assert len(text) > 3 * 20_000
    assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text)


def test_it_is_kept_and_read_again(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "tokenizer.json")
    again = load_tokenizer(tmp_path / "tokenizer.json")
    assert again == tokenizer
    assert again.tokens == tokenizer.tokens
    assert " be" in again.tokens


def test_damaged_files_are_refused_in_a_sentence(tmp_path, tokenizer):
    assert BPETokenizer.from_folder(tmp_path) is None
    for content in ("{", '{"model": 3}', '{"type": "bpe", "tokenizer": {"model": {}}}', '{"type": "bpe"}'):
        (tmp_path / "tokenizer.json").write_text(content)
        with pytest.raises(TextError):
            BPETokenizer.from_folder(tmp_path)
        with pytest.raises(TextError):
            load_tokenizer(tmp_path / "tokenizer.json")
    with pytest.raises(TextError, match="no token number 99999"):
        tokenizer.decode([99999])
