"""The layouts of GPT-2, GPT-NeoX and Llama in transformers.

GPT-2 has a table of positions and stores its linear layers transposed ("Conv1D"). GPT-NeoX has rotary positions and
layer norm, and stores queries, keys and values together for each head. Llama has rotary positions, RMS norm and SwiGLU,
and stores queries, keys, values and gates as matrices of their own. All rotate the halves of a head as ours do.
"""

from typing import Any

from torch import Tensor

from core.config import ModelConfig
from core.import_export.layout import ACTIVATIONS, Layout, our_activation, require, require_plain_rotation
from core.model.gpt import feed_forward_width


def _gpt2_settings(config: ModelConfig) -> dict[str, Any]:
    return {
        "activation_function": ACTIVATIONS[config.activation][0],
        "layer_norm_epsilon": 1e-5,
        "scale_attn_weights": config.attention_scale,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
    }


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
    """Linear layers are (in, out) there, (out, in) here."""
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
    settings_of=_gpt2_settings,
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


def _neox_settings(config: ModelConfig) -> dict[str, Any]:
    return {
        "intermediate_size": feed_forward_width(config),
        "attention_dropout": config.dropout,
        "hidden_act": ACTIVATIONS[config.activation][0],
        "hidden_dropout": config.dropout,
        "layer_norm_eps": 1e-5,
        "use_parallel_residual": False,
        "attention_bias": True,
        "rotary_pct": 1.0,
        "rotary_emb_base": 10_000,
    }


def _read_neox(settings: dict[str, Any], shape: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    require(settings, "intermediate_size", 4 * shape["n_embd"])
    require(settings, "use_parallel_residual", False, missing=True)
    require(settings, "layer_norm_eps", 1e-5, missing=1e-5)
    require_plain_rotation(settings, "rotary_emb_base", share=("rotary_pct", 0.25))
    lacking = [] if settings.get("attention_bias", True) else ["attn.c_attn", "attn.c_proj"]
    activation = our_activation(settings["hidden_act"])
    return {"position": "rope", "bias": True, "norm": "layer", "activation": activation}, lacking


def _by_head(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    return _reorder(tensor, 3, config.n_head) if ".c_attn." in name else tensor


def _by_purpose(name: str, tensor: Tensor, config: ModelConfig) -> Tensor:
    return _reorder(tensor, config.n_head, 3) if ".c_attn." in name else tensor


def _reorder(tensor: Tensor, groups: int, group_size: int) -> Tensor:
    """Return rows (groups, group_size, head_size) as (group_size, groups, head_size); their number stays the same."""
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
    settings_of=_neox_settings,
    read=_read_neox,
    to_theirs=_by_head,
    to_ours=_by_purpose,
)


def _llama_settings(config: ModelConfig) -> dict[str, Any]:
    return {
        "intermediate_size": feed_forward_width(config),
        "attention_dropout": config.dropout,
        "num_key_value_heads": config.n_head,
        "head_dim": config.n_embd // config.n_head,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "attention_bias": config.bias,
        "mlp_bias": config.bias,
        "rope_theta": 10_000.0,
    }


def _read_llama(settings: dict[str, Any], shape: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    read = {"position": "rope", "norm": "rms", "activation": "swiglu"}
    heads = shape["n_head"]
    for name, value in (("num_key_value_heads", heads), ("head_dim", shape["n_embd"] // heads)):
        if settings.get(name) is not None:
            require(settings, name, value)
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
    fits={"norm": ("rms",), "position": ("rope",), "activation": ("swiglu",)},
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
    settings_of=_llama_settings,
    read=_read_llama,
)

LAYOUTS = (GPT2, GPT_NEOX, LLAMA)
