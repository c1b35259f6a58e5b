"""Byte-pair encoding trained on a text (Sennrich 2016): its merges, found once for each text and cached."""

import json
import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tokenizers
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from core.atomic_io import parse_json, write_atomically
from core.config import SETTINGS, DataConfig
from core.errors import TextError
from core.text.corpora import text_hash
from core.text.large_text import is_large_text, vocabulary_of_large
from core.text.splitting import chunks_of
from core.text.tokenizers import TOKENIZERS, BPETokenizer, OnProgress, Tokenizer

BYTES = 256  # the tokens before the first merge
MIN_COUNT = 2  # of a merged pair: one that occurs once is no pattern
_COUNTED = 2000  # characters per chunk; the library counts the words of 256 chunks at a time
_COUNTING = 0.7  # share of the training time, measured on 5 MB and 20 MB; finding merges takes the rest
_MAX_FILES = 32  # in the cache; one has up to a megabyte
_LIMITS = SETTINGS["data.vocab_size"]

Merges = list[tuple[str, str]]
_training = threading.Lock()  # so that two visitors of a page do not train on the same text at once


def new_tokenizer(data: DataConfig, text: str, data_dir: Path, report: OnProgress = lambda share: None) -> Tokenizer:
    """Return the tokenizer that the settings name, made from the text; raises TextError if the text is too short.

    The merges of a smaller vocabulary are the first ones of a larger one, so a text is trained on only once; `report`
    gets the progress of that.
    """
    from_text = TOKENIZERS[data.tokenizer].from_text
    if from_text is not None:
        return from_text(vocabulary_of_large(data.corpus, data_dir) if is_large_text(data.corpus, data_dir) else text)
    merges = merges_of(text, data_dir, report)
    if (most := BYTES + len(merges)) >= data.vocab_size:
        return BPETokenizer.from_merges(merges[: data.vocab_size - BYTES])
    smaller = f"a vocabulary of at most {most:,}" if most >= _LIMITS.low else "bytes or characters as tokens"
    raise TextError(
        f"Byte-pair encoding makes at most {most:,} tokens from this text, not {data.vocab_size:,}: then no pair "
        f"occurs twice. Choose {smaller}, or a longer text."
    )


def merges_of(text: str, data_dir: Path, report: OnProgress = lambda share: None) -> Merges:
    """Return all merges of a text, the most frequent pair first, from the cache if they were found before."""
    path = _cache_of(text, data_dir)
    with _training:
        if not path.exists():
            _save(path, train_merges(text, report))
    try:
        return _read(path)
    except (OSError, ValueError, TypeError):  # just deleted, or damaged
        path.unlink(missing_ok=True)
        return train_merges(text, report)


def has_merges(text: str, data_dir: Path) -> bool:
    """Return whether the merges of a text were found before."""
    return _cache_of(text, data_dir).exists()


def _cache_of(text: str, data_dir: Path) -> Path:
    return data_dir / "tokenizers" / f"{text_hash(text)}.json"


def _save(path: Path, merges: Merges) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, json.dumps(merges).encode(), durable=False)
        for old in sorted(path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime)[:-_MAX_FILES]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise TextError(f"The tokenizer cannot be kept in {path.parent}: {error.strerror or error}.") from None


@lru_cache(maxsize=4)
def _read(path: Path) -> Merges:
    return [(str(left), str(right)) for left, right in parse_json(path.read_bytes())]


class MergeHistory(NamedTuple):
    """The effect of K successive merges on a text; merge k makes the token `BYTES + k`."""

    pairs: np.ndarray  # (K, 2) int64, the ids of the tokens merged
    counts: np.ndarray  # (K,) int64, how many pairs each merged in the text
    byte_counts: np.ndarray  # (BYTES,) int64, counts of the text's bytes by token id

    def lengths(self) -> np.ndarray:
        """Return how many tokens the text has before the first merge and after each: (K + 1,)."""
        return self.byte_counts.sum() - np.concatenate([[0], np.cumsum(self.counts)])

    def token_counts(self, merges: int) -> np.ndarray:
        """Return how often each token occurs in the text after the first `merges`: (BYTES + merges,)."""
        made = np.concatenate([self.byte_counts, self.counts[:merges]])
        np.subtract.at(made, self.pairs[:merges].ravel(), np.repeat(self.counts[:merges], 2))
        return made


def merge_history(text: str, data_dir: Path, report: OnProgress = lambda share: None) -> MergeHistory:
    """Return the effect of all merges on a text, counted from its final tokens: each is a tree of merges."""
    merges = merges_of(text, data_dir, lambda share: report(share / 2))
    tokenizer = BPETokenizer.from_merges(merges)
    ids = tokenizer.to_hugging_face().get_vocab()
    pairs = np.array([(ids[left], ids[right]) for left, right in merges], np.int64).reshape(-1, 2)
    encoded = tokenizer.encode_array(text, np.int32, lambda share: report(0.5 + share / 2))
    made = np.bincount(encoded, minlength=tokenizer.vocab_size)
    for token in range(tokenizer.vocab_size - 1, BYTES - 1, -1):
        for part in pairs[token - BYTES]:
            made[part] += made[token]
    return MergeHistory(pairs, made[BYTES:], made[:BYTES])


def train_merges(text: str, report: OnProgress = lambda share: None) -> Merges:
    """Find the merges of a text, as many as the largest vocabulary has; ties go to the pair with the smaller ids.

    `report` is called while words are counted, not while pairs are merged: the library cannot be stopped there.
    """
    tokenizer = tokenizers.Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    trainer = BpeTrainer(
        vocab_size=_LIMITS.high,
        min_frequency=MIN_COUNT,
        initial_alphabet=ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_reported(text, report), trainer)
    return [(left, right) for left, right in json.loads(tokenizer.to_str())["model"]["merges"]]


def _reported(text: str, report: OnProgress) -> Iterator[str]:
    done = 0
    for chunk in chunks_of(text, _COUNTED):
        yield chunk
        done += len(chunk)
        report(_COUNTING * done / max(1, len(text)))
