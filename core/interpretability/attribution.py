"""Direct logit attribution: the contribution of every part of the model to one token's logit.

The last residual stream is the sum of the outputs of embedding, heads and feed-forward layers, so a logit is a sum of
their contributions ("A Mathematical Framework for Transformer Circuits", Elhage 2021, section "Logit attribution").
The scale of the last norm is treated as a constant, so the contributions add up exactly. Indirect effects, through the
inputs of later parts, are not counted.
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn

from core.interpretability.activations import POST_NORM, Ids, PartError, run_with_cache
from core.model import GPT, Bigram
from core.model.layers import Norm


class Attribution(NamedTuple):
    """Contributions to the logit of `token`, minus the reference's; they add up to `logit`."""

    token: int
    logit: float  # of the token, minus the reference
    embedding: float  # of the token at this position
    position: float  # its position embedding; 0 if the model adds none (`rope`, `none`, a bigram)
    heads: Float64[np.ndarray, "L H"]  # a bigram model has none
    mlps: Float64[np.ndarray, "L"]  # each including its bias
    biases: float  # of attention's output layers and the last norm
    pairs: float  # the table of counted pairs, if the model has one; else 0
    shift: float = 0.0  # the previous token's embedding, if the model adds it

    @property
    def total(self) -> float:
        """Return the sum of all contributions: `logit`, up to rounding."""
        rest = self.embedding + self.position + self.biases + self.pairs + self.shift
        return float(rest + self.heads.sum() + self.mlps.sum())

    def shares(self) -> list[tuple[str, float]]:
        """Return every part with its contribution, from the first layer up; layers and heads count from 1."""
        rows = [
            ("token embedding", self.embedding),
            ("position embedding", self.position),
            ("counted pairs", self.pairs),
        ]
        rows += [("previous token's embedding", self.shift)] if self.shift else []
        for layer, (heads, mlp) in enumerate(zip(self.heads, self.mlps, strict=True), start=1):
            rows += [(f"head {layer}.{head}", float(share)) for head, share in enumerate(heads, start=1)]
            rows.append((f"MLP {layer}", float(mlp)))
        return [*rows, ("biases", self.biases)]


def attribute(
    model: GPT | Bigram,
    ids: Ids,
    token: int | None = None,
    against: int | Literal["mean", "zero"] = "zero",
    position: int = -1,
) -> Attribution:
    """Return the contributions of all parts to the logit of `token`, by default the top token, after `ids`.

    Args:
        against: the reference: "zero" subtracts nothing, "mean" the mean logit of all tokens, an id that token's logit.
        position: from which the next token is predicted; by default the last.

    Raises PromptError like `as_row`, and PartError for a model without residual connections or with post-norm: its
    parts do not add up.
    """
    if not isinstance(model, GPT):
        logits = run_with_cache(model, ids, ["hook_embed"])["hook_embed"][position].astype(np.float64)
        token = int(logits.argmax()) if token is None else token
        share = float(logits[token] - _reference(logits, against))
        return Attribution(token, share, share, 0.0, np.zeros((0, 0)), np.zeros(0), 0.0, 0.0)
    _check_parts_add_up(model)
    last = f"blocks.{model.config.n_layer - 1}.hook_resid_post"
    recorded = run_with_cache(model, ids, [*_sources(model), last, "ln_final.hook_normalized"])
    at = {name: torch.from_numpy(array[position]).double() for name, array in recorded.items()}

    unembedding = model.lm_head.weight.detach().cpu()  # (V, C); only the rows in question are needed in float64
    pairs = at.get("hook_bigram", torch.zeros(model.vocab_size, dtype=torch.float64))
    read = at["ln_final.hook_normalized"]
    if token is None:
        token = int((unembedding @ read.to(unembedding) + pairs).argmax())
    wanted = unembedding[token].double()
    if against == "mean":
        wanted = wanted - unembedding.mean(dim=0, dtype=torch.float64)
    elif against != "zero":
        wanted = wanted - unembedding[against].double()
    pair = float(pairs[token]) - _reference(pairs.numpy(), against)
    direction, bias = through_norm(model.transformer.ln_f, wanted, at[last])
    constant = float(bias)

    heads = np.zeros((model.config.n_layer, model.config.n_head))
    for layer, block in enumerate(model.transformer.h):
        writes = block.attn.c_proj.weight.detach().cpu().double().view(model.config.n_embd, model.config.n_head, -1)
        heads[layer] = torch.einsum("chd,hd,c->h", writes, at[f"blocks.{layer}.attn.hook_z"], direction).numpy()
        if block.attn.c_proj.bias is not None:
            constant += float(block.attn.c_proj.bias.detach().cpu().double() @ direction)
    mlps = [at.get(f"blocks.{i}.hook_mlp_out", torch.zeros_like(direction)) for i in range(model.config.n_layer)]
    return Attribution(
        token=token,
        logit=float(wanted @ read) + pair,
        embedding=float(at["hook_embed"] @ direction),
        position=float(at["hook_pos_embed"] @ direction) if "hook_pos_embed" in at else 0.0,
        heads=heads,
        mlps=np.array([float(said @ direction) for said in mlps]),
        biases=constant,
        pairs=pair,
        shift=float(at["hook_shift_embed"] @ direction) if "hook_shift_embed" in at else 0.0,
    )


def through_norm(
    norm: Norm, wanted: Float64[Tensor, "*A C"], stream: Float64[Tensor, "*A C"]
) -> tuple[Float64[Tensor, "*A C"], Float64[Tensor, "*A"]]:
    """Return the directions `wanted` pulled back through the last norm, with its scale for `stream` as a constant.

    The second result is what the norm's bias adds.
    """
    none = torch.zeros(wanted.shape[:-1], dtype=wanted.dtype)
    if isinstance(norm, nn.Identity):
        return wanted, none
    direction = wanted * norm.weight.detach().cpu().double()
    if isinstance(norm, nn.RMSNorm):
        assert norm.eps is not None, "else it would depend on the numbers' type"
        return direction * (stream.square().mean(dim=-1, keepdim=True) + norm.eps).rsqrt(), none
    constant = none if norm.bias is None else wanted @ norm.bias.detach().cpu().double()
    # Subtracting the mean from the stream or from the direction gives the same product.
    centered = direction - direction.mean(dim=-1, keepdim=True)
    return centered * (stream.var(dim=-1, correction=0, keepdim=True) + norm.eps).rsqrt(), constant


def _check_parts_add_up(model: GPT) -> None:
    if not model.config.residual:
        raise PartError(
            "This model has no residual connections: each part replaces what came before it, so nothing adds up. "
            "Choose a model that has them."
        )
    if model.config.post_norm:
        raise PartError(POST_NORM)


def _reference(logits: np.ndarray, against: int | Literal["mean", "zero"]) -> float:
    return 0.0 if against == "zero" else float(logits.mean() if against == "mean" else logits[against])


def _sources(model: GPT) -> list[str]:
    """Return the hook points of everything that is added to the residual stream or to the logits."""
    names = ["hook_embed"] + ["hook_pos_embed"] * (model.config.position in ("learned", "sinusoidal"))
    names += ["hook_shift_embed"] * model.config.token_shift
    for layer in range(model.config.n_layer):
        names += [f"blocks.{layer}.attn.hook_z"] + [f"blocks.{layer}.hook_mlp_out"] * model.config.feed_forward
    return names + ["hook_bigram"] * model.config.bigram_start
