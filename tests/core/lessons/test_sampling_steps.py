from collections import Counter

import pytest
import torch

from core.config import ModelConfig
from core.lessons.sampling_steps import (
    keep_top_k,
    keep_top_p,
    sample_text,
    sampling_probabilities,
    share_of_repeats,
    softmax_with_temperature,
)
from core.model import build_model
from core.sampling import sample_token
from core.sampling_config import GenerationConfig
from core.text.tokenizers import CharTokenizer

LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])
ROLLS = 4000


@pytest.mark.parametrize(
    ("temperature", "k", "p"),
    [(1.0, 0, 1.0), (1.0, 3, 1.0), (1.0, 0, 0.8), (1.0, 1, 0.05), (0.3, 4, 0.6), (1.7, 4, 0.6)],
)
def test_sampling_probabilities_match_the_frequencies_of_sample_token(temperature, k, p):
    settings = GenerationConfig(temperature=temperature, top_k=k, top_p=p)
    drawn = Counter(sample_token(LOGITS, settings, (roll + 0.5) / ROLLS) for roll in range(ROLLS))
    shares = torch.tensor([drawn[id] / ROLLS for id in range(len(LOGITS))])
    torch.testing.assert_close(sampling_probabilities(LOGITS, temperature, k, p), shares, rtol=0, atol=2 / ROLLS)


def test_top_k_and_top_p_renormalize_the_remaining_probabilities():
    probabilities = softmax_with_temperature(LOGITS, 1.0)
    torch.testing.assert_close(probabilities, LOGITS.softmax(dim=0))
    assert (keep_top_k(probabilities, 2) > 0).sum() == 2
    assert (keep_top_p(probabilities, 1e-6) > 0).tolist() == [True] + [False] * 5
    for kept in (keep_top_k(probabilities, 2), keep_top_p(probabilities, 0.7)):
        assert float(kept.sum()) == pytest.approx(1)


def test_sampling_at_temperature_zero_ignores_the_seed():
    tokenizer = CharTokenizer.from_text("abcdef")
    torch.manual_seed(0)
    model = build_model(ModelConfig(n_layer=1, n_head=1, n_embd=8, block_size=8, init_std=0.3), 6).eval()
    once, held = sample_text(model, tokenizer, "a", 40, temperature=0, seed=1)
    assert sample_text(model, tokenizer, "a", 40, temperature=0, seed=2)[0] == once and len(held) == len(once) == 40
    assert (
        sample_text(model, tokenizer, "a", 40, 1.0, seed=1)[0] != sample_text(model, tokenizer, "a", 40, 1.0, seed=2)[0]
    )


def test_share_of_repeats_counts_repeated_ngrams():
    assert share_of_repeats("abcdefghijklmnop") == 0
    assert share_of_repeats("abc" * 20, length=3) == pytest.approx(55 / 58)
    assert share_of_repeats("ab", length=12) == 0
