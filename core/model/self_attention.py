"""Causal self-attention, rotary positions and ALiBi.

B is the batch, T the tokens, C the width, H the heads, D their size, G the heads of keys and values (H except with
grouped queries).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig
from core.model.kv_cache import KVCache
from core.model.layers import CPU_LIKE_DEVICES, Dropout, Hook, hook_point

LONG = 512  # tokens; beyond this length, the fused kernel's lower memory matters more than its speed


def rotary_angles(
    block_size: int, head_size: int
) -> tuple[Float[Tensor, "{block_size} {head_size}//2"], Float[Tensor, "{block_size} {head_size}//2"]]:
    """Return cosines and sines that rotate queries and keys (Su 2021)."""
    frequency = 10_000.0 ** (-torch.arange(0, head_size, 2) / head_size)
    angles = torch.outer(torch.arange(block_size), frequency)
    return angles.cos(), angles.sin()


def rotate(
    x: Float[Tensor, "*A T D"], cos: Float[Tensor, "T D//2"], sin: Float[Tensor, "T D//2"]
) -> Float[Tensor, "*A T D"]:
    """Rotate each pair of numbers in x by its position's angle."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos - right * sin, left * sin + right * cos), dim=-1)


def alibi_slopes(n_head: int) -> Float[Tensor, "{n_head}"]:
    """Return how much the scores of each head fall per token of distance (Press 2021)."""
    return 2.0 ** (-8.0 * torch.arange(1, n_head + 1) / n_head)


