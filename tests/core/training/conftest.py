"""Fixtures: one small run, which the training tests vary."""

from collections.abc import Callable

import pytest
import torch

from core.config import ModelConfig, RunConfig, TrainConfig
from core.training.trainer import Trainer

VOCAB_SIZE = 11
SMALL = RunConfig(
    model=ModelConfig(n_layer=2, n_head=2, n_embd=16, block_size=8, dropout=0.2),
    train=TrainConfig(steps=12, batch_size=4, warmup_steps=2, eval_interval=4, eval_windows=5),
)


@pytest.fixture
def small() -> RunConfig:
    """Return a config with dropout, so that any use of the rng changes the result."""
    return SMALL


@pytest.fixture
def make_trainer() -> Callable[[RunConfig], Trainer]:
    ids = torch.randint(VOCAB_SIZE, (300,), generator=torch.Generator().manual_seed(0))
    return lambda config: Trainer(config, ids[:200], ids[200:], VOCAB_SIZE)
