"""Head roles: how much of its attention each head pays to the tokens that a known role attends to.

Each score is a share of attention, from 0 to 1, averaged over all queries for which the role differs from others.
Previous-token and induction heads: "In-context Learning and Induction Heads" (Olsson 2022).
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

from core.interpretability import Progress
from core.interpretability.activations import rows_at_once, run_batch_with_cache
from core.model import GPT

ROLES = {
    "previous_token": "previous token",
    "same_token": "same token",
    "start_of_text": "start of text",
    "start_of_word": "start of the word",
    "induction": "induction",
}
"""The roles with their titles, in the order of `HeadScores`."""

NAMED_FROM = 0.3
"""A head whose largest score is below this has no clear role. Uniform attention scores under 0.1 on 64 tokens."""

_SEQUENCES = 16  # repeated random sequences for the induction score
_HALF = 64  # their length, where the context has room for twice as much


class HeadScores(NamedTuple):
    """Scores of each head, from 0 to 1: its attention to what a role attends to."""

    previous_token: Float32[np.ndarray, "L H"]  # the token just before, from the second query on
    same_token: Float32[np.ndarray, "L H"]  # all earlier occurrences of the same token, where there are any
    start_of_text: Float32[
        np.ndarray, "L H"
    ]  # the first token, from the third query on (for the second it is the previous token)
    start_of_word: Float32[
        np.ndarray, "L H"
    ]  # the last space or newline, unless it is the previous token, or the query is one itself
    induction: Float32[
        np.ndarray, "L H"
    ]  # on repeated random tokens, in the second half, the token after the first occurrence


class HeadName(NamedTuple):
    """The role of one head."""

    role: str | None  # a key of ROLES, or None below the threshold
    words: str  # "previous token", or "no clear role"
    score: float  # the largest one, also without a role


def score_heads(
    model: GPT, windows: Int[Tensor, "N W"], tokens: Sequence[str], seed: int = 1337
) -> Iterator[Progress[HeadScores]]:
    """Score every head on windows of text and, for induction, on repeated random tokens.

    The last token of a window is not read. The windows must be the same for scores to compare from step to step; 64 of
    64 tokens determine a score to about 0.01. `tokens` is the vocabulary. The result holds the scores so far.
    """
    space_tokens = torch.tensor([any(character.isspace() for character in token) for token in tokens])
    sums, counts = np.zeros((5, model.config.n_layer, model.config.n_head)), np.zeros(5)
    repeated = repeated_tokens(model.vocab_size, min(_HALF, model.block_size // 2), _SEQUENCES, seed)
    parts = [(False, part) for part in windows[:, :-1].split(rows_at_once(model, windows.size(1) - 1))]
    parts += [(True, part) for part in repeated.split(rows_at_once(model, repeated.size(1)))]
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layer)]
    for done, (is_repeated, part) in enumerate(parts, start=1):
        targets = [None] * 4 + [_induction(part)] if is_repeated else [*_habits(part, space_tokens), None]
        recorded = run_batch_with_cache(model, part, names)
        for layer, name in enumerate(names):
            pattern = recorded.pop(name)  # (B, H, T, T)
            for role, target in enumerate(targets):
                if target is not None:
                    sums[role, layer] += torch.einsum("bhqk,bqk->h", pattern, target.to(pattern)).cpu().numpy()
        counts += [0 if target is None else int(target.any(dim=-1).sum()) for target in targets]
        scores = np.clip(sums / np.maximum(counts, 1)[:, None, None], 0, 1).astype(np.float32)
        yield Progress(done, len(parts), HeadScores(*scores))


def name_heads(scores: HeadScores, threshold: float = NAMED_FROM) -> list[list[HeadName]]:
    """Return the role of each head, by layer and head; none where its score is below the threshold."""

    def name(scores: np.ndarray) -> HeadName:
        role = list(ROLES)[scores.argmax()] if scores.max() >= threshold else None
        return HeadName(role, ROLES[role] if role else "no clear role", float(scores.max()))

    return [[name(head) for head in layer] for layer in np.stack(scores, axis=-1)]  # (L, H, 5)


def emergence_steps(steps: Sequence[int], scores: Float[np.ndarray, "S L H"]) -> Int64[np.ndarray, "L H"]:
    """Return the step from which a role's scores stay above `NAMED_FROM`, or -1."""
    keeps = np.logical_and.accumulate((scores >= NAMED_FROM)[::-1], axis=0)[::-1]  # (S, L, H): from here to the end
    return np.where(keeps.any(axis=0), np.asarray(steps, dtype=np.int64)[keeps.argmax(axis=0)], -1)


def repeated_tokens(vocab_size: int, length: int, count: int, seed: int) -> Int64[Tensor, "{count} 2*{length}"]:
    """Return random tokens, repeated once. A half has no token twice if the vocabulary permits."""
    rng = torch.Generator().manual_seed(seed)
    if vocab_size >= length:
        half = torch.stack([torch.randperm(vocab_size, generator=rng)[:length] for _ in range(count)])
    else:
        half = torch.randint(vocab_size, (count, length), generator=rng)
    return torch.cat([half, half], dim=1)


def _habits(ids: Tensor, space_tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return where each role attends to: True in (B, T, T); a query without True does not count."""
    B, T = ids.shape
    query, key = torch.arange(T)[:, None], torch.arange(T)[None, :]
    previous = (key == query - 1).expand(B, T, T)
    same = (ids[:, :, None] == ids[:, None, :]) & (key < query)
    start = ((key == 0) & (query >= 2)).expand(B, T, T)
    is_space = space_tokens[ids]  # (B, T)
    last = torch.where(is_space, torch.arange(T), -1).cummax(dim=1).values  # the last space up to here, or -1
    word = (key == last[:, :, None]) & (key < query - 1) & ~is_space[:, :, None]
    return previous, same, start, word


def _induction(ids: Tensor) -> Tensor:
    """Return the same for repeated tokens (B, 2n): from n + i to i + 1."""
    B, T = ids.shape
    query, key = torch.arange(T)[:, None], torch.arange(T)[None, :]
    return ((query >= T // 2) & (key == query - T // 2 + 1)).expand(B, T, T)
