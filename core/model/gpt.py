"""A decoder-only transformer from scratch, to be read from top to bottom, after `layers` and `self_attention`.

It follows Karpathy's "Let's build GPT: from scratch, in code, spelled out" up to GPT-2 (Radford 2019). It uses GPT-2's
parameter names, so that weights can be exchanged with other implementations. B is the batch, T the tokens, C the width,
V the vocabulary.
"""

import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import ModelConfig
from core.model.kv_cache import KVCache
from core.model.layers import ACTIVATIONS, GATED, NORMS, Dropout, Hook, Norm, hook_point, scoped
from core.model.self_attention import CausalSelfAttention


def feed_forward_width(config: ModelConfig) -> int:
    """Return a block's neurons: 4 C, or 8/3 C if a gate needs a third matrix (the same cost), times the experts."""
    width = 8 * math.ceil(config.n_embd / 3) if config.activation in GATED else 4 * config.n_embd
    return config.experts * width


def sinusoidal_positions(block_size: int, n_embd: int, height: float = 0.02) -> Float[Tensor, "{block_size} {n_embd}"]:
    """Return fixed waves of increasing wavelength (Vaswani 2017, section 3.5).

    Their height is the initial size of token embeddings, so that neither outweighs the other.
    """
    position = torch.arange(block_size).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, n_embd, 2) * (-math.log(10_000.0) / n_embd))
    waves = torch.zeros(block_size, n_embd)
    waves[:, 0::2] = torch.sin(position * frequency)
    waves[:, 1::2] = torch.cos(position * frequency)
    return height * waves


def one_back(embeddings: Float[Tensor, "B T C"], cache: KVCache | None) -> Float[Tensor, "B T C"]:
    """Return each token's preceding embedding; zeros for the first token of the context."""
    before = cache.last_embedding if cache and cache.length else None
    if cache:
        cache.last_embedding = embeddings[:, -1:]
    before = torch.zeros_like(embeddings[:, :1]) if before is None else before
    return torch.cat((before, embeddings[:, :-1]), dim=1)


class MLP(nn.Module):
    """Feed-forward layer: two linear layers with a nonlinearity between them, applied to each token separately."""

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