class CausalSelfAttention(nn.Module):
    """Self-attention: each token's query is compared with its own and earlier keys, whose values are mixed."""

    cos: Tensor  # only with rotary positions, (block_size, D / 2)
    sin: Tensor
    slopes: Tensor  # only with ALiBi, (H,)

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.config, self.layer = config, layer
        self.head_size = config.n_embd // config.n_head
        self.scale = 1 / math.sqrt(self.head_size) if config.attention_scale else 1.0
        self.widths = (config.n_embd, config.kv_heads * self.head_size, config.kv_heads * self.head_size)
        self.c_attn = nn.Linear(config.n_embd, sum(self.widths), bias=config.bias)  # queries, keys, values at once
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        if config.gated_attention:
            self.c_gate = nn.Linear(config.n_embd, config.n_head, bias=config.bias)
        self.attn_dropout = Dropout(config.dropout)
        self.resid_dropout = Dropout(config.dropout)
        if config.position == "rope":
            cos, sin = rotary_angles(config.block_size, self.head_size)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)
        elif config.position == "alibi":
            self.register_buffer("slopes", alibi_slopes(config.n_head), persistent=False)
        # Whether every earlier token is attended to, scored only by the product of query and key.
        self.is_plain = not (config.attention_window or config.attention_sink or config.position == "alibi")

    def forward(
        self, x: Float[Tensor, "B T C"], cache: KVCache | None = None, hook: Hook | None = None
    ) -> Float[Tensor, "B T C"]:
        B, T, C = x.shape
        q, k, v = (
            hook_point(hook, name, part.view(B, T, -1, self.head_size)).transpose(1, 2)
            for name, part in zip(("hook_q", "hook_k", "hook_v"), self.c_attn(x).split(self.widths, dim=2), strict=True)
        )  # (B, H, T, D), and twice (B, G, T, D)
        if self.config.qk_norm:
            q, k = (F.rms_norm(part, (self.head_size,)) for part in (q, k))
        past = cache.length if cache else 0
        if self.config.position == "rope":
            cos, sin = (wave[past : past + T].to(q.dtype) for wave in (self.cos, self.sin))
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.config.qk_norm or self.config.position == "rope":  # the compared vectors differ from the projected ones
            q = hook_point(hook, "hook_rot_q", q.transpose(1, 2)).transpose(1, 2)
            k = hook_point(hook, "hook_rot_k", k.transpose(1, 2)).transpose(1, 2)
        if cache:
            k, v = cache.extend(self.layer, k, v)

        fused = hook is None and self.config.softmax_over == "keys" and not self._kernel_is_slow(q)
        z = self.fused(q, k, v) if fused else self._explicit(q, k, v, hook)
        z = z.transpose(1, 2)  # (B, T, H, D)
        if self.config.gated_attention:
            z = z * hook_point(hook, "hook_gate", self.c_gate(x).sigmoid())[..., None]  # (B, T, H, 1)
        z = hook_point(hook, "hook_z", z)
        return self.resid_dropout(self.c_proj(z.reshape(B, T, C)))

    def fused(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return z (B, H, T, D) from PyTorch's kernel, which never stores the (T, T) weights."""
        if self.config.attention_window and self.config.causal:  # drop keys before all queries' windows
            k, v = (part[:, :, -(self.config.attention_window + q.size(2) - 1) :] for part in (k, v))
        k, v = self._for_every_head(k), self._for_every_head(v)
        new, total = q.size(2), k.size(2)
        mask = self._mask(q, k) if not self.is_plain or (self.config.causal and 1 < new < total) else None
        if self.config.attention_sink and mask is not None:  # a key and a value of zeros before all others
            k, v, mask = F.pad(k, (0, 0, 1, 0)), F.pad(v, (0, 0, 1, 0)), F.pad(mask, (1, 0))
        return F.scaled_dot_product_attention(
            q, k, v,
            attn_mask=mask,
            is_causal=self.config.causal and self.is_plain and new == total,
            dropout_p=self.attn_dropout.p if self.training else 0.0,
            scale=self.scale,
        )  # fmt: skip

    def _kernel_is_slow(self, q: Tensor) -> bool:
        """Return whether explicit steps are faster."""
        # PyTorch's CPU kernel has no dropout (it takes three times as long with it) and is slow in bfloat16 (up to six
        # times slower, at short contexts).
        dropout = self.training and self.attn_dropout.p > 0
        return q.device.type in CPU_LIKE_DEVICES and (dropout or (q.dtype == torch.bfloat16 and q.size(2) <= LONG))

    def _explicit(self, q: Tensor, k: Tensor, v: Tensor, hook: Hook | None) -> Tensor:
        """Return z (B, H, T, D) by the lecture's steps, with hook points on the weights (B, H, T, T)."""
        k, v = self._for_every_head(k), self._for_every_head(v)
        scores = (q * self.scale) @ k.transpose(-2, -1)
        if (self.config.causal and q.size(2) > 1) or not self.is_plain:
            scores += self._mask(q, k)
        scores = hook_point(hook, "hook_attn_scores", scores)
        axis = -1 if self.config.softmax_over == "keys" else -2
        if self.config.attention_sink:
            pattern = F.pad(scores, (1, 0)).softmax(dim=axis)[..., 1:]
        else:
            pattern = scores.softmax(dim=axis)
        pattern = hook_point(hook, "hook_pattern", pattern)
        return self.attn_dropout(pattern) @ v

    def _for_every_head(self, part: Tensor) -> Tensor:
        """Return keys or values (B, G, T, D) as (B, H, T, D): H / G heads share the same ones."""
        shared = self.config.n_head // self.config.kv_heads
        return part.repeat_interleave(shared, dim=1) if shared > 1 else part

    def _mask(self, q: Tensor, k: Tensor) -> Tensor:
        """Return the additive mask for the scores of the last queries: (queries, keys), or (1, H, queries, keys).

        It is minus infinity where a query may not attend to a key. ALiBi subtracts its slope times the distance.
        """
        queries, keys = q.size(2), k.size(2)
        mask = torch.zeros(queries, keys, dtype=q.dtype, device=q.device)
        if self.config.causal:
            allowed = torch.ones(queries, keys, dtype=torch.bool, device=q.device).tril(diagonal=keys - queries)
            if window := self.config.attention_window:
                allowed = allowed.triu(diagonal=keys - queries - window + 1)
            mask = mask.masked_fill(~allowed, float("-inf"))
        if self.config.position == "alibi":
            places = torch.arange(keys, device=q.device)
            distance = (places[-queries:, None] - places).abs()
            mask = mask - (self.slopes[:, None, None] * distance).to(q.dtype)[None]
        return mask
