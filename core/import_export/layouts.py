"""The layouts of models in transformers: their names, shapes and settings, and the conversion of ours to theirs.

GPT-2 has a table of positions and stores its linear layers transposed ("Conv1D"). GPT-NeoX has rotary positions and
layer norm, and stores queries, keys and values together for each head. Llama has rotary positions, RMS norm and SwiGLU,
and stores queries, keys, values and gates as separate matrices. Rotary positions rotate the halves of a head, as ours.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from core.config import ModelConfig, RunConfig, used_settings
from core.errors import ConfigError
from core.import_export.external_weights import (
    SHAPE,
    ExternalModelError,
    fold_scale_into_queries,
    integer_setting,
    read_shape,
    unwrapped,
    weights_with_positions,
)
from core.model import GPT
from core.model.gpt import feed_forward_width
from core.text.tokenizers import MAX_TOKENS

Rearrange = Callable[[str, Tensor, ModelConfig], Tensor]

_IN_BLOCK = re.compile(r"transformer\.h\.(\d+)\.(.+)\.(weight|bias)")
# Ours to theirs, which have several names for one formula; exports write the first.
ACTIVATIONS = {
    "gelu_tanh": ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"),
    "gelu": ("gelu", "gelu_python"),
    "relu": ("relu",),
    "relu2": ("relu2",),
}
# Settings that all layouts have, or that matter only at initialization. Others must have their default, unless a
# layout's `fits` allows other values.
HELD = (*SHAPE, "dropout", "bias", "attention_scale", "zero_init", "init_std")


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """One model type of transformers."""

    kind: str  # its `model_type`
    title: str  # its name in a sentence
    model_class: str  # the class of transformers that reads it
    fits: Mapping[str, tuple[Any, ...]]  # the values of our settings that it can hold, besides `HELD` and defaults
    shape: Mapping[str, str]  # its names for the settings in `SHAPE`
    base: str  # prefix of the name of every parameter but the head's
    blocks: str  # name of the list of its blocks
    head: str  # prefix of the head's parameter; newer versions call every head `lm_head`
    outside: Mapping[str, str]  # our names to theirs, outside the blocks
    inside: Mapping[str, tuple[str, ...]]  # the same for parts of a block; one of ours may stack several of theirs
    defaults: Mapping[str, Any]  # transformers' values for settings that a config leaves out
    settings_of: Callable[[ModelConfig], dict[str, Any]]  # its other settings for a config of ours
    # From a config of theirs and our settings so far: our other settings, and the parts of its blocks without biases.
    read: Callable[[dict[str, Any], dict[str, Any]], tuple[dict[str, Any], list[str]]]
    constants: tuple[str, ...]  # name suffixes of constants that older versions stored with the weights
    other_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # transformers' general names
    always_bias: bool = True  # whether its linear layers and norms always have biases
    scale_is_a_setting: bool = False  # whether attention can be left unscaled
    to_theirs: Rearrange = lambda name, tensor, config: tensor  # rearranges one parameter
    to_ours: Rearrange = lambda name, tensor, config: tensor

    def obstacles(self, config: ModelConfig) -> list[str]:
        """Return the settings of a model that this kind cannot hold, as `name=value`."""
        if config.kind != "gpt":  # its other settings have no effect
            return [f"kind={config.kind}"]
        fits: dict[str, tuple[Any, ...]] = {name: (field.default,) for name, field in ModelConfig.model_fields.items()}
        fits |= self.fits
        held = (*HELD, "tie_weights", *["n_kv_head"] * (config.kv_heads == config.n_head))
        used = used_settings(RunConfig(model=config))
        values = {name: getattr(config, name) for name in fits if name not in held and f"model.{name}" in used}
        return [f"{name}={value}" for name, value in values.items() if value not in fits[name]]

    def own_name(self, name: str) -> str | None:
        """Return the full name of a stored parameter; None for a constant. Some files omit the prefix."""
        name = re.sub(r"^lm_head\.", self.head, unwrapped(name))
        if name.endswith(self.constants):
            return None
        return name if name.startswith((self.base, self.head)) else self.base + name

    def split(self, name: str, tensor: Tensor, config: ModelConfig) -> dict[str, Tensor]:
        """Return the stored tensors for one of our parameters, by name."""
        if name in self.outside:
            return {self.outside[name]: tensor}
        match = _IN_BLOCK.fullmatch(name)
        assert match is not None, f"{name} is neither in a block nor outside"
        layer, part, kind = match.groups()
        theirs = [f"{self.base}{self.blocks}.{layer}.{one}.{kind}" for one in self.inside[part]]
        tensor = self.to_theirs(name, tensor, config)
        rows: int | list[int] = len(tensor) // len(theirs)
        if part == "attn.c_attn" and len(theirs) == 3:  # heads may share keys and values
            shared = (len(tensor) - config.n_embd) // 2
            rows = [config.n_embd, shared, shared]
        return dict(zip(theirs, tensor.split(rows), strict=True))

    def join(self, name: str, parts: Sequence[Tensor], config: ModelConfig) -> Tensor:
        """Return one of our parameters from its stored tensors: the inverse of `split`."""
        return self.to_ours(name, torch.cat(list(parts)), config).float().contiguous()

    def our_config(self, settings_read: dict[str, Any]) -> tuple[ModelConfig, int, list[str]]:
        """Return our config for a config.json, its vocabulary size, parts without biases; raises ExternalModelError."""
        others = {
            name: [settings_read[other] for other in names if other in settings_read]
            for name, names in self.other_names.items()
        }
        settings = dict(self.defaults) | {name: values[0] for name, values in others.items() if values} | settings_read
        shape = read_shape(settings, self.shape)
        read, lacking = self.read(settings, shape)
        try:
            config = ModelConfig.parse(shape | read | {"tie_weights": bool(settings["tie_word_embeddings"])})
        except ConfigError as error:
            raise ExternalModelError(f"Its settings do not fit: {error}") from None
        return config, integer_setting(settings, "vocab_size", 2, MAX_TOKENS), lacking

    def their_settings(self, config: ModelConfig, vocab_size: int) -> dict[str, Any]:
        """Return the config.json of a model of ours that this kind can hold."""
        return {
            "architectures": [self.model_class],
            "model_type": self.kind,
            "vocab_size": vocab_size,
            "initializer_range": config.init_std,
            "tie_word_embeddings": config.tie_weights,
            "bos_token_id": None,
            "eos_token_id": None,
            **{name: getattr(config, ours) for ours, name in self.shape.items()},
            **self.settings_of(config),
        }

    def their_weights(self, model: GPT) -> dict[str, Tensor]:
        """Return the stored tensors of a model of ours that this kind can hold."""
        config = model.config
        weights = weights_with_positions(model)
        if not self.scale_is_a_setting:
            weights = fold_scale_into_queries(weights, config)
        if self.always_bias and not config.bias:  # zero biases change nothing
            for name, tensor in list(weights.items()):
                if _IN_BLOCK.fullmatch(name) or ".ln_f." in name:
                    weights[name.removesuffix("weight") + "bias"] = torch.zeros(tensor.size(0))
        theirs: dict[str, Tensor] = {}
        for name, tensor in weights.items():
            theirs |= self.split(name, tensor.detach().cpu(), config)
        return {name: tensor.clone().contiguous() for name, tensor in theirs.items()}


def our_activation(name: object) -> str:
    activations = {name: ours for ours, names in ACTIVATIONS.items() for name in names}
    if not isinstance(name, str) or name not in activations:
        raise ExternalModelError(
            f"Its activation {str(name)[:40]!r} is not supported. Supported are {', '.join(activations)}."
        )
    return activations[name]


def require(settings: dict[str, Any], name: str, value: object, missing: object = None) -> None:
    """Raise ExternalModelError if a setting does not have the only supported value."""
    value_read = settings.get(name, missing)
    plain = bool(value_read) if isinstance(value, bool) else value_read
    if plain != value or isinstance(plain, bool) != isinstance(value, bool):
        raise ExternalModelError(f"Its setting {name} is {str(value_read)[:40]!r}, but only {value!r} is supported.")


def require_plain_rotation(settings: dict[str, Any], base: str, share: tuple[str, float]) -> None:
    """Raise ExternalModelError unless rotary positions are those of the paper: whole heads, base 10,000, unscaled.

    `base` and `share` (with its default) are older names for settings in `rope_parameters`.
    """
    rope = settings.get("rope_scaling") or settings.get("rope_parameters") or {}
    if not isinstance(rope, dict):
        raise ExternalModelError(f"Its setting rope_parameters is {str(rope)[:40]!r}, but must be a dictionary.")
    name, full_share = share
    plain = {
        "rope_type": rope.get("type", "default"),
        "rope_theta": settings.get(base, settings.get("rope_theta", 10_000)),
        "partial_rotary_factor": settings.get(name, full_share),
    } | rope
    for setting, value in (("rope_type", "default"), ("rope_theta", 10_000), ("partial_rotary_factor", 1)):
        require(plain, setting, value)


def _read_gpt2(settings: dict[str, Any], shape: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    if settings.get("n_inner") is not None:
        require(settings, "n_inner", 4 * shape["n_embd"])
    require(settings, "layer_norm_epsilon", 1e-5, missing=1e-5)
    require(settings, "scale_attn_by_inverse_layer_idx", False, missing=False)
    read = {
        "bias": True,
        "activation": our_activation(settings.get("activation_function", "gelu_new")),
        "attention_scale": bool(settings.get("scale_attn_weights", True)),
    }
    return read, []


def _transposed(name: str, tensor: Tensor, _config: ModelConfig) -> Tensor:
    return tensor.T if name.endswith(("c_attn.weight", "c_proj.weight", "c_fc.weight")) else tensor


_GPT2_OUTSIDE = ("transformer.wte.weight", "transformer.wpe.weight", "transformer.ln_f.weight", "transformer.ln_f.bias")
_GPT2_INSIDE = ("ln_1", "ln_2", "attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")

GPT2 = Layout(
    kind="gpt2",
    title="GPT-2",
    model_class="GPT2LMHeadModel",
    fits={
        "norm": ("layer",),
        "position": ("learned", "sinusoidal", "none"),  # the last two as a table
        "activation": tuple(ACTIVATIONS),
    },
    shape={"n_layer": "n_layer", "n_head": "n_head", "n_embd": "n_embd", "block_size": "n_positions"},
    base="transformer.",
    blocks="h",
    head="lm_head.",
    outside={name: name for name in (*_GPT2_OUTSIDE, "lm_head.weight")},
    inside={part: (part,) for part in _GPT2_INSIDE},
    constants=(".attn.bias", ".attn.masked_bias"),
    defaults={
        "vocab_size": 50_257,
        "n_positions": 1024,
        "n_embd": 768,
        "n_layer": 12,
        "n_head": 12,
        "tie_word_embeddings": True,
    },
    other_names={
        "n_positions": ("max_position_embeddings", "n_ctx"),
        "n_embd": ("hidden_size",),
        "n_layer": ("num_hidden_layers",),
        "n_head": ("num_attention_heads",),
    },
    scale_is_a_setting=True,
    settings_of=lambda config: {
        "activation_function": ACTIVATIONS[config.activation][0],
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": config.attention_scale,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
    },
    read=_read_gpt2,
    to_theirs=_transposed,
    to_ours=_transposed,
)


_SHAPE = {
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_embd": "hidden_size",
    "block_size": "max_position_embeddings",
}


def _read_neox(settings: dict[str, Any], shape: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    require(settings, "intermediate_size", 4 * shape["n_embd"])
    require(settings, "use_parallel_residual", False, missing=True)
    require(settings, "layer_norm_eps", 1e-5, missing=1e-5)
    require_plain_rotation(settings, "rotary_emb_base", share=("rotary_pct", 0.25))
    lacking = [] if settings.get("attention_bias", True) else ["attn.c_attn", "attn.c_proj"]
    activation = our_activation(settings["hidden_act"])
    return {"position": "rope", "bias": True, "norm": "layer", "activation": activation}, lacking


def _reorder(name: str, tensor: Tensor, groups: int, group_size: int) -> Tensor:
    """Return the rows of `c_attn` (groups, group_size, head_size) as (group_size, groups, head_size)."""
    if ".c_attn." not in name:
        return tensor
    rest = tensor.shape[1:]
    return tensor.view(groups, group_size, -1, *rest).transpose(0, 1).reshape(-1, *rest)


GPT_NEOX = Layout(
    kind="gpt_neox",
    title="GPT-NeoX",
    model_class="GPTNeoXForCausalLM",
    fits={"norm": ("layer",), "position": ("rope",), "activation": tuple(ACTIVATIONS)},
    shape=_SHAPE,
    base="gpt_neox.",
    blocks="layers",
    head="embed_out.",
    outside={
        "transformer.wte.weight": "gpt_neox.embed_in.weight",
        "transformer.ln_f.weight": "gpt_neox.final_layer_norm.weight",
        "transformer.ln_f.bias": "gpt_neox.final_layer_norm.bias",
        "lm_head.weight": "embed_out.weight",
    },
    inside={
        "ln_1": ("input_layernorm",),
        "ln_2": ("post_attention_layernorm",),
        "attn.c_attn": ("attention.query_key_value",),
        "attn.c_proj": ("attention.dense",),
        "mlp.c_fc": ("mlp.dense_h_to_4h",),
        "mlp.c_proj": ("mlp.dense_4h_to_h",),
    },
    constants=(".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq"),
    defaults={
        "vocab_size": 50_432,
        "hidden_size": 6144,
        "num_hidden_layers": 44,
        "num_attention_heads": 64,
        "intermediate_size": 24_576,
        "max_position_embeddings": 2048,
        "hidden_act": "gelu",
        "tie_word_embeddings": False,
    },
    settings_of=lambda config: {
        "intermediate_size": feed_forward_width(config),
        "attention_dropout": config.dropout,
        "hidden_act": ACTIVATIONS[config.activation][0],
        "hidden_dropout": config.dropout,
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": False,
        "attention_bias": True,
        "rotary_pct": 1.0,
        "rotary_emb_base": 10_000,
    },
    read=_read_neox,
    to_theirs=lambda name, tensor, config: _reorder(name, tensor, 3, config.n_head),
    to_ours=lambda name, tensor, config: _reorder(name, tensor, config.n_head, 3),
)


def _read_llama(settings: dict[str, Any], shape: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    read: dict[str, Any] = {"position": "rope", "norm": "rms", "activation": "swiglu"}
    heads = shape["n_head"]
    if settings.get("head_dim") is not None:
        require(settings, "head_dim", shape["n_embd"] // heads)
    if settings.get("num_key_value_heads") not in (None, heads):
        read["n_kv_head"] = integer_setting(settings, "num_key_value_heads", 1, heads)
    require(settings, "intermediate_size", feed_forward_width(ModelConfig.model_construct(**shape, **read)))
    require(settings, "hidden_act", "silu", missing="silu")
    require(settings, "rms_norm_eps", 1e-5, missing=1e-6)
    require_plain_rotation(settings, "rope_theta", share=("partial_rotary_factor", 1.0))
    of = {"attention_bias": ["attn.c_attn", "attn.c_proj"], "mlp_bias": ["mlp.c_fc", "mlp.c_proj"]}
    lacking = [part for name, parts in of.items() if not settings.get(name) for part in parts]
    bias = len(lacking) < 4
    return read | {"bias": bias}, lacking if bias else []


LLAMA = Layout(
    kind="llama",
    title="Llama",
    model_class="LlamaForCausalLM",
    fits={"norm": ("rms",), "position": ("rope",), "activation": ("swiglu",), "n_kv_head": tuple(range(65))},
    shape=_SHAPE,
    base="model.",
    blocks="layers",
    head="lm_head.",
    outside={
        "transformer.wte.weight": "model.embed_tokens.weight",
        "transformer.ln_f.weight": "model.norm.weight",
        "lm_head.weight": "lm_head.weight",
    },
    inside={
        "ln_1": ("input_layernorm",),
        "ln_2": ("post_attention_layernorm",),
        "attn.c_attn": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "attn.c_proj": ("self_attn.o_proj",),
        "mlp.c_fc": ("mlp.gate_proj", "mlp.up_proj"),
        "mlp.c_proj": ("mlp.down_proj",),
    },
    constants=(".rotary_emb.inv_freq",),
    defaults={
        "vocab_size": 32_000,
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 11_008,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
    },
    always_bias=False,
    settings_of=lambda config: {
        "intermediate_size": feed_forward_width(config),
        "attention_dropout": config.dropout,
        "num_key_value_heads": config.kv_heads,
        "head_dim": config.n_embd // config.n_head,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
        "rope_theta": 10_000.0,
    },
    read=_read_llama,
)

LAYOUTS = (GPT2, GPT_NEOX, LLAMA)
