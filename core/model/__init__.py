"""The models, each a torch module with one `forward(ids, targets=None, *, cache=None, tap=None)`."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from core.config import ModelConfig
from core.model.bigram import Bigram
from core.model.gpt import GPT
from core.model.hooks import Hook
from core.model.kv_cache import KVCache

__all__ = [
    "GPT",
    "Bigram",
    "Hook",
    "KVCache",
    "build_model",
    "evaluating",
    "parameter_count",
    "set_dropout",
]


def build_model(config: ModelConfig, vocab_size: int) -> GPT | Bigram:
    """A freshly initialised model of the kind that the config names; draws from torch's global generator."""
    return (Bigram if config.kind == "bigram" else GPT)(config, vocab_size)


def parameter_count(model: nn.Module) -> int:
    """Numbers that training may change; tied weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def set_dropout(model: nn.Module, share: float) -> None:
    """Blank another share of numbers while training, in every dropout layer of the model."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Dropout off inside the block, and back to what it was afterwards."""
    was_training = model.training
    if was_training:  # models that are shared are always in evaluation mode, and are then not touched
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()
