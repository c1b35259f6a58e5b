"""Causal self-attention and rotary positions.

B is the batch, T the tokens, C the width, H the heads, D their size.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig
from core.model.kv_cache import KVCache
from core.model.layers import CPU_LIKE_DEVICES, Dropout, Hook, hook_point

LONG = 512  # tokens; from this length on the fused kernel's lower memory counts for more than its speed


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


class CausalSelfAttention(nn.Module):
    """Self-attention: each token's query is compared with the keys of the tokens before; their values are mixed."""

    cos: Tensor  # only with rotary positions, (block_size, D / 2)
    sin: Tensor

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.config, self.layer = config, layer
        self.head_size = config.n_embd // config.n_head
        self.scale = 1 / math.sqrt(self.head_size) if config.attention_scale else 1.0
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd, bias=config.bias)  # queries, keys, values at once
        self.c_proj = nn.Linear(config.n_embd, config.n_embd, bias=config.bias)
        self.attn_dropout = Dropout(config.dropout)
        self.resid_dropout = Dropout(config.dropout)
        if config.position == "rope":
            cos, sin = rotary_angles(config.block_size, self.head_size)
            self.register_buffer("cos", cos, persistent=False)
            self.register_buffer("sin", sin, persistent=False)

    def forward(
        self, x: Float[Tensor, "B T C"], cache: KVCache | None = None, hook: Hook | None = None
    ) -> Float[Tensor, "B T C"]:
        B, T, C = x.shape
        q, k, v = (
            hook_point(hook, name, part.view(B, T, self.config.n_head, self.head_size)).transpose(1, 2)
            for name, part in zip(("hook_q", "hook_k", "hook_v"), self.c_attn(x).split(C, dim=2), strict=True)
        )  # (B, H, T, D) each
        if self.config.qk_norm:
            q, k = (F.rms_norm(part, (self.head_size,)) for part in (q, k))
        past = cache.length if cache else 0
        if self.config.position == "rope":
            cos, sin = (wave[past : past + T].to(q.dtype) for wave in (self.cos, self.sin))
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.config.qk_norm or self.config.position == "rope":  # what is compared differs from what was projected
            q = hook_point(hook, "hook_rot_q", q.transpose(1, 2)).transpose(1, 2)
            k = hook_point(hook, "hook_rot_k", k.transpose(1, 2)).transpose(1, 2)
        if cache:
            k, v = cache.extend(self.layer, k, v)

        fused = hook is None and self.config.softmax_over == "keys" and not self._kernel_is_slow(q)
        z = self._fused(q, k, v) if fused else self._explicit(q, k, v, hook)
        z = hook_point(hook, "hook_z", z.transpose(1, 2))  # (B, T, H, D)
        return self.resid_dropout(self.c_proj(z.reshape(B, T, C)))

    def _fused(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return z (B, H, T, D) from PyTorch's kernel, which never holds the (T, T) weights."""
        new, total = q.size(2), k.size(2)
        mask = self._mask(new, total, q.device) if self.config.causal and 1 < new < total else None
        return F.scaled_dot_product_attention(
            q, k, v,
            attn_mask=mask,
            is_causal=self.config.causal and new == total,
            dropout_p=self.attn_dropout.p if self.training else 0.0,
            scale=self.scale,
        )  # fmt: skip

    def _kernel_is_slow(self, q: Tensor) -> bool:
        """Return whether explicit steps are faster."""
        # PyTorch's kernel for the processor has no dropout (three times as long with it) and is slow in bfloat16 (up to
        # six times, at short contexts).
        dropout = self.training and self.attn_dropout.p > 0
        return q.device.type in CPU_LIKE_DEVICES and (dropout or (q.dtype == torch.bfloat16 and q.size(2) <= LONG))

    def _explicit(self, q: Tensor, k: Tensor, v: Tensor, hook: Hook | None) -> Tensor:
        """Return z (B, H, T, D) by the lecture's steps, with hook points on the weights (B, H, T, T)."""
        scores = (q * self.scale) @ k.transpose(-2, -1)
        if self.config.causal and q.size(2) > 1:
            allowed = self._mask(q.size(2), k.size(2), q.device)
            scores += torch.zeros_like(allowed, dtype=scores.dtype).masked_fill(~allowed, float("-inf"))
        scores = hook_point(hook, "hook_attn_scores", scores)
        axis = -1 if self.config.softmax_over == "keys" else -2
        pattern = hook_point(hook, "hook_pattern", scores.softmax(dim=axis))
        return self.attn_dropout(pattern) @ v

    @staticmethod
    def _mask(queries: int, keys: int, device: torch.device) -> Tensor:
        """Return True where a query, counted from the end of the keys, may attend to a key: (queries, keys)."""
        return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(diagonal=keys - queries)
