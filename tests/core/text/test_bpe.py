import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.implementations import ByteLevelBPETokenizer
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.processors import TemplateProcessing
from transformers import GPT2TokenizerFast

from core.errors import TextError
from core.text.bpe import BPETokenizer
from core.text.token_display import kind_of
from core.text.tokenizers import load_tokenizer, token_texts

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


@given(st.lists(st.integers(0, 280), max_size=20))
def test_decoded_one_by_one_any_ids_are_the_text_of_all_of_them(tokenizer, ids):
    texts = token_texts(tokenizer, ids)
    assert len(texts) == len(ids) and "".join(texts) == tokenizer.decode(ids)


def test_a_part_of_a_character_is_spelled_in_bytes_and_its_text_comes_with_the_last(tokenizer):
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


def with_an_added_line(folder):
    grown = Tokenizer.from_str(ByteLevelBPETokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")).to_str())
    grown.add_tokens(["\nW"])
    return grown


@pytest.mark.parametrize("kind", [with_prefix_space, with_template, with_another_rule, with_an_added_line])
def test_the_text_of_a_run_is_cut_into_the_same_tokens_as_a_prompt(folder, kind):
    theirs = kind(folder)
    tokenizer = BPETokenizer(theirs)
    text = "Two" + TEXT * 800
    assert tokenizer.encode_array(text).tolist() == tokenizer.encode(text) == theirs.encode(text).ids
    once = tokenizer.encode("To be")
    assert tokenizer.encode(tokenizer.decode(once)) == once, "a text that was shown can be encoded again"


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
