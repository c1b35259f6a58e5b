"""From a model's scores to the next token: temperature, top-k and top-p, one after the other."""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.model import GPT
from core.sampling import generate
from core.sampling_config import GenerationConfig
from core.text.tokenizers import CharTokenizer


def softmax_with_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Scores (V,) as probabilities (V,): a low temperature widens every lead, a high one evens all out."""
    return (logits / temperature).softmax(dim=0)


def keep_top_k(probabilities: Tensor, k: int) -> Tensor:
    """Only the k likeliest stay; what the others had is shared out among them (Fan 2018). 0 keeps all."""
    if k == 0:
        return probabilities
    least = probabilities.topk(min(k, len(probabilities))).values[-1]
    kept = torch.where(probabilities >= least, probabilities, 0)
    return kept / kept.sum()


def keep_top_p(probabilities: Tensor, p: float) -> Tensor:
    """The likeliest stay until together they hold a share of p, then nobody more (Holtzman 2019)."""
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(dim=0) - ordered  # what all likelier ones hold together
    kept = probabilities.clone()
    kept[order[before >= p]] = 0
    return kept / kept.sum()


def sampling_probabilities(logits: Tensor, temperature: float, k: int, p: float) -> Tensor:
    """The probabilities (V,) with which the next token is drawn in the end."""
    return keep_top_p(keep_top_k(softmax_with_temperature(logits, temperature), k), p)


def write(
    model: GPT, tokenizer: CharTokenizer, prompt: str, length: int, temperature: float, seed: int = 1
) -> tuple[str, list[float]]:
    """A text that goes on from the prompt, and how likely the model held each character of it.

    Temperature 0 always takes the likeliest.
    """
    settings = GenerationConfig(max_new_tokens=length, temperature=temperature, seed=seed)
    tokens = list(generate(model, tokenizer.encode(prompt), settings, alternatives=0))
    return tokenizer.decode([token.id for token in tokens]), [token.probability for token in tokens]


def share_of_repeats(text: str, length: int = 12) -> float:
    """How much of a text it has said before: the share of its stretches of so many characters that came earlier."""
    stretches = [text[start : start + length] for start in range(len(text) - length + 1)]
    return 1 - len(set(stretches)) / len(stretches) if stretches else 0.0


def mean_of(probabilities: Sequence[float]) -> float:
    """The mean of what the model held the characters for, as a share."""
    return sum(probabilities) / max(1, len(probabilities))
