import math
from collections import Counter, defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import TextError
from core.text.batches import split_ids
from core.text.corpora import load_corpus
from core.text.ngrams import count_baselines, pair_probabilities
from core.text.tokenizers import CharTokenizer


class WittenBell:
    """The textbook formula in plain Python, with dicts."""

    def __init__(self, ids, vocab_size):
        self.vocab_size = vocab_size
        self.followers = defaultdict(Counter)
        for length in range(3):
            for i in range(length, len(ids)):
                self.followers[tuple(ids[i - length : i])][ids[i]] += 1

    def probability(self, token, history):
        shorter = self.probability(token, history[1:]) if history else 1 / self.vocab_size
        followers = self.followers.get(history)
        if not followers:
            return shorter
        n, variety = sum(followers.values()), len(followers)
        return (followers[token] + variety * shorter) / (n + variety)

    def loss(self, ids, length):
        losses = [-math.log(self.probability(ids[i], tuple(ids[i - length : i]))) for i in range(2, len(ids))]
        return sum(losses) / len(losses)


ids_of_seven = st.lists(st.integers(0, 6), min_size=3, max_size=60)


@given(ids_of_seven, ids_of_seven)
def test_baseline_losses_match_a_plain_witten_bell_implementation(train, val):
    reference = WittenBell(train, 7)
    counted = count_baselines(train, val, 7)
    assert counted.uniform == pytest.approx(math.log(7))
    assert counted.unigram == pytest.approx(reference.loss(val, 0))
    assert counted.bigram == pytest.approx(reference.loss(val, 1))
    assert counted.trigram == pytest.approx(reference.loss(val, 2))


@given(ids_of_seven, ids_of_seven, st.data())
def test_baseline_losses_count_only_the_predicted_tokens(train, val, data):
    reference = WittenBell(train, 7)
    predicted = data.draw(st.lists(st.integers(0, len(val) - 1), min_size=1, max_size=20))
    counted = count_baselines(train, val, 7, predicted)
    for length, found in enumerate((counted.unigram, counted.bigram, counted.trigram)):
        losses = [-math.log(reference.probability(val[i], tuple(val[max(0, i - length) : i]))) for i in predicted]
        assert found == pytest.approx(sum(losses) / len(losses))


@settings(max_examples=20)
@given(st.integers(3, 5000))
def test_baselines_are_right_for_large_vocabularies(vocab_size):
    ids = np.arange(6) % vocab_size * 7 % vocab_size
    reference = WittenBell(ids.tolist(), vocab_size)
    assert count_baselines(ids, ids, vocab_size).trigram == pytest.approx(reference.loss(ids.tolist(), 2))


def test_longer_ngrams_have_lower_loss_on_shakespeare(tmp_path):
    text = load_corpus("shakespeare", tmp_path)[:1_000_000]
    tokenizer = CharTokenizer.from_text(text)
    train, val = split_ids(torch.from_numpy(tokenizer.encode_array(text)), 0.1)
    counted = count_baselines(train, val, tokenizer.vocab_size)
    assert counted.uniform == pytest.approx(math.log(tokenizer.vocab_size))
    assert 3.2 < counted.unigram < 3.5
    assert 2.4 < counted.bigram < 2.6
    assert 2.0 < counted.trigram < 2.2


@pytest.mark.parametrize(("train", "val"), [([], [0, 1, 0]), ([0, 1, 0], [0, 1]), ([0, 1], [0, 1, 0])])
def test_fewer_than_three_tokens_are_refused(train, val):
    with pytest.raises(TextError, match=f"at least 3 tokens .* they have {len(train)} and {len(val)}"):
        count_baselines(train, val, 2)


def test_pair_probabilities_give_the_loss_of_the_bigram_baseline():
    train, val = np.array([0, 1, 2, 0, 1, 0, 2, 2, 1, 0]), np.array([0, 1, 0, 2, 1])
    beliefs = pair_probabilities(train, val[1:-1], 4)
    np.testing.assert_allclose(beliefs.sum(axis=1), 1)
    assert beliefs.min() > 0
    loss = -np.log(beliefs[np.arange(3), val[2:]]).mean()
    assert loss == pytest.approx(count_baselines(train, val, 4).bigram)
