"""Texts too large for memory. The limits are small here, so that a text of kilobytes is large."""

import errno
import io
import os

import numpy as np
import pytest
import torch

from core.config import DataConfig
from core.errors import TextError
from core.text import corpora, large_text, own_text
from core.text.batches import random_batch
from core.text.bpe import new_tokenizer
from core.text.corpora import find_corpus, load_corpus, load_hash, load_ids, text_hash
from core.text.large_text import save_large_text
from core.text.own_text import delete_text, own_texts
from tests.conftest import no_file_longer_than

TEXT = "".join(f"Line {number}: Größe, 你好 and the rest of it.\n" + "\n" * (number % 7 == 0) for number in range(4000))


@pytest.fixture(autouse=True)
def small_bounds(monkeypatch):
    monkeypatch.setattr(large_text, "MAX_BYTES", 20_000)
    monkeypatch.setattr(large_text, "_CHUNK", 3000)
    corpora._load_beginning.cache_clear()


def test_a_large_text_is_saved_whole_and_previewed_from_its_start(tmp_path):
    read: list[int] = []
    written = b"\xef\xbb\xbf" + (TEXT + "§").replace("\n", "\r\n").encode()
    corpus = save_large_text(io.BytesIO(written), "Lines", tmp_path, read.append)
    assert own_texts(tmp_path) == [corpus] == [find_corpus(corpus.name, tmp_path)]
    assert corpus.characters == len(TEXT) + 1 and read == sorted(read) and len(read) > 50
    beginning = load_corpus(corpus.name, tmp_path)
    assert TEXT.startswith(beginning) and beginning.endswith("\n") and 19_000 < len(beginning.encode()) <= 20_000
    assert load_hash(corpus.name, tmp_path) == text_hash(TEXT + "§")


@pytest.mark.parametrize("kind", ["char", "byte", "bpe"])
def test_tokens_of_a_large_text_cover_it_all_and_are_cached_in_one_file(kind, tmp_path):
    corpus = save_large_text(io.BytesIO((TEXT + "§").encode()), "Lines", tmp_path)
    data = DataConfig(corpus=corpus.name, tokenizer=kind, vocab_size=300)
    tokenizer = new_tokenizer(data, load_corpus(corpus.name, tmp_path), tmp_path)
    shares: list[float] = []
    ids = load_ids(corpus.name, tokenizer, tmp_path, shares.append)
    assert ids.dtype == np.uint16 and shares[-1] == pytest.approx(1) and shares == sorted(shares)
    assert np.array_equal(ids, tokenizer.encode_array(TEXT + "§"))
    again = load_ids(corpus.name, tokenizer, tmp_path, lambda share: pytest.fail("it was tokenized again"))
    (path,) = (tmp_path / "texts").glob("*.bin")
    path.unlink()  # `again` is mapped from it
    ids.astype(">u2").tofile(path)  # as a machine with the other byte order would write it
    assert np.array_equal(load_ids(corpus.name, tokenizer, tmp_path), tokenizer.encode_array(TEXT + "§"))
    x, y = random_batch(torch.from_numpy(again), 4, 8, torch.Generator().manual_seed(1))
    assert x.dtype == torch.int64 and torch.equal(x[:, 1:], y[:, :-1])
    assert tokenizer.decode(x[0].tolist()) in TEXT or kind != "char"
    delete_text(corpus.name, tmp_path)
    assert not list((tmp_path / "texts").iterdir())


def test_a_vocabulary_beyond_uint16_is_stored_as_uint32(tmp_path):
    corpus = save_large_text(io.BytesIO(TEXT.encode()), "Lines", tmp_path)
    tokenizer = new_tokenizer(DataConfig(corpus=corpus.name), TEXT, tmp_path)
    assert tokenizer.encode(TEXT)
    tokenizer.vocab_size = 70_000
    assert load_ids(corpus.name, tokenizer, tmp_path).dtype == np.uint32


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"x" * 9000 + b"\xff" + b"y" * 9000, "not valid UTF-8: after .* comes a byte"),
        (b"x" * 9000 + b"\0", "NUL character at position 9,000"),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 20_902))).encode(), "more than 20,000 distinct characters"),
    ],
)
def test_an_invalid_large_text_is_refused_and_leaves_no_file(tmp_path, data, sentence):
    with pytest.raises(TextError, match=sentence):
        save_large_text(io.BytesIO(data), "Bad", tmp_path)
    assert not list((tmp_path / "texts").iterdir())


def test_stopping_an_upload_or_tokenization_leaves_no_partial_file(tmp_path):
    class Stop(Exception):
        pass

    def stop(_done: float) -> None:
        raise Stop

    with pytest.raises(Stop):
        save_large_text(io.BytesIO(TEXT.encode()), "Lines", tmp_path, stop)
    assert not list((tmp_path / "texts").iterdir())
    corpus = save_large_text(io.BytesIO(TEXT.encode()), "Lines", tmp_path)
    tokenizer = new_tokenizer(DataConfig(corpus=corpus.name), TEXT, tmp_path)
    with pytest.raises(Stop):
        load_ids(corpus.name, tokenizer, tmp_path, stop)
    with no_file_longer_than(len(TEXT)), pytest.raises(TextError, match=os.strerror(errno.EFBIG)):
        load_ids(corpus.name, tokenizer, tmp_path)
    assert not list((tmp_path / "texts").glob("*.bin*"))
    assert own_text.own_text_file(corpus.name, tmp_path).read_text() == TEXT
