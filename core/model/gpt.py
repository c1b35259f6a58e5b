"""A decoder-only transformer, from scratch, to be read from top to bottom.

It follows Karpathy's "Let's build GPT: from scratch, in code, spelled out" up to GPT-2 (Radford 2019), whose parameter
names it carries, so that weights travel to and from other implementations. B is the batch, T the tokens, C the width,
H the heads, V the vocabulary.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig
from core.model.hooks import Hook, hook_point, scoped
from core.model.kv_cache import KVCache
from core.model.layers import (
    Dropout,
    activate,
    feed_forward_width,
    make_norm,
    rotary_angles,
    rotate,
    sinusoidal_positions,
)

LONG = 512  # tokens; from here on the fused kernel's thrift counts for more than its speed


class CausalSelfAttention(nn.Module):
    """Each token asks (query), every earlier one offers (key), and good matches hand over what they hold (value)."""

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

    def forward(self, x: Tensor, cache: KVCache | None = None, hook: Hook | None = None) -> Tensor:
        B, T, C = x.shape
        q, k, v = (
            hook_point(hook, name, part.view(B, T, self.config.n_head, self.head_size)).transpose(
                1, 2
            )  # (B, H, T, C/H)
            for name, part in zip(("hook_q", "hook_k", "hook_v"), self.c_attn(x).split(C, dim=2), strict=True)
        )
        if self.config.qk_norm:
            q, k = (F.rms_norm(part, (self.head_size,)) for part in (q, k))
        past = cache.length if cache else 0
        if self.config.position == "rope":
            cos, sin = (wave[past : past + T].to(q.dtype) for wave in (self.cos, self.sin))
            q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if self.config.qk_norm or self.config.position == "rope":  # what is multiplied is no longer what was projected
            q = hook_point(hook, "hook_rot_q", q.transpose(1, 2)).transpose(1, 2)
            k = hook_point(hook, "hook_rot_k", k.transpose(1, 2)).transpose(1, 2)
        if cache:
            k, v = cache.extend(self.layer, k, v)

        fused = hook is None and self.config.softmax_over == "keys" and not self._kernel_is_slow(q)
        z = self._fused(q, k, v) if fused else self._spelled_out(q, k, v, hook)
        z = hook_point(hook, "hook_z", z.transpose(1, 2))  # (B, T, H, C/H)
        return self.resid_dropout(self.c_proj(z.reshape(B, T, C)))

    def _fused(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """PyTorch's kernel: the same result without ever holding the (T, T) weights."""
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
        """Whether the steps one by one are faster: PyTorch's kernel for the processor knows no dropout (three times as
        long with it) and is slow in bfloat16 (up to six times, at short contexts).
        """
        dropping = self.training and self.attn_dropout.p > 0
        return q.device.type == "cpu" and (dropping or (q.dtype == torch.bfloat16 and q.size(2) <= LONG))

    def _spelled_out(self, q: Tensor, k: Tensor, v: Tensor, hook: Hook | None) -> Tensor:
        """The lecture's steps, one by one, with the weights (B, H, T, T) in the open."""
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
        """True where the query, counted from the end of the keys, may look: (queries, keys)."""
        return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(diagonal=keys - queries)


class MLP(nn.Module):
    """Each token, by itself, thinks about what it has gathered."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        width = feed_forward_width(config)
        self.c_fc = nn.Linear(config.n_embd, 2 * width if config.activation == "swiglu" else width, bias=config.bias)
        self.c_proj = nn.Linear(width, config.n_embd, bias=config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Tensor, hook: Hook | None = None) -> Tensor:
        hidden = hook_point(hook, "hook_pre", self.c_fc(x))
        hidden = hook_point(hook, "hook_post", activate(self.config, hidden))  # (B, T, 4C)
        return self.dropout(self.c_proj(hidden))


class Block(nn.Module):
    """Communication, then computation; both are added to the stream that runs past them (pre-norm)."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.residual = config.residual
        self.ln_1 = make_norm(config)
        self.attn = CausalSelfAttention(config, layer)
        self.mlp = None
        if config.feed_forward:
            self.ln_2 = make_norm(config)
            self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: KVCache | None = None, hook: Hook | None = None) -> Tensor:
        x = hook_point(hook, "hook_resid_pre", x)
        attended = hook_point(hook, "hook_attn_out", self.attn(self.ln_1(x), cache, scoped(hook, "attn")))
        x = hook_point(hook, "hook_resid_mid", x + attended if self.residual else attended)
        if self.mlp is None:
            return hook_point(hook, "hook_resid_post", x)
        computed = hook_point(hook, "hook_mlp_out", self.mlp(self.ln_2(x), scoped(hook, "mlp")))
        return hook_point(hook, "hook_resid_post", x + computed if self.residual else computed)


