"""Head roles: how much of its attention each head pays to the tokens that a known role attends to.

Each score is a share of attention, from 0 to 1, averaged over all queries for which the role differs from others.
Previous-token and induction heads: "In-context Learning and Induction Heads" (Olsson 2022). A model of a task
(`core.text.tasks`) has further roles, in `TASK_ROLES`: the tokens that answers depend on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Int64
from torch import Tensor

from core.interpretability import Progress
from core.interpretability.activations import rows_at_once, run_batch_with_cache
from core.model import GPT
from core.text.tasks import END, TASKS, brackets_to_close

Targets = Iterator[tuple[int, list[int]]]
"""Queries with the keys that a role attends to, as positions in a problem."""

ROLES = {
    "previous_token": "previous token",
    "same_token": "same token",
    "start_of_text": "start of text",
    "start_of_word": "start of the word",
    "induction": "induction",
}
"""The roles in any text with their titles: the token just before; all earlier occurrences of the same token; the first
token, from the third query on; the last space or newline, unless it is the previous token or the query; and, on
repeated random tokens, the token after the first occurrence."""

TASK_TITLES = {
    "aligned_digits": "aligned digits",
    "carry_digits": "carry digits",
    "both_numbers": "both numbers",
    "first_number": "first number",
    "operators": "plus or equals sign",
    "token_to_copy": "token to copy",
    "mirrored_token": "mirrored token",
    "next_in_order": "next in order",
    "bracket_to_close": "bracket to close",
}
"""The roles of tasks with their titles."""

NAMED_FROM = 0.3
"""A head whose largest score is below this has no clear role. Uniform attention scores under 0.1 on 64 tokens."""

ABOVE_UNIFORM = 0.2
"""How much more than uniform attention, which scores high in a context of few tokens, a role must score."""

_SEQUENCES = 16  # repeated random sequences for the induction score
_HALF = 64  # length of their half, if the context has room for both


class HeadScores(NamedTuple):
    """Scores of each head by role, from 0 to 1: its attention to the tokens that the role attends to."""

    shares: dict[str, Float32[np.ndarray, "L H"]]
    uniform: dict[str, float]  # scores of a head that attends to all tokens equally

    def threshold(self, role: str) -> float:
        """Return the lowest score at which a head has a role."""
        return max(NAMED_FROM, self.uniform[role] + ABOVE_UNIFORM)


class HeadName(NamedTuple):
    """The role of one head."""

    role: str | None  # a key of ROLES or TASK_TITLES, or None below the threshold
    words: str  # "previous token", or "no clear role"
    score: float  # in that role; without a role, the largest


def roles_of(corpus: str) -> dict[str, str]:
    """Return the roles, with their titles, that a model of the text `corpus` can have, a task's own first."""
    return {role: title for role, title in TASK_TITLES.items() if role in TASK_ROLES.get(corpus, ())} | ROLES


