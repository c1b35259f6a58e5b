import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.interpretability import finish
from core.lessons.byte_pairs import (
    bytes_of_tokens,
    compare_tokenizers,
    merge_pair,
    most_frequent_pair,
    pair_counts,
    train_byte_pairs,
    words_of,
)
from core.text.bpe import train_merges
from core.text.corpora import load_corpus
from core.text.tokenizers import BPETokenizer, ByteTokenizer, CharTokenizer


def test_byte_pair_merges_match_a_hand_worked_example():
    words = words_of("the then theme")
    assert words == [list(b"the"), list(b" then"), list(b" theme")]
    counts = pair_counts(words)
    assert counts[ord("t"), ord("h")] == counts[ord("h"), ord("e")] == 3 and counts[ord("e"), ord(" ")] == 0
    assert most_frequent_pair(counts) == (ord("h"), ord("e"))  # a tie goes to the smaller ids
    pairs, merged = train_byte_pairs("the then theme", 10)
    assert bytes_of_tokens(pairs)[256:] == [b"he", b"the", b" the"]
    assert merged == [[257], [258, ord("n")], [258, ord("m"), ord("e")]]


def test_equal_tokens_in_a_row_are_merged_from_the_left():
    assert merge_pair([list(b"aaa"), list(b"aaaa")], (97, 97), 256) == [[256, 97], [256, 256]]


@given(st.text())
def test_splitting_into_words_and_merging_preserve_every_byte(text):
    text = text.encode(errors="replace").decode()
    assert b"".join(bytes(word) for word in words_of(text)) == text.encode()
    pairs, words = train_byte_pairs(text, 20)
    tokens = bytes_of_tokens(pairs)
    assert b"".join(tokens[id] for word in words for id in word) == text.encode()


@pytest.mark.parametrize("corpus", ["shakespeare", "python", "tang-poems"])
def test_every_merge_of_the_tokenizers_library_is_a_most_frequent_pair(corpus, tmp_path):
    text = load_corpus(corpus, tmp_path)[50_000:53_000]
    spelled = BPETokenizer.from_merges(merges := train_merges(text))
    byte_of = {spelled.to_hugging_face().id_to_token(id): data[0] for id, data in enumerate(spelled.token_bytes[:256])}
    words, ids = words_of(text), dict(byte_of)
    assert len(merges) > 100
    for new_id, (left, right) in enumerate(merges, 256):
        counts = pair_counts(words)
        pair = ids[left], ids[right]
        assert counts[pair] == max(counts.values()) >= 2
        words, ids[left + right] = merge_pair(words, pair, new_id), new_id
    assert max(pair_counts(words).values()) == 1
    assert sum(map(len, words)) == len(spelled.encode(text))


def test_tokenizers_are_compared_by_bits_per_byte(monkeypatch):
    monkeypatch.setattr("core.lessons.quick_train.STEPS", 20)
    text = "Größe und Übermut tun selten gut. " * 60
    kinds = {"char": CharTokenizer.from_text(text), "byte": ByteTokenizer.from_text()}
    trials = finish(compare_tokenizers(text, kinds))
    assert trials["byte"].bytes_per_token == 1 < trials["char"].bytes_per_token < 1.2
    assert trials["byte"].parameters > trials["char"].parameters
    for trial in trials.values():
        assert 0 < trial.bits_per_byte == pytest.approx(trial.nats / 0.6931472 / trial.bytes_per_token)
