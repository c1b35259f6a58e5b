"""One more token through a GPT that remembers the ones before: what writing does, as fast as it goes in PyTorch.

The same sums as `GPT.forward`, which stays the definition (a test holds the two equal for every switch). For a single
token the sums of a small model take microseconds, and going through modules, batches and taps takes longer than that.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.model.cache import KVCache
from core.model.gpt import GPT, Block
from core.model.layers import activate, rotate


class Decoder:
    """A causal model and the keys and values of what it has read so far, at most `block_size` tokens.

    It reads the model's own parameters, so weights that change in place are seen by the next step (though not by
    what is remembered already).
    """

    def __init__(self, model: GPT):
        config = model.config
        assert config.causal, "a token that sees later ones cannot be remembered"
        self.model, self.config = model, config
        self.cache = KVCache(config, device=model.lm_head.weight.device)
        self.layers = [_parts(block) for block in model.transformer.h]
        self.norm, self.score = _norm(model.transformer.ln_f), _product(model.lm_head)
        self.position_table = None
        if config.position == "learned":
            self.position_table = model.transformer.wpe.weight
        elif config.position == "sinusoidal":
            self.position_table = model.waves

    @torch.inference_mode()
    def read(self, ids: list[int]) -> Tensor:
        """Forget everything, read these tokens in one go, and return the logits (V,) of what may follow."""
        self.cache.length = 0
        logits, _ = self.model(torch.tensor([ids], device=self.model.lm_head.weight.device), cache=self.cache)
        return logits[0, -1]

    @torch.inference_mode()
    def step(self, id: int) -> Tensor:
        """Read one more token, and return the logits (V,) of what may follow.

        Raises ValueError where the context is full.
        """
        config, position = self.config, self.cache.length
        if position == config.block_size:
            raise ValueError(f"{position + 1} tokens do not fit into a context of {config.block_size}")
        x = self.model.transformer.wte.weight[id]  # (C,)
        if self.position_table is not None:
            x = x + self.position_table[position]
        x = x.view(1, -1)  # (1, C)
        for layer, (norm_1, ask, hand_over, norm_2, widen, narrow, attention) in enumerate(self.layers):
            qkv = ask(norm_1(x)).view(3, 1, config.n_head, 1, -1)  # three times (B, H, T, C/H)
            if config.qk_norm:
                qkv = torch.cat((F.rms_norm(qkv[:2], qkv.shape[4:]), qkv[2:]))
            if config.position == "rope":
                cos, sin = attention.cos[position : position + 1], attention.sin[position : position + 1]
                qkv = torch.cat((rotate(qkv[:2], cos, sin), qkv[2:]))
            keys, values = self.cache.put(layer, qkv[1:])
            z = F.scaled_dot_product_attention(qkv[0], keys, values, scale=attention.scale)
            attended = hand_over(z.view(1, -1))
            x = x + attended if config.residual else attended
            computed = narrow(activate(config, widen(norm_2(x))))
            x = x + computed if config.residual else computed
        self.cache.advance(1)
        logits = self.score(self.norm(x))[0]
        return logits + self.model.bigram.weight[id] if config.bigram_start else logits


def _parts(block: Block) -> tuple:
    """What a step needs of one block, looked up once."""
    attn, mlp = block.attn, block.mlp
    return (
        _norm(block.ln_1), _product(attn.c_attn), _product(attn.c_proj),
        _norm(block.ln_2), _product(mlp.c_fc), _product(mlp.c_proj),
        attn,
    )  # fmt: skip


def _norm(norm: nn.Module) -> Callable[[Tensor], Tensor]:
    """A norm as the one call that it comes down to."""
    if isinstance(norm, nn.LayerNorm):
        shape, weight, bias, eps = norm.normalized_shape, norm.weight, norm.bias, norm.eps
        return lambda x: torch.layer_norm(x, shape, weight, bias, eps)
    return norm.forward


def _product(linear: nn.Linear) -> Callable[[Tensor], Tensor]:
    """A linear layer (1, in) -> (1, out) as the one call that it comes down to."""
    columns, bias = linear.weight.t(), linear.bias
    if bias is None:
        return partial(torch.mm, mat2=columns)
    return lambda x: torch.addmm(bias, x, columns)