def score_heads(
    model: GPT, windows: Int[Tensor, "N W"], tokens: Sequence[str], seed: int = 1337, corpus: str = ""
) -> Iterator[Progress[HeadScores]]:
    """Score every head on windows of text and, for induction, on repeated random tokens.

    The last token of a window is not read. Scores are comparable across steps only on the same windows; 64 windows of
    64 tokens determine a score to about 0.01. `tokens` is the vocabulary, `corpus` the text's name: windows of a task
    start with a problem. The result contains the scores so far.
    """
    parts = [(False, part) for part in windows.split(rows_at_once(model, windows.size(1) - 1))]
    if "induction" not in TASK_ROLES.get(corpus, ()):
        repeated = repeated_tokens(model.vocab_size, min(_HALF, model.block_size // 2), _SEQUENCES, seed)
        parts += [(True, part) for part in repeated.split(rows_at_once(model, repeated.size(1)))]
    names = [f"blocks.{layer}.attn.hook_pattern" for layer in range(model.config.n_layer)]
    roles = list(roles_of(corpus))
    sums = {role: np.zeros((model.config.n_layer, model.config.n_head)) for role in roles}
    counts, uniforms = dict.fromkeys(roles, 0), dict.fromkeys(roles, 0.0)
    for done, (is_repeated, part) in enumerate(parts, start=1):
        targets = {"induction": _induction(part)} if is_repeated else _text_targets(part, tokens, corpus)
        read = part if is_repeated else part[:, :-1]
        recorded = run_batch_with_cache(model, read, names)
        even = _uniform_pattern(read.size(1), model.config.causal)
        for role, target in targets.items():
            counts[role] += int(target.any(dim=-1).sum())
            uniforms[role] += float((even * target).sum())
        for layer, name in enumerate(names):
            pattern = recorded.pop(name)  # (B, H, T, T)
            for role, target in targets.items():
                sums[role][layer] += torch.einsum("bhqk,bqk->h", pattern, target.to(pattern)).cpu().numpy()
        each = {role: max(counts[role], 1) for role in roles}
        shares = {role: np.clip(sums[role] / each[role], 0, 1).astype(np.float32) for role in roles}
        uniform = {role: uniforms[role] / each[role] for role in roles}
        yield Progress(done, len(parts), HeadScores(shares, uniform))


def attention_by_distance(patterns: Float32[np.ndarray, "L H T T"]) -> Float32[np.ndarray, "L H T"]:
    """Return the mean attention by distance back to the key, over the queries in the second half of the text."""
    length = patterns.shape[-1]
    queries = np.arange(length // 2, length)[:, None]  # each has at least half of all distances
    keys = queries - np.arange(length)  # (Q, T); negative before the start of the text
    return np.where(keys >= 0, patterns[..., queries, keys], 0).mean(axis=-2)


def name_heads(scores: HeadScores) -> list[list[HeadName]]:
    """Return each head's role, by layer and head: of those at or above the threshold, the one most above uniform.

    The role is None if all scores are below the threshold.
    """
    titles = ROLES | TASK_TITLES

    def name(shares: dict[str, float]) -> HeadName:
        clear = [role for role, share in shares.items() if share >= scores.threshold(role)]
        if not clear:
            return HeadName(None, "no clear role", max(shares.values()))
        role = max(clear, key=lambda role: shares[role] - scores.uniform[role])
        return HeadName(role, titles[role], shares[role])

    layers, heads = next(iter(scores.shares.values())).shape
    return [
        [name({role: float(share[layer, head]) for role, share in scores.shares.items()}) for head in range(heads)]
        for layer in range(layers)
    ]


def emergence_steps(
    steps: Sequence[int], scores: Float[np.ndarray, "S L H"], threshold: float = NAMED_FROM
) -> Int64[np.ndarray, "L H"]:
    """Return the step from which a role's scores stay at the threshold or above, or -1."""
    keeps = np.logical_and.accumulate((scores >= threshold)[::-1], axis=0)[::-1]  # (S, L, H): from here to the end
    return np.where(keeps.any(axis=0), np.asarray(steps, dtype=np.int64)[keeps.argmax(axis=0)], -1)


def repeated_tokens(vocab_size: int, length: int, count: int, seed: int) -> Int64[Tensor, "{count} 2*{length}"]:
    """Return random tokens, repeated once. No token occurs twice in a half if the vocabulary is large enough."""
    rng = torch.Generator().manual_seed(seed)
    if vocab_size >= length:
        half = torch.stack([torch.randperm(vocab_size, generator=rng)[:length] for _ in range(count)])
    else:
        half = torch.randint(vocab_size, (count, length), generator=rng)
    return torch.cat([half, half], dim=1)


def _uniform_pattern(length: int, causal: bool) -> Tensor:
    """Return attention (T, T) that is uniform over the tokens a query can attend to."""
    visible = torch.ones(length, length)
    visible = visible.tril() if causal else visible
    return visible / visible.sum(dim=-1, keepdim=True)


def _text_targets(windows: Tensor, tokens: Sequence[str], corpus: str) -> dict[str, Tensor]:
    """Return masks (B, T, T), True where each role attends, for windows (B, T + 1) without their last token.

    A query without any True does not count.
    """
    ids = windows[:, :-1]
    B, T = ids.shape
    query, key = torch.arange(T)[:, None], torch.arange(T)[None, :]
    is_space = torch.tensor([any(character.isspace() for character in token) for token in tokens])[ids]  # (B, T)
    last = torch.where(is_space, torch.arange(T), -1).cummax(dim=1).values  # the last space up to here, or -1
    targets = {
        "previous_token": (key == query - 1).expand(B, T, T),
        "same_token": (ids[:, :, None] == ids[:, None, :]) & (key < query),
        "start_of_text": ((key == 0) & (query >= 2)).expand(B, T, T),  # for the second query it is the previous token
        "start_of_word": (key == last[:, :, None]) & (key < query - 1) & ~is_space[:, :, None],
    }
    roles = TASK_ROLES.get(corpus, {})
    targets |= {role: torch.zeros(B, T, T, dtype=torch.bool) for role in roles}
    for row, window in enumerate(windows.tolist() if roles else ()):
        for start, question, answer in _problems_in("".join(tokens[id] for id in window), TASKS[corpus].separator):
            for role, attends_to in roles.items():
                for at, keys in attends_to(question, answer):
                    targets[role][row, start + at, [start + key for key in keys]] = True
    return targets


def _induction(ids: Tensor) -> Tensor:
    """Return the mask of induction for repeated tokens (B, 2n): from query n + i to key i + 1."""
    B, T = ids.shape
    query, key = torch.arange(T)[:, None], torch.arange(T)[None, :]
    return ((query >= T // 2) & (key == query - T // 2 + 1)).expand(B, T, T)


def _problems_in(text: str, separator: str) -> Iterator[tuple[int, str, str]]:
    """Yield the complete problems of a text that starts with one: each one's start, question and answer."""
    start = 0
    for line in text.split(END)[:-1]:  # after the last newline, a problem is incomplete
        question, _separator, answer = line.partition(separator)
        yield start, question, answer
        start += len(line) + len(END)


def _of_answers(keys_of: Callable[[str, str, int], list[int]], question: str, answer: str) -> Targets:
    """Yield the query that predicts each token of an answer, from the separator on, and its keys, if it has any."""
    for place in range(len(answer)):
        if keys := keys_of(question, answer, place):
            yield len(question) + place, keys


def _digits_at(question: str, power: int) -> list[int]:
    """Return the positions of the digits for a power of ten in two numbers, such as "12+3"."""
    plus = question.index("+")
    return [end - 1 - power for begin, end in ((0, plus), (plus + 1, len(question))) if 0 <= power < end - begin]


def _sum_digits(question: str, answer: str, place: int, *, backwards: bool = False, lower: int = 0) -> list[int]:
    return _digits_at(question, (place if backwards else len(answer) - 1 - place) - lower)


def _operators(question: str, _answer: str, _place: int) -> list[int]:
    return [question.index("+"), len(question)]


def _copied(_question: str, _answer: str, place: int) -> list[int]:
    return [place]


def _copied_after_the_first(_question: str, _answer: str, place: int) -> list[int]:
    return [place] if place else []


def _mirrored(question: str, _answer: str, place: int) -> list[int]:
    return [len(question) - 1 - place]


def _equal(question: str, answer: str, place: int) -> list[int]:
    return [at for at, character in enumerate(question) if character == answer[place]]


def _opened(question: str, _answer: str, place: int) -> list[int]:
    return [brackets_to_close(question)[place]]


def _first_number(question: str, _answer: str) -> Targets:
    """Yield each digit of the second number and the first number's digit for the same power of ten."""
    for power in range(len(question)):
        if len(both := _digits_at(question, power)) == 2:
            yield both[1], both[:1]


def _of_sums(*, backwards: bool = False) -> dict[str, Callable[[str, str], Targets]]:
    return {
        "aligned_digits": partial(_of_answers, partial(_sum_digits, backwards=backwards)),
        "carry_digits": partial(_of_answers, partial(_sum_digits, backwards=backwards, lower=1)),
        "operators": partial(_of_answers, _operators),
        "first_number": _first_number,
    }


TASK_ROLES: Mapping[str, Mapping[str, Callable[[str, str], Targets]]] = {
    "addition": _of_sums(),
    "addition-backwards": _of_sums(backwards=True),
    "modular-addition": {
        "both_numbers": partial(_of_answers, _sum_digits),  # each is one character
        "operators": partial(_of_answers, _operators),
        "first_number": _first_number,
    },
    "copy": {"token_to_copy": partial(_of_answers, _copied)},
    # The text itself repeats, so induction need not be scored on random tokens; nothing precedes the first letter.
    "repeats": {"induction": partial(_of_answers, _copied_after_the_first)},
    "reverse": {"mirrored_token": partial(_of_answers, _mirrored)},
    "sort": {"next_in_order": partial(_of_answers, _equal)},
    "brackets": {"bracket_to_close": partial(_of_answers, _opened)},
}
"""What the roles of each task attend to, from a question and its answer."""
