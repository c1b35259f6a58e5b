"""Abilities that appear suddenly during training: induction (Olsson 2022) and grokking (Power 2022)."""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from core.interpretability import Progress
from core.interpretability.activations import run_batch_with_cache
from core.model import GPT

_LENGTH = 16  # letters of a word
_WORDS = 16


def first_step(steps: Sequence[int], values: Sequence[float], level: float) -> int:
    """Return the first step at which a value reaches the level; -1 if none does."""
    return next((step for step, value in zip(steps, values, strict=True) if value >= level), -1)


def induction_scores(models: Mapping[int, GPT], letters: Tensor, space: int) -> Iterator[Progress[dict[int, float]]]:
    """Yield how much attention each step's best induction head pays to the token to be copied.

    Each text is a word of random letters, a space and the word again. In the second word, the token to be copied is the
    one after the current letter's first occurrence. Scores are attention weights from 0 to 1, averaged over letters.
    """
    rng = torch.Generator().manual_seed(0)
    words = torch.stack([letters[torch.randperm(len(letters), generator=rng)[:_LENGTH]] for _ in range(_WORDS)])
    ids = torch.cat([words, torch.full((_WORDS, 1), space), words], dim=1)
    queries = torch.arange(_LENGTH + 1, 2 * _LENGTH)  # the second word without its last letter
    scores: dict[int, float] = {}
    for done, (step, model) in enumerate(models.items(), 1):
        names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layer)]
        patterns = [*run_batch_with_cache(model, ids, names).values()]  # (B, H, T, T) of each layer
        heads = torch.cat(patterns, dim=1)[:, :, queries, queries - _LENGTH]  # (B, L * H, queries)
        scores[step] = heads.mean(dim=(0, 2)).max().item()
        yield Progress(done, len(models), scores)


def remainder(a: int, b: int, modulus: int) -> int:
    """Return (a + b) modulo P, like two turns around a circle divided into P parts."""
    return (a + b) % modulus
