"""A decoder-only transformer, from scratch, to be read from top to bottom.

It follows Karpathy's "Let's build GPT: from scratch, in code, spelled out" up to GPT-2 (Radford 2019), whose parameter
names it carries, so that weights travel to and from other implementations. B is the batch, T the tokens, C the width,
H the heads, D their size, V the vocabulary.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig
from core.model.kv_cache import KVCache

LONG = 512  # tokens; from this length on the fused kernel's lower memory counts for more than its speed
CPU_LIKE_DEVICES = ("cpu", "meta")  # devices with the processor's code paths; `core.training.cost` counts on the second

Hook = Callable[[str, Tensor], Tensor | None]
"""A function called with a hook point's name (TransformerLens's, `blocks.0.attn.hook_pattern`) and the tensor there.
What it returns, if anything, replaces the tensor: activations, ablation and the logit lens are all hooks.
"""


def hook_point(hook: Hook | None, name: str, tensor: Tensor) -> Tensor:
    """Call the hook, if there is one, with a tensor, and return what it returns, or the tensor."""
    if hook is None:
        return tensor
    replacement = hook(name, tensor)
    return tensor if replacement is None else replacement


def scoped(hook: Hook | None, scope: str) -> Hook | None:
    """Return the hook for a part of the model: every name gets `scope.` in front."""
    if hook is None:
        return None
    return lambda name, tensor: hook(f"{scope}.{name}", tensor)


class Dropout(nn.Dropout):
    """Dropout (Srivastava 2014) as PyTorch's, with a faster mask on the processor.

    There, where random numbers are drawn one after the other, sixteen random bits decide on each value, four values to
    a draw: a fifth of the time. The probability is then the next multiple of 1/65536.
    """

    # pyrefly: ignore[bad-override-param-name]
    def forward(self, x: Tensor) -> Tensor:
        if not (self.training and self.p) or x.device.type not in CPU_LIKE_DEVICES:
            return super().forward(x)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)  # each evenly between -2**15 and 2**15 - 1
        dropped = round(self.p * 2**16)
        return x * ((bits >= dropped - 2**15).to(x.dtype) * (2**16 / (2**16 - dropped)))


Norm = nn.LayerNorm | nn.RMSNorm | nn.Identity


def layer_norm(config: ModelConfig) -> nn.LayerNorm:
    """Return GPT-2's normalization of each token's vector: mean 0, variance 1, then a gain (Ba 2016)."""
    return nn.LayerNorm(config.n_embd, bias=config.bias)


def rms_norm(config: ModelConfig) -> nn.RMSNorm:
    """Return the normalization of each token's vector to root mean square 1, then a gain (Zhang 2019)."""
    return nn.RMSNorm(config.n_embd, eps=1e-5)


NORMS: dict[str, Callable[[ModelConfig], Norm]] = {
    "layer": layer_norm,
    "rms": rms_norm,
    "none": lambda _config: nn.Identity(),
}


def swiglu(hidden: Float[Tensor, "*A N"]) -> Float[Tensor, "*A N//2"]:
    """Return one half of the channels multiplied by the gate that the other half makes (Shazeer 2020)."""
    gate, value = hidden.chunk(2, dim=-1)
    return F.silu(gate) * value


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),  # GPT-2's own formula, so that its weights fit
    "swiglu": swiglu,
    "relu2": lambda hidden: F.relu(hidden).square(),  # Primer (So 2021)
}
GATED = ("swiglu",)  # activations that read twice the width and return half of it


def feed_forward_width(config: ModelConfig) -> int:
    """Return the neurons of a feed-forward layer: 4 C, or 8/3 C where a gate takes a third matrix (the same cost)."""
    return 8 * math.ceil(config.n_embd / 3) if config.activation in GATED else 4 * config.n_embd


def sinusoidal_positions(block_size: int, n_embd: int, height: float = 0.02) -> Float[Tensor, "{block_size} {n_embd}"]:
    """Return fixed waves of growing length (Vaswani 2017, section 3.5).

    Their height is the size at which token embeddings start, so that neither outweighs the other.
    """
    position = torch.arange(block_size).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, n_embd, 2) * (-math.log(10_000.0) / n_embd))
    waves = torch.zeros(block_size, n_embd)
    waves[:, 0::2] = torch.sin(position * frequency)
    waves[:, 1::2] = torch.cos(position * frequency)
    return height * waves


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


