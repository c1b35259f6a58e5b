"""The work of one training step: products, numbers moved, memory; counted by running it on torch's meta device.

The model's own code runs there, on tensors with shapes but no values, so a new part of the model needs no formula here.
All blocks are alike, so models with one and two blocks are counted and extrapolated.
"""

import weakref
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_iter

from core.config import ModelConfig, RunConfig, TrainConfig
from core.model import GPT, Bigram, build_uninitialized_model
from core.training.optimizers import build_optimizer

_BATCH = 2
_ADAMW_MOVED = 14  # float32 numbers per parameter: the fused kernel moves 7, but takes the time of 14
_PARTS = ("wte", "wpe", "attn", "mlp", "ln_", "lm_head", "bigram", "token_embedding_table")  # within parameter names
_PRODUCTS = ("linear", "matmul", "__matmul__", "bmm", "baddbmm", "scaled_dot_product_attention")


class Work(NamedTuple):
    """The work of one token in one training step, forward and backward; all numbers are float32."""

    flops: float  # in matrix products
    numbers_moved: float  # read or written outside of them, including those cast
    random_numbers: float  # of 64 bits, drawn by dropout
    saved_numbers: float  # kept from the forward pass for the backward pass
    numbers_cast: float  # read or written to cast activations and their gradients to bfloat16 and back
    weights_cast: float  # the same for weights, per pass through the model, regardless of its tokens


class Update(NamedTuple):
    """The work of one update of the weights by the optimizer, independent of the batch; all numbers are float32."""

    flops: float  # in matrix products (Muon's)
    numbers_moved: float  # read or written outside of them
    memory: float  # extra numbers allocated while it runs
    state: float  # numbers kept between updates


def work_per_token(config: ModelConfig, vocab_size: int, precision: str = "float32") -> Work:
    """Count one token's share of a training step, without building the model."""
    return Work(*_of_all_layers(_work, config, vocab_size, precision))


def flops_of_step(config: RunConfig, vocab_size: int) -> float:
    """Count the floating-point operations of one training step, forward and backward."""
    tokens = config.train.batch_size * config.model.block_size
    return tokens * work_per_token(config.model, vocab_size).flops


def work_of_update(config: ModelConfig, vocab_size: int, optimizer: str) -> Update:
    """Count one update of the weights, without building the model."""
    return Update(*_of_all_layers(_update, config, vocab_size, optimizer))


def exact_parameters(config: ModelConfig, vocab_size: int) -> int:
    """Return how many parameters the model would have."""
    return sum(parameters_by_part(config, vocab_size).values())


def parameters_by_part(config: ModelConfig, vocab_size: int) -> dict[str, int]:
    """Return how many parameters each part of the model would have, by its module's name; empty parts are left out."""
    counts = dict(zip(_PARTS, map(int, _of_all_layers(_parameters, config, vocab_size)), strict=True))
    return {part: count for part, count in counts.items() if count}


def _of_all_layers(count: Callable[..., tuple[float, ...]], config: ModelConfig, *more: Any) -> Iterator[float]:
    """Yield each count for all layers, extrapolated from models with one and two layers."""
    one, two = (count(config.model_copy(update={"n_layer": n_layer}), *more) for n_layer in (1, 2))
    return (first + (config.n_layer - 1) * (second - first) for first, second in zip(one, two, strict=True))


def _empty_model(config: ModelConfig, vocab_size: int) -> GPT | Bigram:
    with torch.device("meta"):
        return build_uninitialized_model(config, vocab_size)


@lru_cache(maxsize=512)
def _parameters(config: ModelConfig, vocab_size: int) -> tuple[int, ...]:
    counts = dict.fromkeys(_PARTS, 0)
    for name, parameter in _empty_model(config, vocab_size).named_parameters():
        counts[next(part for part in _PARTS if part in name)] += parameter.numel()
    return tuple(counts.values())


@lru_cache(maxsize=512)
def _work(config: ModelConfig, vocab_size: int, precision: str) -> Work:
    model = _empty_model(config, vocab_size)
    ids = torch.empty(_BATCH, config.block_size, dtype=torch.int64, device="meta")
    counter = _Counter(model, half=precision == "bfloat16")
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in counter.constant:
            storages[storage._cdata] = storage
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), counter:
        logits, _ = model(ids, ids)
    keep(logits)
    saved = sum(storage.nbytes() for storage in storages.values()) / 4
    cast = 2 * counter.cast  # the backward pass casts each one's gradient
    amounts = (3 * counter.flops, 3 * counter.moved + cast, counter.random, saved, cast)
    return Work(*(amount / ids.numel() for amount in amounts), weights_cast=2 * counter.weights_cast)


