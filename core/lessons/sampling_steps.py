"""From logits to the next token: temperature, top-k and top-p, one after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.model import GPT, Bigram
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.tokenizers import CharTokenizer


def softmax_with_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Return logits (V,) as probabilities (V,): a low temperature sharpens the distribution, a high one flattens it."""
    return (logits / temperature).softmax(dim=0)


def keep_top_k(probabilities: Tensor, k: int) -> Tensor:
    """Keep the k most likely tokens and rescale them to sum to 1 (Fan 2018). 0 keeps all."""
    if k == 0:
        return probabilities
    least = probabilities.topk(min(k, len(probabilities))).values[-1]
    remaining = torch.where(probabilities >= least, probabilities, 0)
    return remaining / remaining.sum()


def keep_top_p(probabilities: Tensor, p: float) -> Tensor:
    """Keep the fewest most likely tokens whose probabilities sum to p, and rescale them (Holtzman 2019)."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(dim=0) - ordered  # the sum over all likelier tokens
    remaining = probabilities.clone()
    remaining[order[before >= p]] = 0
    return remaining / remaining.sum()


def sampling_probabilities(logits: Tensor, temperature: float, k: int, p: float) -> Tensor:
    """Return the probabilities (V,) that the next token is sampled from."""
    return keep_top_p(keep_top_k(softmax_with_temperature(logits, temperature), k), p)


def sample_text(
    model: GPT | Bigram, tokenizer: CharTokenizer, prompt: str, length: int, temperature: float, seed: int = 1
) -> tuple[str, list[float]]:
    """Return a continuation of the prompt (greedy at temperature 0) and the probability of each of its tokens."""
    settings = GenerationConfig(max_new_tokens=length, temperature=temperature, seed=seed)
    tokens = list(generate(model, tokenizer.encode(prompt), settings, alternatives=0))
    return tokenizer.decode([token.id for token in tokens]), [token.probability for token in tokens]


def share_of_repeats(text: str, length: int = 12) -> float:
    """Return the share of a text's substrings of `length` characters that occurred earlier in it."""
    substrings = [text[start : start + length] for start in range(len(text) - length + 1)]
    return 1 - len(set(substrings)) / len(substrings) if substrings else 0.0


def mean_of(probabilities: Sequence[float]) -> float:
    """Return the mean, or 0 for an empty sequence."""
    return sum(probabilities) / max(1, len(probabilities))
