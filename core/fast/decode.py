"""Fast generation: one token through a GPT with cached keys and values, without modules, batches and hooks.

It computes the same as `GPT.forward`, which stays the definition (a test compares the two for every switch).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.gpt import GPT, Block
from core.model.kv_cache import KVCache
from core.model.self_attention import rotate

# A matrix of this size is read from memory for every token. In oneDNN's own layout that takes half as long, and all
# threads can share it; torch's product of one row with a matrix uses one.
_LARGE = 100_000
_CAN_PACK = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Decoder:
    """A causal model with the keys and values of the tokens so far, at most `block_size`.

    Make one for each text, since it copies large matrices. It reads all other parameters from the model, so the next
    step uses weights that changed in place (the cached keys and values are older).
    """

    def __init__(self, model: GPT):
        config = model.config
        assert not config.sees_ahead, "a token that attends to later ones cannot be cached"
        self.model, self.config = model, config
        self.cache = KVCache(config, device=model.lm_head.weight.device)
        self.layers = [_parts(block) for block in model.transformer.h]
        self.norm, self.score = _norm(model.transformer.ln_f), _product(model.lm_head)
        self.position_table: Tensor | None = None
        if config.position == "learned":
            self.position_table = model.transformer.wpe.weight
        elif config.position == "sinusoidal":
            self.position_table = model.waves

    @torch.inference_mode()
    def read(self, ids: list[int]) -> Tensor:
        """Empty the cache, read these tokens at once, and return the logits (V,) of the next one."""
        self.cache.length = 0
        if len(ids) == 1:
            return self.step(ids[0])
        logits, _ = self.model(torch.tensor([ids], device=self.model.lm_head.weight.device), cache=self.cache)
        return logits[0, -1]

    @torch.inference_mode()
    def step(self, id: int) -> Tensor:
        """Read one more token, and return the logits (V,) of the next; raises ValueError where the context is full."""
        config, position = self.config, self.cache.length
        if position == config.block_size:
            raise ValueError(f"{position + 1} tokens do not fit into a context of {config.block_size}")
        x = self.model.transformer.wte.weight[id]  # (C,)
        if self.position_table is not None:
            x = x + self.position_table[position]
        x = x.view(1, -1)  # (1, C)
        for layer, (norm_1, c_attn, attn_proj, norm_2, c_fc, activation, mlp_proj, attention) in enumerate(self.layers):
            qkv = c_attn(norm_1(x)).view(3, 1, config.n_head, 1, -1)  # three times (B, H, T, C/H)
            if config.qk_norm:
                qkv = torch.cat((F.rms_norm(qkv[:2], qkv.shape[4:]), qkv[2:]))
            if config.position == "rope":
                cos, sin = attention.cos[position : position + 1], attention.sin[position : position + 1]
                qkv = torch.cat((rotate(qkv[:2], cos, sin), qkv[2:]))
            keys, values = self.cache.put(layer, qkv[1:])
            z = F.scaled_dot_product_attention(qkv[0], keys, values, scale=attention.scale)
            x = attn_proj(x, z.view(1, -1))
            if config.feed_forward:
                x = mlp_proj(x, activation(c_fc(norm_2(x))))
        self.cache.length += 1
        logits = self.score(self.norm(x))[0]
        return logits + self.model.bigram.weight[id] if config.bigram_start else logits


def _parts(block: Block) -> tuple[Any, ...]:
    attn, mlp = block.attn, block.mlp
    attention = _norm(block.ln_1), _product(attn.c_attn), _projection(attn.c_proj, block.residual)
    if mlp is None:
        return (*attention, None, None, None, None, attn)
    feed_forward = _norm(block.ln_2), _product(mlp.c_fc), mlp.activation, _projection(mlp.c_proj, block.residual)
    return (*attention, *feed_forward, attn)


def _norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    if isinstance(norm, nn.LayerNorm):
        shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    return norm.forward


def _projection(linear: nn.Linear, residual: bool) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a linear layer that adds to the residual stream, if there is one: (stream, input) -> stream."""
    if residual and linear.bias is None and not _is_packed(linear.weight):
        columns = linear.weight.t()
        return lambda stream, x: torch.addmm(stream, x, columns)
    product = _product(linear)
    return (lambda stream, x: stream + product(x)) if residual else (lambda stream, x: product(x))


def _product(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    weight, bias = linear.weight, linear.bias
    if _is_packed(weight):
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach())
        return lambda x: torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    columns = weight.t()
    if bias is None:
        return partial(torch.mm, mat2=columns)
    return lambda x: torch.addmm(bias, x, columns)


def _is_packed(weight: Tensor) -> bool:
    return _CAN_PACK and weight.numel() >= _LARGE and weight.device.type == "cpu" and weight.dtype == torch.float32
