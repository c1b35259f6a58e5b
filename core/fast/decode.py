"""Fast generation: one token through a GPT with cached keys and values, without modules, batches or hooks.

It computes the same as `GPT.forward`, the reference (a test compares the two for every switch).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.gpt import GPT, Block, MixtureOfExperts, one_back
from core.model.kv_cache import KVCache
from core.model.self_attention import rotate

# A matrix this large is read from memory for every token. In oneDNN's own layout, that takes half as long and uses all
# threads; torch's product of one row with a matrix uses only one thread.
_LARGE = 100_000
_CAN_PACK = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


class Decoder:
    """A causal model with the keys and values of the tokens so far, at most `block_size`.

    Make a new one for each text, because it copies large matrices when it is made. It reads all other parameters from
    the model, so the next step uses weights that changed in place (the cached keys and values are older).
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
        """Read one more token, and return the logits (V,) of the next; raises ValueError if the context is full."""
        config, position = self.config, self.cache.length
        queries, shared = config.n_head, config.kv_heads
        if position == config.block_size:
            raise ValueError(f"{position + 1} tokens do not fit into a context of {config.block_size}")
        x = self.model.transformer.wte.weight[id]  # (C,)
        if config.token_shift:
            x = x.view(1, 1, -1)
            x = x + self.model.transformer.wte_shift * one_back(x, self.cache)
        if self.position_table is not None:
            x = x + self.position_table[position]
        x = x.view(1, -1)  # (1, C)
        for layer, (norm_1, c_attn, attn_proj, norm_2, c_fc, activation, mlp_proj, attention) in enumerate(self.layers):
            normed = norm_1(x)
            heads = c_attn(normed).view(queries + 2 * shared, 1, -1)  # queries, keys and values, each (T, D)
            if config.qk_norm:
                heads = torch.cat((F.rms_norm(heads[:-shared], heads.shape[2:]), heads[-shared:]))
            if config.position == "rope":
                cos, sin = attention.cos[position : position + 1], attention.sin[position : position + 1]
                heads = torch.cat((rotate(heads[:-shared], cos, sin), heads[-shared:]))
            keys, values = self.cache.put(layer, heads[queries:].view(2, 1, shared, 1, -1))
            if attention.is_plain:
                q = heads[:queries].view(1, shared, queries // shared, -1)  # queries that share keys in one product
                z = F.scaled_dot_product_attention(q, keys, values, scale=attention.scale)
            else:
                z = attention.fused(heads[None, :queries], keys, values)
            if config.gated_attention:
                z = z.reshape(queries, -1) * attention.c_gate(normed).sigmoid().view(queries, 1)
            x = attn_proj(x, z.reshape(1, -1))
            if config.feed_forward:
                x = mlp_proj(x, activation(c_fc(norm_2(x))))
        self.cache.length += 1
        logits = self.score(self.norm(x))[0]
        return logits + self.model.bigram.weight[id] if config.bigram_start else logits


def _parts(block: Block) -> tuple[Any, ...]:
    attn, mlp = block.attn, block.mlp
    attention = _norm_before(block, block.ln_1), _product(attn.c_attn), _projection(attn.c_proj, block, block.ln_1)
    if mlp is None:
        return (*attention, None, None, None, None, attn)
    before, projection = _norm_before(block, block.ln_2), _projection(mlp.c_proj, block, block.ln_2)
    if isinstance(mlp, MixtureOfExperts):  # all experts; the neurons of those not chosen are zero
        return (*attention, before, mlp.neurons, nn.Identity(), projection, attn)
    return (*attention, before, _product(mlp.c_fc), mlp.activation, projection, attn)


def _norm_before(block: Block, norm: nn.Module) -> Callable[[Tensor], Tensor]:
    return (lambda x: x) if block.post_norm else _norm(norm)


def _norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    if isinstance(norm, nn.LayerNorm):
        shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    return norm.forward


def _projection(linear: nn.Linear, block: Block, norm: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a linear layer that adds to the residual stream, if there is one: (stream, input) -> stream."""
    add = _addition(linear, block.residual)
    if not block.post_norm:
        return add
    after = _norm(norm)
    return lambda stream, x: after(add(stream, x))


def _addition(linear: nn.Linear, residual: bool) -> Callable[[Tensor, Tensor], Tensor]:
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