class MLP(nn.Module):
    """Feed-forward layer: two linear layers with a nonlinearity between them, for each token by itself."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.activation = ACTIVATIONS[config.activation]
        width = feed_forward_width(config)
        self.c_fc = nn.Linear(config.n_embd, width * (1 + (config.activation in GATED)), bias=config.bias)
        self.c_proj = nn.Linear(width, config.n_embd, bias=config.bias)
        self.dropout = Dropout(config.dropout)

    def forward(self, x: Float[Tensor, "B T C"], hook: Hook | None = None) -> Float[Tensor, "B T C"]:
        hidden = hook_point(hook, "hook_pre", self.c_fc(x))
        hidden = hook_point(hook, "hook_post", self.activation(hidden))  # (B, T, 4C)
        return self.dropout(self.c_proj(hidden))


class Block(nn.Module):
    """Attention (tokens exchange information), then a feed-forward layer; each adds to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.residual = config.residual
        self.ln_1 = NORMS[config.norm](config)
        self.attn = CausalSelfAttention(config, layer)
        self.mlp: MLP | None = None
        if config.feed_forward:
            self.ln_2 = NORMS[config.norm](config)
            self.mlp = MLP(config)

    def forward(
        self, x: Float[Tensor, "B T C"], cache: KVCache | None = None, hook: Hook | None = None
    ) -> Float[Tensor, "B T C"]:
        x = hook_point(hook, "hook_resid_pre", x)
        attended = hook_point(hook, "hook_attn_out", self.attn(self.ln_1(x), cache, scoped(hook, "attn")))
        x = hook_point(hook, "hook_resid_mid", x + attended if self.residual else attended)
        if self.mlp is None:
            return hook_point(hook, "hook_resid_post", x)
        computed = hook_point(hook, "hook_mlp_out", self.mlp(self.ln_2(x), scoped(hook, "mlp")))
        return hook_point(hook, "hook_resid_post", x + computed if self.residual else computed)


class Transformer(nn.Module):
    """All parts below the logits, under GPT-2's names."""

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, config.n_embd)
        if config.position == "learned":
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
        self.drop = Dropout(config.dropout)
        # PyTorch's type of a list of modules does not say of which.
        self.h = cast(Sequence[Block], nn.ModuleList(Block(config, layer) for layer in range(config.n_layer)))
        self.ln_f = NORMS[config.norm](config)


class GPT(nn.Module):
    """Token and position embeddings, a stack of blocks, a last norm, and a logit for every possible next token."""

    waves: Tensor  # only with sinusoidal positions, (block_size, C)

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size, self.block_size = config, vocab_size, config.block_size
        self.transformer = Transformer(config, vocab_size)
        self.lm_head = nn.Linear(config.n_embd, vocab_size, bias=False)
        if config.tie_weights:
            self.lm_head.weight = self.transformer.wte.weight
        if config.bigram_start:
            self.bigram = nn.Embedding(vocab_size, vocab_size)
        if config.position == "sinusoidal":
            waves = sinusoidal_positions(config.block_size, config.n_embd, config.init_std)
            self.register_buffer("waves", waves, persistent=False)
        self.apply(self._initialize)
        if config.bigram_start:
            nn.init.zeros_(self.bigram.weight)  # until `start_from_counts` fills it

    def _initialize(self, module: nn.Module) -> None:
        """Initialize as GPT-2: normal weights, those that write to the residual stream smaller by sqrt(2 L)."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, CausalSelfAttention | MLP):
            spread = 0.0 if self.config.zero_init else self.config.init_std / math.sqrt(2 * self.config.n_layer)
            nn.init.normal_(module.c_proj.weight, std=spread)

    @torch.no_grad()
    def start_from_counts(self, ids: Int[Tensor, "N"]) -> None:
        """Fill the bigram table with log probabilities counted in ids, one added to every count (Laplace)."""
        V = self.vocab_size
        counts = torch.zeros(V * V, dtype=torch.int64)
        for start in range(0, len(ids) - 1, 1 << 20):  # a long text would take many times its own size at once
            piece = ids[start : start + (1 << 20) + 1].long()
            counts += torch.bincount(piece[:-1] * V + piece[1:], minlength=V * V)
        pairs = counts.view(V, V) + 1.0
        self.bigram.weight.copy_((pairs / pairs.sum(dim=1, keepdim=True)).log())

    def forward(
        self,
        ids: Int[Tensor, "B T"],
        targets: Int[Tensor, "B T"] | None = None,
        *,
        cache: KVCache | None = None,
        hook: Hook | None = None,
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, ""] | None]:
        """Return the logits of the next tokens, and their mean loss in nats/token where targets are passed.

        Args:
            ids: tokens of type int64; with a cache, only those that follow its tokens.
            targets: the tokens that came next.
            cache: keys and values of the tokens before; extended by this call.
            hook: called at every hook point; attention then computes its weights instead of using the fused kernel.

        Raises ValueError where past and new tokens together exceed the context.
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
            cache.length += T
        logits = self.unembed(x, ids, hook)
        if targets is None:
            return logits, None
        return logits, F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())

    def unembed(
        self, x: Float[Tensor, "*A C"], ids: Int[Tensor, "*A"], hook: Hook | None = None
    ) -> Float[Tensor, "*A V"]:
        """Return the logits from the residual stream x after the last block, for tokens ids."""
        x = hook_point(hook, "ln_final.hook_normalized", self.transformer.ln_f(x))
        logits = self.lm_head(x)
        if self.config.bigram_start:
            logits = logits + hook_point(hook, "hook_bigram", self.bigram(ids))
        return logits
