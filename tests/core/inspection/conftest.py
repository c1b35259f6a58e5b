import pytest
import torch

from core.config import ModelConfig
from core.model import build_model

VOCAB_SIZE = 11


def make(**changes):
    """A small model with weights large enough that attention is far from even."""
    torch.manual_seed(0)
    config = ModelConfig(**{"n_layer": 2, "n_head": 2, "n_embd": 16, "block_size": 12} | changes)
    model = build_model(config, VOCAB_SIZE).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(8)
    return model


@pytest.fixture
def gpt():
    return make()


@pytest.fixture
def bigram():
    return make(kind="bigram")
