"""Byte-pair encoding by hand (Gage 1994; Sennrich 2016), as GPT-2's tokenizer was trained, in plain Python."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import torch

from core.interpretability import Progress
from core.lessons.quick_train import small_gpt, train_briefly
from core.text import split_point
from core.text.tokenizers import Tokenizer
from core.training.evaluation import bits_per_byte

Words = list[list[int]]  # the token ids of each word
Pair = tuple[int, int]


def words_of(text: str) -> Words:
    """Return the UTF-8 bytes of each word, including the space before it: merges never cross word boundaries."""
    words = re.findall(r"'(?:s|t|re|ve|m|ll|d)| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+", text)
    return [list(word.encode()) for word in words]


def pair_counts(words: Words) -> Counter[Pair]:
    """Return how often each pair of neighboring tokens occurs."""
    return Counter(pair for word in words for pair in pairwise(word))


def most_frequent_pair(counts: Counter[Pair]) -> Pair:
    """Return the pair that occurs most often; ties go to the smaller ids."""
    return min(counts, key=lambda pair: (-counts[pair], pair))


def merge_pair(words: Words, pair: Pair, new_id: int) -> Words:
    """Replace each occurrence of a pair, from the left, by one new token."""
    merged = []
    for word in words:
        tokens: list[int] = []
        for token in word:
            if tokens and (tokens[-1], token) == pair:
                tokens[-1] = new_id
            else:
                tokens.append(token)
        merged.append(tokens)
    return merged


def train_byte_pairs(text: str, merges: int) -> tuple[list[Pair], Words]:
    """Repeatedly merge the most frequent pair; return the pairs in order and the text's tokens at the end.

    Merge k makes token 256 + k. Stops early if no pair occurs twice.
    """
    words = words_of(text)
    pairs: list[Pair] = []
    for new_id in range(256, 256 + merges):
        counts = pair_counts(words)
        if not counts or counts[pair := most_frequent_pair(counts)] < 2:
            break
        words = merge_pair(words, pair, new_id)
        pairs.append(pair)
    return pairs, words


def bytes_of_tokens(pairs: list[Pair]) -> list[bytes]:
    """Return the bytes of each token: the 256 single bytes, then the token of each merge."""
    tokens = [bytes([byte]) for byte in range(256)]
    for left, right in pairs:
        tokens.append(tokens[left] + tokens[right])
    return tokens


class TokenizerTrial(NamedTuple):
    """A small GPT trained on the tokens of one tokenizer."""

    parameters: int
    nats: float  # a token of validation text
    bytes_per_token: float  # of validation text

    @property
    def bits_per_byte(self) -> float:
        """Return the loss per byte of text, which is comparable between tokenizers."""
        return bits_per_byte(self.nats, self.bytes_per_token)


def compare_tokenizers(
    text: str, tokenizers: Mapping[str, Tokenizer], seed: int = 1337
) -> Iterator[Progress[dict[str, TokenizerTrial]]]:
    """Train the same small GPT for the same number of steps on the tokens of each tokenizer."""
    trials: dict[str, TokenizerTrial] = {}
    start = split_point(len(text), 0.1)
    train_text, val_text = text[:start], text[start:]
    for place, (name, tokenizer) in enumerate(tokenizers.items()):
        train_ids, val_ids = (torch.from_numpy(tokenizer.encode_array(part).copy()) for part in (train_text, val_text))
        configs = {name: small_gpt(seed)}
        for progress in train_briefly(configs, train_ids, val_ids, tokenizer.vocab_size):
            yield Progress(place * progress.total + progress.done, len(tokenizers) * progress.total, trials)
        run = progress.result[name]
        parameters = sum(parameter.numel() for parameter in run.model.parameters())
        trials[name] = TokenizerTrial(parameters, run.val[-1], len(val_text.encode()) / len(val_ids))
    yield Progress(1, 1, trials)
