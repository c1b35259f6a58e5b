"""The bigram lesson: a text as token ids, counted pairs, the loss, gradient descent, sampling, and longer contexts."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from core.config import ModelConfig
from core.interpretability import Progress
from core.model import Bigram
from core.text.batches import random_batch

BLOCK = 8  # the lecture's first context length


def vocabulary_of(text: str) -> list[str]:
    """Return the distinct characters of the text, sorted by code point."""
    return sorted(set(text))


def most_frequent(text: str) -> list[tuple[str, int]]:
    """Return every character with its count, most frequent first."""
    return Counter(text).most_common()


def character_ids(characters: Sequence[str]) -> dict[str, int]:
    """Return each character's id: its index in the vocabulary."""
    return {character: id for id, character in enumerate(characters)}


def encode(text: str, id_of: Mapping[str, int]) -> list[int]:
    """Return the ids of a text's characters; skip characters without an id."""
    return [id_of[character] for character in text if character in id_of]


def decode(ids: Sequence[int], characters: Sequence[str]) -> str:
    """Return the text of ids."""
    return "".join(characters[id] for id in ids)


def examples(x: Sequence[int], y: Sequence[int]) -> list[tuple[list[int], int]]:
    """Return the training examples in one sequence: each context of x with its target in y."""
    return [(list(x[: t + 1]), y[t]) for t in range(len(x))]


def count_pairs(ids: Tensor, vocab_size: int) -> Tensor:
    """Count how often each token follows each other token in ids (N,): a table (V, V), one row per first token."""
    counts = torch.zeros(vocab_size, vocab_size)
    first, second = ids[:-1], ids[1:]
    counts.index_put_((first, second), torch.ones(len(first)), accumulate=True)
    return counts


def as_probabilities(counts: Tensor) -> Tensor:
    """Divide each row of counts (V, V) by its sum; a row without counts becomes uniform."""
    totals = counts.sum(dim=1, keepdim=True)  # (V, 1)
    return torch.where(totals > 0, counts / totals.clamp(min=1), 1 / counts.shape[1])


def distance(learned: Tensor, counted: Tensor, counts: Tensor) -> float:
    """Return the total variation distance (0 to 1) of tables (V, V): the mean over rows, weighted by their counts."""
    row_distances = (learned - counted).abs().sum(dim=1) / 2  # (V,)
    weights = counts.sum(dim=1) / counts.sum()
    return float(weights @ row_distances)


class CrossEntropySteps(NamedTuple):
    """The steps of computing one cross-entropy."""

    score: float  # the target's logit
    power: float  # e to that logit
    total: float  # the sum of such powers over the vocabulary
    probability: float  # power / total
    loss: float  # -ln probability, in nats


def cross_entropy_steps(logits: Tensor, target: int) -> CrossEntropySteps:
    """Work out what `F.cross_entropy` computes in one call, for logits (V,)."""
    powers = logits.exp()  # every score becomes positive
    total = powers.sum()  # divided by it, they sum to 1
    probability = powers[target] / total
    loss = -probability.log()
    return CrossEntropySteps(*(float(number) for number in (logits[target], powers[target], total, probability, loss)))


