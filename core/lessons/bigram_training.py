"""The table as a model that learns: one step of gradient descent seen from near, and the whole loop."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from core.config import ModelConfig
from core.model import Bigram
from core.text.batches import random_batch

BLOCK = 8  # the lecture's first context


def new_bigram(vocab_size: int, seed: int = 1337) -> Bigram:
    """A model that has learned nothing: all its scores are near 0, so every token seems equally likely."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Bigram(ModelConfig(kind="bigram", block_size=BLOCK), vocab_size)


def gradient_step(model: Bigram, x: Tensor, y: Tensor, learning_rate: float) -> float:
    """One step of plain gradient descent on one batch x, y (B, T). Returns the loss before it, in nats."""
    _, loss = model(x, y)
    model.zero_grad()
    loss.backward()  # for every number of the table: how would the loss change, if it grew a little?
    with torch.no_grad():
        for table in model.parameters():  # a bigram has one table (V, V)
            table -= learning_rate * table.grad  # downhill
    return loss.item()


class Microscope(NamedTuple):
    """A few steps on one batch, seen from near."""

    losses: list[float]  # on this batch: before the first step, then after each
    before: Tensor  # (V, V) probabilities
    after: Tensor  # (V, V) probabilities
    moved: Tensor  # (V,) bool: the rows that the steps have changed


def look_closely(vocab_size: int, x: Tensor, y: Tensor, learning_rate: float, steps: int, seed: int) -> Microscope:
    """A fresh model, so many steps on the same batch, and what they did. With `steps` one less, the last is undone."""
    model = new_bigram(vocab_size, seed)
    scores, before = model.token_embedding_table.weight.detach().clone(), model.table()
    losses = [gradient_step(model, x, y, learning_rate) for _ in range(steps)]
    with torch.no_grad():
        losses.append(model(x, y)[1].item())
    moved = (model.token_embedding_table.weight.detach() != scores).any(dim=1)
    return Microscope(losses, before, model.table(), moved)


def train_bigram(
    model: Bigram, ids: Tensor, *, steps: int, batch_size: int, learning_rate: float, seed: int
) -> Iterator[tuple[int, float]]:  # fmt: skip
    """The training loop. Yields each step's number, from 1, and its loss on its batch before the update, in nats.

    Args:
        ids: the training part of the text (N,).
    """
    rng = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.0)
    for step in range(1, steps + 1):
        x, y = random_batch(ids, batch_size, model.block_size, rng)  # (B, T) each
        _, loss = model(x, y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        yield step, loss.item()