@lru_cache(maxsize=512)
def _update(config: ModelConfig, vocab_size: int, name: str) -> Update:
    """Count the second update, because the first one creates the state. AdamW's fused kernel has known counts."""
    model = _empty_model(config, vocab_size)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter)
    updates: list[Update] = []
    for optimizer in build_optimizer(model, TrainConfig().replace({"optimizer": name})).optimizers:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        if isinstance(optimizer, torch.optim.AdamW):
            size = sum(parameter.numel() for parameter in parameters)
            updates.append(Update(0, _ADAMW_MOVED * size, 0, 2 * size))
            continue
        optimizer.step()
        with _Counter(model) as counter:
            optimizer.step()
        state = sum(_numbers(tensor) for parameter in parameters for tensor in _tensors(optimizer.state[parameter]))
        updates.append(Update(counter.flops, counter.moved, counter.most_alive, state))
    return Update(
        flops=sum(update.flops for update in updates),
        numbers_moved=sum(update.numbers_moved for update in updates),
        memory=sum(update.memory for update in updates),
        state=sum(update.state for update in updates),
    )


class _Counter(TorchFunctionMode):
    def __init__(self, model: nn.Module, half: bool = False):
        super().__init__()
        self.half = half  # products in bfloat16, like autocast, which the meta device does not support
        self.flops = self.moved = self.random = self.cast = self.weights_cast = self.alive = self.most_alive = 0.0
        self._weights = [t.untyped_storage() for t in (*model.parameters(), *model.buffers())]
        self.constant = {storage._cdata for storage in self._weights}

    # pyrefly: ignore[bad-override-param-name]
    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        kwargs = kwargs or {}
        inputs = _tensors((args, kwargs))
        product = name in _PRODUCTS
        result = self._product(function, name, args, kwargs) if product else function(*args, **kwargs)
        if name == "__get__" or not inputs:
            return result
        before = {t.untyped_storage()._cdata for t in inputs}
        fresh = [t for t in _tensors(result) if t.untyped_storage()._cdata not in before]
        in_place = name.startswith("__i") or (name.endswith("_") and not name.endswith("__"))
        if not product and (fresh or in_place):
            variable = [t for t in inputs if t.untyped_storage()._cdata not in self.constant or in_place]
            self.moved += sum(map(_numbers, (*variable, *fresh)))
        if name == "random_":
            self.random += inputs[0].numel()
        for tensor in fresh:
            self._count_alive(_numbers(tensor))
            weakref.finalize(tensor, self._count_alive, -_numbers(tensor))
        return result

    def _product(self, function: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Tensor:
        if self.half:
            args = tuple(self._rounded(a) if isinstance(a, Tensor) else a for a in args)
        if name == "scaled_dot_product_attention":
            q, k, v = args
            self.flops += 4 * q.numel() * k.size(-2)
            attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
            mask, scale = kwargs["attn_mask"], kwargs["scale"]
            return attention(q, k, v, 0.0, kwargs["is_causal"], attn_mask=mask, scale=scale)[0]
        left, right = args[1:3] if name == "baddbmm" else args[:2]
        self.flops += 2 * left.numel() * (right.size(0) if name == "linear" else right.size(-1))
        return function(*args, **kwargs)

    def _rounded(self, tensor: Tensor) -> Tensor:
        rounded = tensor.bfloat16()
        if tensor.dtype == torch.bfloat16:
            return rounded
        numbers = _numbers(tensor) + _numbers(rounded)
        if tensor.untyped_storage()._cdata in self.constant:
            self.weights_cast += numbers
            self._weights.append(rounded.untyped_storage())  # kept alive, so that its address is not reused
            self.constant.add(rounded.untyped_storage()._cdata)
        else:
            self.cast += numbers
        return rounded

    def _count_alive(self, size: float) -> None:
        self.alive += size
        self.most_alive = max(self.most_alive, self.alive)


def _numbers(tensor: Tensor) -> float:
    return tensor.numel() * tensor.element_size() / 4


def _tensors(values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_iter(values) if isinstance(leaf, Tensor)]