class MixtureOfExperts(MLP):
    """Several feed-forward layers, of which a router chooses a few for each token (Shazeer 2017; Switch, Fedus 2021).

    The neurons of the E experts lie side by side in `c_fc` and `c_proj`. Each expert computes the tokens sent to it;
    with a hook all neurons are computed, and those of experts not chosen are set to zero. Both results agree.
    """

    def __init__(self, config: ModelConfig):
        super().__init__(config)
        self.n_expert, self.active = config.n_expert, config.n_expert_active
        self.router = nn.Linear(config.n_embd, config.n_expert, bias=False)
        self.balance: Tensor | None = None  # of the last training batch: 1 if all experts get equally many tokens

    def forward(self, x: Float[Tensor, "B T C"], hook: Hook | None = None) -> Float[Tensor, "B T C"]:
        if hook is None:
            return self.dropout(self._by_expert(x.flatten(0, 1), self._route(x).flatten(0, 1)).view(x.shape))
        return self.dropout(self.c_proj(self.neurons(x, hook)))

    def neurons(self, x: Float[Tensor, "*A C"], hook: Hook | None = None) -> Float[Tensor, "*A N"]:
        """Return the activations of all neurons, each multiplied by its expert's weight."""
        weights = hook_point(hook, "hook_router", self._route(x))  # (B, T, E)
        hidden = self.activation(hook_point(hook, "hook_pre", self.c_fc(x)))  # (B, T, E N), N neurons per expert
        weights = weights.repeat_interleave(hidden.size(-1) // self.n_expert, dim=-1)
        return hook_point(hook, "hook_post", hidden * weights)

    def take_balance(self) -> Float[Tensor, ""]:
        """Return and clear the balance of the last training batch, which keeps its autograd graph in memory."""
        assert self.balance is not None, "only a forward pass in training makes it"
        balance, self.balance = self.balance, None
        return balance

    def _route(self, x: Tensor) -> Tensor:
        """Return the weight of every expert for every token (B, T, E); 0 for those not chosen."""
        shares = self.router(x).float().softmax(dim=-1)
        best, chosen = shares.topk(self.active, dim=-1)
        if self.active > 1:  # a single expert keeps its share, so that the router learns
            best = best / best.sum(dim=-1, keepdim=True)
        if self.training and torch.is_grad_enabled():
            sent = F.one_hot(chosen, self.n_expert).float().mean(dim=(0, 1, 2))  # (E,) share of all tokens
            self.balance = self.n_expert * (sent * shares.mean(dim=(0, 1))).sum()
        return torch.zeros_like(shares).scatter(-1, chosen, best)

    def _by_expert(self, x: Tensor, weights: Tensor) -> Tensor:
        """Return the output (N, C) for tokens x (N, C) with the weights (N, E) of the experts."""
        out = torch.zeros_like(x)
        width = self.c_proj.in_features // self.n_expert
        # The rows of each expert, in two places with a gate. They are views, because autograd would keep copies.
        rows = [part.split(width) for part in self.c_fc.weight.split(self.c_proj.in_features)]
        biases = None
        if self.c_fc.bias is not None:
            biases = [part.split(width) for part in self.c_fc.bias.split(self.c_proj.in_features)]
        columns = self.c_proj.weight.chunk(self.n_expert, dim=1)
        for expert in range(self.n_expert):
            if x.is_meta:  # when work is counted, all experts get equally many tokens
                sent = torch.arange(len(x) * self.active // self.n_expert, device=x.device)
            else:
                sent = weights[:, expert].nonzero().squeeze(1)
            read = x[sent]
            hidden = [
                F.linear(read, part[expert], biases[number][expert] if biases else None)
                for number, part in enumerate(rows)
            ]
            hidden = self.activation(torch.cat(hidden, dim=-1) if len(hidden) > 1 else hidden[0])
            output = F.linear(hidden, columns[expert]) * weights[sent, expert, None]
            out = out.index_add(0, sent, output.to(out.dtype))
        return out if self.c_proj.bias is None else out + self.c_proj.bias


class Block(nn.Module):
    """Attention (tokens exchange information), then a feed-forward layer; each adds to the residual stream."""

    def __init__(self, config: ModelConfig, layer: int):
        super().__init__()
        self.residual, self.post_norm = config.residual, config.post_norm
        self.ln_1 = NORMS[config.norm](config)
        self.attn = CausalSelfAttention(config, layer)
        self.mlp: MLP | None = None
        if config.feed_forward:
            self.ln_2 = NORMS[config.norm](config)
            self.mlp = (MixtureOfExperts if config.mixture_of_experts else MLP)(config)

    def forward(
        self, x: Float[Tensor, "B T C"], cache: KVCache | None = None, hook: Hook | None = None
    ) -> Float[Tensor, "B T C"]:
        x = hook_point(hook, "hook_resid_pre", x)
        attended = hook_point(hook, "hook_attn_out", self.attn(self.read(x, self.ln_1), cache, scoped(hook, "attn")))
        x = hook_point(hook, "hook_resid_mid", self._add(x, attended, self.ln_1))
        if self.mlp is None:
            return hook_point(hook, "hook_resid_post", x)
        computed = hook_point(hook, "hook_mlp_out", self.mlp(self.read(x, self.ln_2), scoped(hook, "mlp")))
        return hook_point(hook, "hook_resid_post", self._add(x, computed, self.ln_2))

    def read(self, x: Float[Tensor, "*A C"], norm: Norm) -> Float[Tensor, "*A C"]:
        """Return what a sublayer reads from the residual stream x."""
        return x if self.post_norm else norm(x)

    def _add(self, x: Tensor, output: Tensor, norm: Norm) -> Tensor:
        x = x + output if self.residual else output
        return norm(x) if self.post_norm else x


class Transformer(nn.Module):
    """All parts below the logits, under GPT-2's names."""

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, config.n_embd)
        if config.position == "learned":
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
        if config.token_shift:
            self.wte_shift = nn.Parameter(torch.full((config.n_embd,), 0.5))
        self.drop = Dropout(config.dropout)
        # PyTorch's type for a list of modules does not name the type of its elements.
        self.h = cast(Sequence[Block], nn.ModuleList(Block(config, layer) for layer in range(config.n_layer)))
        self.ln_f = NORMS["none" if config.post_norm else config.norm](config)  # the last block has normalized already


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
        """Initialize like GPT-2: normal weights, smaller by sqrt(2 L) if they write to the residual stream."""
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.init_std)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, CausalSelfAttention | MLP):
            spread = 0.0 if self.config.zero_init else self.config.init_std / math.sqrt(2 * self.config.n_layer)
            nn.init.normal_(module.c_proj.weight, std=spread)

    @torch.no_grad()
    def start_from_counts(self, ids: Int[Tensor, "N"]) -> None:
        """Fill the bigram table with log probabilities of pairs in ids, with add-one (Laplace) smoothing."""
        V = self.vocab_size
        counts = torch.zeros(V * V, dtype=torch.int64)
        for start in range(0, len(ids) - 1, 1 << 20):  # a long text at once would take many times its size
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
        """Return the logits of the next tokens, and their mean loss in nats/token if targets are passed.

        Args:
            ids: tokens of type int64; with a cache, only those that follow its tokens.
            targets: the tokens that came next.
            cache: keys and values of the preceding tokens; extended by this call.
            hook: called at every hook point; attention then computes its weights instead of using the fused kernel.

        Raises ValueError if past and new tokens together exceed the context.
        """
        T, past = ids.size(1), cache.length if cache else 0
        if past + T > self.block_size:
            raise ValueError(f"{past + T} tokens do not fit into a context of {self.block_size}")
        x = hook_point(hook, "hook_embed", self.transformer.wte(ids))  # (B, T, C)
        if self.config.token_shift:
            x = x + hook_point(hook, "hook_shift_embed", self.transformer.wte_shift * one_back(x, cache))
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