class GPT(nn.Module):
    """Token and position embeddings, a stack of blocks, a last norm, and a score for every possible next token."""

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size, self.block_size = config, vocab_size, config.block_size
        parts = {"wte": nn.Embedding(vocab_size, config.n_embd)}
        if config.position == "learned":
            parts["wpe"] = nn.Embedding(config.block_size, config.n_embd)
        parts["drop"] = Dropout(config.dropout)
        parts["h"] = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        parts["ln_f"] = make_norm(config)
        self.transformer = nn.ModuleDict(parts)
        self.lm_head = nn.Linear(config.n_embd, vocab_size, bias=False)
        if config.tie_weights:
            self.lm_head.weight = self.transformer.wte.weight
        if config.bigram_start:
            self.bigram = nn.Embedding(vocab_size, vocab_size)
        if config.position == "sinusoidal":
            waves = sinusoidal_positions(config.block_size, config.n_embd, config.init_std)
            self.register_buffer("waves", waves, persistent=False)
        self.apply(self._initialise)
        if config.bigram_start:
            nn.init.zeros_(self.bigram.weight)  # until `start_from_counts` knows better

    def _initialise(self, module: nn.Module) -> None:
        """GPT-2's: small normal weights; those that write to the residual stream smaller the more of them there are."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, CausalSelfAttention | MLP):
            spread = 0.0 if self.config.zero_init else self.config.init_std / math.sqrt(2 * self.config.n_layer)
            nn.init.normal_(module.c_proj.weight, std=spread)

    @torch.no_grad()
    def start_from_counts(self, ids: Tensor) -> None:
        """Fill the table of pairs with the logarithms of how often each token of ids (N,) followed each other one.

        One is added to every count (Laplace's rule), so that no pair is impossible.
        """
        V = self.vocab_size
        counts = torch.zeros(V * V, dtype=torch.int64)
        for piece in ids.split(1 << 20):  # a long text would take many times its own size at once
            counts += torch.bincount(piece[:-1].long() * V + piece[1:].long(), minlength=V * V)
        for end in range(1 << 20, len(ids), 1 << 20):  # the pairs between two pieces
            counts[ids[end - 1].long() * V + ids[end].long()] += 1
        pairs = counts.view(V, V) + 1.0
        self.bigram.weight.copy_((pairs / pairs.sum(dim=1, keepdim=True)).log())

    def forward(
        self, ids: Tensor, targets: Tensor | None = None, *, cache: KVCache | None = None, hook: Hook | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Score every possible next token at every position.

        Args:
            ids: tokens (B, T) of type int64; with a cache, only those that follow what it holds.
            targets: the tokens (B, T) that truly came next; without them there is no loss.
            cache: keys and values of the tokens before; extended by this call.
            tap: called at named points with the tensors passing there (`core.model.hooks`); it makes attention
                spell out its weights instead of using the fused kernel.

        Returns:
            logits (B, T, V), and the mean loss in nats a token, or None.

        Raises:
            ValueError: past and new tokens together exceed the context.
        """
        T, past = ids.size(1), cache.length if cache else 0
        if past + T > self.block_size:
            raise ValueError(f"{past + T} tokens do not fit into a context of {self.block_size}")
        x = hook_point(hook, "hook_embed", self.transformer.wte(ids))  # (B, T, C)
        if self.config.position == "learned":
            positions = torch.arange(past, past + T, device=ids.device)
            x = x + hook_point(hook, "hook_pos_embed", self.transformer.wpe(positions).expand_as(x))
        elif self.config.position == "sinusoidal":
            x = x + hook_point(hook, "hook_pos_embed", self.waves[past : past + T].expand_as(x))
        x = self.transformer.drop(x)
        for layer, block in enumerate(self.transformer.h):
            x = block(x, cache, scoped(hook, f"blocks.{layer}"))
        if cache:
            cache.advance(T)
        logits = self.unembed(x, ids, hook)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    def unembed(self, x: Tensor, ids: Tensor, hook: Hook | None = None) -> Tensor:
        """Scores (..., V) read off the stream x (..., C) behind the last block, for tokens ids (...)."""
        x = hook_point(hook, "ln_final.hook_normalized", self.transformer.ln_f(x))
        logits = self.lm_head(x)
        if self.config.bigram_start:
            logits = logits + hook_point(hook, "hook_bigram", self.bigram(ids))
        return logits
