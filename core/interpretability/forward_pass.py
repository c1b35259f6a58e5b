"""One forward pass as a whole: what every part computes, and its direct contribution to the logits.

B is 1 and left out; F is the number of neurons in a feed-forward layer.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float32

from core.interpretability.activations import Ids, run_with_cache
from core.interpretability.attribution import through_norm
from core.model import GPT, Bigram


class SourceAttribution(NamedTuple):
    """Contributions to the logit of each position's top token; over all parts they add up to `logits`.

    Like `core.interpretability.attribution`, for all positions at once, with heads split by the token attended to.
    """

    embedding: Float[np.ndarray, "T"]
    position: Float[np.ndarray, "T"]  # 0 if the model adds no position embedding
    heads: Float[np.ndarray, "L H T T"]  # through a head, to a query (row) from a key (column)
    mlps: Float[np.ndarray, "L T"]  # 0 if the model has none
    biases: Float[np.ndarray, "T"]  # of attention's output layers and the last norm
    pairs: Float[np.ndarray, "T"]  # the table of counted pairs; 0 if the model has none
    shift: Float[np.ndarray, "T"]  # the previous token's embedding; 0 if the model does not add it

    @property
    def total(self) -> Float[np.ndarray, "T"]:
        """Return the sum of all contributions."""
        parts = self.embedding + self.position + self.biases + self.pairs + self.shift
        return parts + self.heads.sum(axis=(0, 1, 3)) + self.mlps.sum(axis=0)


class ForwardPass(NamedTuple):
    """Everything that one forward pass of a prompt computes."""

    embedding: Float32[np.ndarray, "T C"]  # the sum of all embeddings: the residual stream before the first block
    patterns: Float32[np.ndarray, "L H T T"]  # attention weights of each query (row) for each key (column)
    neurons: Float32[np.ndarray, "L T F"]  # after the nonlinearity; F is 0 if the model has no feed-forward layers
    # Euclidean norm of the residual stream: before the first block, then after each part
    norms: Float32[np.ndarray, "parts T"]
    logits: Float32[np.ndarray, "T V"]
    contributions: SourceAttribution | None  # None if not wanted, or if parts do not add up


def forward_pass(model: GPT | Bigram, ids: Ids, contributions: bool = True) -> ForwardPass:
    """Run a prompt through the model, optionally with contributions; a bigram's embedding is its table's row.

    Raises PromptError like `core.interpretability.activations.run_with_cache`.
    """
    if not isinstance(model, GPT):
        logits = run_with_cache(model, ids, ["hook_embed"])["hook_embed"]
        T = len(logits)
        none = np.zeros((0, 0, T, T), np.float32)
        best = logits.max(axis=-1)
        zeros = np.zeros(T)
        shares = SourceAttribution(best, zeros, none, np.zeros((0, T)), zeros, zeros, zeros)
        norms, no_neurons = np.linalg.norm(logits, axis=-1)[None], np.zeros((0, T, 0), np.float32)
        return ForwardPass(logits, none, no_neurons, norms, logits, shares)
    at = run_with_cache(model, ids)
    layers = range(model.config.n_layer)
    parts = ("mid", "post") if model.config.feed_forward else ("post",)
    stream = [at["blocks.0.hook_resid_pre"], *(at[f"blocks.{i}.hook_resid_{part}"] for i in layers for part in parts)]
    normalized = torch.from_numpy(at["ln_final.hook_normalized"])
    logits = (normalized @ model.lm_head.weight.detach().float().cpu().T).numpy() + at.get("hook_bigram", 0)
    none = np.zeros((len(normalized), 0), np.float32)
    return ForwardPass(
        embedding=stream[0],
        patterns=np.stack([at[f"blocks.{layer}.attn.hook_pattern"] for layer in layers]),
        neurons=np.stack([at.get(f"blocks.{layer}.mlp.hook_post", none) for layer in layers]),
        norms=np.stack([np.linalg.norm(vectors, axis=-1) for vectors in stream]),
        logits=logits,
        contributions=_contributions(model, at, logits) if contributions and model.config.parts_add_up else None,
    )


def _contributions(model: GPT, at: dict[str, np.ndarray], logits: np.ndarray) -> SourceAttribution:
    config, best = model.config, logits.argmax(axis=-1)
    T, zeros = len(best), np.zeros(len(best))
    wanted = model.lm_head.weight.detach().cpu()[torch.from_numpy(best)].double()  # (T, C)
    last = torch.from_numpy(at[f"blocks.{config.n_layer - 1}.hook_resid_post"]).double()
    direction, constant = through_norm(model.transformer.ln_f, wanted, last)  # (T, C), (T,)

    def share(name: str) -> np.ndarray:
        return (torch.from_numpy(at[name]).double() * direction).sum(dim=-1).numpy() if name in at else zeros

    heads = np.zeros((config.n_layer, config.n_head, T, T))
    for layer, block in enumerate(model.transformer.h):
        output = block.attn.c_proj
        weights = output.weight.detach().cpu().double().view(config.n_embd, config.n_head, -1)
        value = torch.from_numpy(at[f"blocks.{layer}.attn.hook_v"]).double()  # (T, G, C / H)
        value = value.repeat_interleave(config.n_head // config.kv_heads, dim=1)  # (T, H, C / H)
        pattern = torch.from_numpy(at[f"blocks.{layer}.attn.hook_pattern"]).double()
        if config.gated_attention:
            pattern = pattern * torch.from_numpy(at[f"blocks.{layer}.attn.hook_gate"]).double().T[..., None]
        heads[layer] = (torch.einsum("khd,chd,qc->hqk", value, weights, direction) * pattern).numpy()
        if output.bias is not None:
            constant = constant + direction @ output.bias.detach().cpu().double()
    return SourceAttribution(
        embedding=share("hook_embed"),
        position=share("hook_pos_embed"),
        heads=heads,
        mlps=np.stack([share(f"blocks.{layer}.hook_mlp_out") for layer in range(config.n_layer)]),
        biases=constant.numpy(),
        pairs=at["hook_bigram"][range(T), best].astype(np.float64) if "hook_bigram" in at else zeros,
        shift=share("hook_shift_embed"),
    )
