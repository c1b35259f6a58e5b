"""The models, each a torch module with one `forward(ids, targets=None, *, cache=None, hook=None)`."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from core.config import ModelConfig
from core.errors import NotFiniteError
from core.model.bigram import Bigram
from core.model.gpt import GPT
from core.model.layers import Hook as Hook


def build_model(config: ModelConfig, vocab_size: int) -> GPT | Bigram:
    """Return a new model of the kind that the config names; draws from torch's global generator."""
    return (Bigram if config.kind == "bigram" else GPT)(config, vocab_size)


class _SkipInit(TorchFunctionMode):
    # pyrefly: ignore[bad-override-param-name]
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if getattr(function, "__name__", "") in ("normal_", "uniform_", "kaiming_uniform_"):
            return kwargs["tensor"] if "tensor" in kwargs else args[0]
        return function(*args, **kwargs)


def build_uninitialized_model(config: ModelConfig, vocab_size: int) -> GPT | Bigram:
    """Return a model whose weights will be loaded: initializing a model of GPT-2's size takes a second."""
    with _SkipInit():
        return build_model(config, vocab_size)


def parameter_count(model: nn.Module) -> int:
    """Return the number of parameters; tied weights count once."""
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Switch dropout off inside the block, and restore the training mode after it."""
    was_training = model.training
    if was_training:  # shared models are always in evaluation mode, and then stay untouched
        model.eval()
    try:
        yield
    finally:
        if was_training:
            model.train()


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Return whether no tensor has inf or nan, in one pass without a copy unless a sum overflows."""
    return all(
        not tensor.is_floating_point() or bool(tensor.sum().isfinite()) or bool(tensor.isfinite().all())
        for tensor in tensors
    )


def finite_logits(logits: Tensor) -> Tensor:
    """Return the logits unchanged; raise NotFiniteError for nan, +inf, or only -inf (which is never sampled)."""
    if logits.numel() and not math.isfinite(float(logits.max())):  # `max` propagates nan
        raise NotFiniteError(
            "This model computes logits that are not finite numbers, so they give no probabilities. Its training "
            "overflowed or its weights are damaged; choose an earlier step or another model."
        )
    return logits
