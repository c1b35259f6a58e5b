"""Merges match a plain byte-pair encoding in the same order; a text and a size determine the vocabulary."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import regex
from transformers import AutoTokenizer

from core.atomic_io import write_files
from core.config import DataConfig
from core.errors import TextError
from core.import_export.external_weights import tokenizer_files
from core.text.bpe import BYTES, merge_history, merges_of, new_tokenizer, train_merges
from core.text.corpora import load_corpus
from core.text.tokenizers import BPETokenizer, ByteTokenizer, load_tokenizer, token_texts

GPT2_WORDS = regex.compile(r"""'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""")
MIXED = "Straße, naïve, ünïcödé — 世界 世界 😀😀! aaaa aaa\n\n\n  it's 1234 1234\r\t" * 40


def plain_merges(text: str, most: int) -> tuple[list[tuple[bytes, bytes]], list[int]]:
    """Merge the most frequent pair within words while it occurs twice; a tie goes to the smaller ids.

    Return the pairs, and the number of tokens in the text after each merge.
    """
    vocabulary = list(BPETokenizer.from_merges([]).token_bytes)
    id_of = {data: id for id, data in enumerate(vocabulary)}
    counts = Counter(GPT2_WORDS.findall(text))
    words = {tuple(id_of[bytes([byte])] for byte in word.encode()): count for word, count in counts.items()}
    merges, lengths = [], []
    while len(vocabulary) < most:
        pairs = Counter[tuple[int, int]]()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        pair = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if pair is None or pairs[pair] < 2:
            break
        merges.append((vocabulary[pair[0]], vocabulary[pair[1]]))
        vocabulary.append(vocabulary[pair[0]] + vocabulary[pair[1]])
        words = {merged(word, pair, len(vocabulary) - 1): count for word, count in words.items()}
        lengths.append(sum(len(word) * count for word, count in words.items()))
    return merges, lengths


def merged(word: tuple[int, ...], pair: tuple[int, int], new: int) -> tuple[int, ...]:
    result, place = [], 0
    while place < len(word):
        found = word[place : place + 2] == pair
        result.append(new if found else word[place])
        place += 2 if found else 1
    return tuple(result)


def bpe(vocab_size: int) -> DataConfig:
    return DataConfig(tokenizer="bpe", vocab_size=vocab_size)


@pytest.fixture(scope="module")
def shakespeare(tmp_path_factory) -> str:
    return load_corpus("shakespeare", tmp_path_factory.mktemp("texts"))[:30_000]


@pytest.mark.parametrize("name", ["shakespeare", "mixed"])
def test_merges_match_a_plain_implementation_in_the_same_order(name, shakespeare, tmp_path):
    text = shakespeare if name == "shakespeare" else MIXED
    expected, lengths = plain_merges(text, 700)
    found = BPETokenizer.from_merges(train_merges(text)).token_bytes[BYTES : BYTES + len(expected)]
    assert list(found) == [left + right for left, right in expected]
    assert len(expected) == 444 if name == "shakespeare" else len(train_merges(text)) == len(expected) < 444

    history = merge_history(text, tmp_path)
    assert history.lengths()[0] == len(text.encode()) and history.lengths()[1 : 1 + len(expected)].tolist() == lengths
    for count in (0, 7, len(expected)):
        tokenizer = BPETokenizer.from_merges(merges_of(text, tmp_path)[:count])
        counts = np.bincount(tokenizer.encode_array(text), minlength=tokenizer.vocab_size)
        np.testing.assert_array_equal(history.token_counts(count), counts)


def test_a_smaller_vocabulary_is_a_prefix_of_a_larger_one_and_merges_are_cached(shakespeare, tmp_path):
    small, large = (new_tokenizer(bpe(size), shakespeare, tmp_path) for size in (300, 600))
    assert (small.vocab_size, large.vocab_size) == (300, 600)
    assert large.tokens[:300] == small.tokens
    assert small.token_bytes[:BYTES] == BPETokenizer.from_merges([]).token_bytes
    [cached] = (tmp_path / "tokenizers").iterdir()
    written = cached.stat().st_mtime_ns
    assert new_tokenizer(bpe(300), shakespeare, tmp_path) == small
    assert cached.stat().st_mtime_ns == written
    cached.write_text("[[")
    assert len(merges_of(MIXED, tmp_path)) == len(train_merges(MIXED))


def test_a_damaged_merge_cache_is_rebuilt(tmp_path):
    (tmp_path / "tokenizers").mkdir()
    merges_of(MIXED, tmp_path)
    other = tmp_path / "other"
    (other / "tokenizers").mkdir(parents=True)
    [cached] = (tmp_path / "tokenizers").iterdir()
    (other / "tokenizers" / cached.name).write_text("[[1")
    assert merges_of(MIXED, other) == merges_of(MIXED, tmp_path)


def test_bpe_training_reports_progress_and_leaves_no_file_when_stopped(shakespeare, tmp_path):
    class StopError(Exception):
        pass

    def stop(share: float) -> None:
        raise StopError

    with pytest.raises(StopError):
        merges_of(shakespeare, tmp_path, stop)
    assert not list(tmp_path.rglob("*.json"))
    shares: list[float] = []
    merge_history(shakespeare, tmp_path, shares.append)
    assert shares == sorted(shares) and shares[0] < 0.1 and shares[-1] == 1 and len(shares) > 10
    with pytest.raises(StopError):
        merge_history(shakespeare * 2, tmp_path, stop)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (MIXED, r"makes at most \d+ tokens .* not 32,768.* Choose a vocabulary of at most \d+, or a longer text"),
        ("ab cd", "makes at most 256 tokens .* Choose bytes or characters as tokens, or a longer text"),
    ],
)
def test_a_vocabulary_larger_than_the_text_allows_is_refused_with_a_remedy(text, sentence, tmp_path):
    with pytest.raises(TextError, match=sentence):
        new_tokenizer(bpe(32_768), text, tmp_path)


@pytest.mark.parametrize("data", [DataConfig(tokenizer="byte"), bpe(300)])
def test_byte_and_bpe_tokenizers_round_trip_any_text_and_match_transformers(data, tmp_path):
    tokenizer = new_tokenizer(data, MIXED, tmp_path)
    other = "Any text: Ελλάδα, 日本, 👩‍👧, \x00\x7f"
    for text in (MIXED, other, ""):
        ids = tokenizer.encode(text)
        assert tokenizer.decode(ids) == "".join(token_texts(tokenizer, ids)) == text
        np.testing.assert_array_equal(tokenizer.encode_array(text, np.int32), ids)
    assert b"".join(tokenizer.token_bytes[id] for id in tokenizer.encode(other)) == other.encode()
    write_files(tmp_path / "export", tokenizer_files(tokenizer))
    theirs = AutoTokenizer.from_pretrained(tmp_path / "export")
    assert theirs(other)["input_ids"] == tokenizer.encode(other) and theirs.decode(tokenizer.encode(other)) == other
    tokenizer.save(tmp_path / "tokenizer.json")
    assert load_tokenizer(tmp_path / "tokenizer.json") == tokenizer
    assert load_tokenizer(tmp_path / "tokenizer.json").name == data.tokenizer


def test_the_id_of_a_byte_token_is_the_byte():
    assert ByteTokenizer.from_text().encode("Aé") == [65, 0xC3, 0xA9]