def new_bigram(vocab_size: int, seed: int = 1337) -> Bigram:
    """Return an untrained model: all its logits are near 0, so all tokens are about equally likely."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Bigram(ModelConfig(kind="bigram", block_size=BLOCK), vocab_size)


def gradient_step(model: Bigram, x: Tensor, y: Tensor, learning_rate: float) -> float:
    """Take one step of plain gradient descent on a batch x, y (B, T). Returns the loss before it, in nats."""
    _, loss = model(x, y)
    model.zero_grad()
    loss.backward()  # for every number of the table: how does the loss change as it grows?
    with torch.no_grad():
        for table in model.parameters():  # a bigram has one table (V, V)
            assert table.grad is not None  # `backward` has filled it
            table -= learning_rate * table.grad  # downhill
    return loss.item()


class GradientSteps(NamedTuple):
    """A few steps on one batch, and their changes."""

    losses: list[float]  # on this batch: before the first step, then after each
    before: Tensor  # (V, V) probabilities
    after: Tensor  # (V, V) probabilities
    changed: Tensor  # (V,) bool: the rows that the steps changed


def gradient_steps(vocab_size: int, x: Tensor, y: Tensor, learning_rate: float, steps: int, seed: int) -> GradientSteps:
    """Take `steps` steps with a new model on the same batch."""
    model = new_bigram(vocab_size, seed)
    logits, before = model.token_embedding_table.weight.detach().clone(), model.table()
    losses = [gradient_step(model, x, y, learning_rate) for _ in range(steps)]
    with torch.no_grad():
        losses.append(model(x, y)[1].item())
    changed = (model.token_embedding_table.weight.detach() != logits).any(dim=1)
    return GradientSteps(losses, before, model.table(), changed)


def train_bigram(
    model: Bigram, ids: Tensor, *, steps: int, batch_size: int, learning_rate: float, seed: int
) -> Iterator[tuple[int, float]]:  # fmt: skip
    """Train on ids (N,). Yields each step's number, from 1, and its loss on its batch before the update, in nats."""
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    for step in range(1, steps + 1):
        x, y = random_batch(ids, batch_size, model.block_size, rng)  # (B, T) each
        _, loss = model(x, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield step, loss.item()


@torch.no_grad()
def sample_ids(model: Bigram, ids: Tensor, count: int, seed: int) -> Tensor:
    """Continue ids (T,) by `count` tokens, each sampled from the model's probabilities: (T + count,)."""
    rng = torch.Generator().manual_seed(seed)
    for _ in range(count):
        logits, _ = model(ids[None, -1:])  # (1, 1, V): a bigram reads only the last token
        probabilities = F.softmax(logits[0, -1], dim=-1)  # (V,)
        next_id = torch.multinomial(probabilities, 1, generator=rng)  # (1,)
        ids = torch.cat([ids, next_id])
    return ids


@torch.no_grad()
def greedy_ids(model: Bigram, ids: Tensor, count: int) -> Tensor:
    """Continue ids (T,) by `count` tokens, always the most likely one: (T + count,)."""
    for _ in range(count):
        logits, _ = model(ids[None, -1:])
        ids = torch.cat([ids, logits[0, -1].argmax()[None]])
    return ids


def repeated_cycle(ids: Tensor) -> list[int]:
    """Return the shortest sequence that ids (T,) end with twice in a row; empty if there is none."""
    tokens = ids.tolist()
    for length in range(1, len(tokens) // 2 + 1):
        if tokens[-length:] == tokens[-2 * length : -length]:
            return tokens[-length:]
    return []


def ngram_loss(train: str, text: str, context: int, vocab_size: int) -> float:
    """Return an n-gram model's loss on `text`, in nats a character: it counts what follows a context in `train`.

    Each context gets one extra count, spread over the vocabulary; an unseen context gives 1 / vocab_size.
    """
    contexts = Counter(train[i : i + context] for i in range(len(train) - context))
    continued = Counter(train[i : i + context + 1] for i in range(len(train) - context))
    loss = 0.0
    for i in range(context, len(text)):
        matching = continued[text[i - context : i + 1]]
        probability = (matching + 1 / vocab_size) / (contexts[text[i - context : i]] + 1)
        loss -= math.log(probability)
    return loss / (len(text) - context)


def ngram_losses(train: str, val: str, vocab_size: int, longest: int) -> Iterator[Progress[list[tuple[float, float]]]]:
    """Compute `ngram_loss` on training and validation text for every context length from 0 to `longest`."""
    losses = []
    for context in range(longest + 1):
        on_train = ngram_loss(train, train[: len(val)], context, vocab_size)
        on_val = ngram_loss(train, val, context, vocab_size)
        losses.append((on_train, on_val))
        yield Progress(context + 1, longest + 1, losses)


def next_character_counts(text: str, context: str) -> Counter[str]:
    """Count each character that follows `context` in the text."""
    counts: Counter[str] = Counter()
    index = text.find(context)
    while 0 <= index < len(text) - len(context):
        counts[text[index + len(context)]] += 1
        index = text.find(context, index + 1)
    return counts


def rows_needed(vocab_size: int, context: int) -> int:
    """Return how many rows a table of all contexts has."""
    return vocab_size**context
