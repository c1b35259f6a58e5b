"""GPT-2 as Hugging Face's transformers keeps it: a folder with config.json and model.safetensors.

Its linear layers are stored on their side ("Conv1D"), its parameters are named as ours, and its biases always exist.
"""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from core.config import ModelConfig
from core.errors import ConfigError
from core.files import parse_json
from core.interop.foreign import (
    ForeignModel,
    ForeignModelError,
    check_finite,
    check_shapes,
    expected_shapes,
    unwrapped,
    whole_number,
)
from core.model import GPT, Bigram
from core.text.bpe import MOST_TOKENS
from core.training.checksums import checksum_holds, save_with_checksum

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_LYING = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # (in, out) there, (out, in) here
_MASKS = (".attn.bias", ".attn.masked_bias")  # constants that older versions kept among the weights
# Ours to theirs, which have several names for one formula; we write the first.
_ACTIVATIONS = {
    "gelu_tanh": ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"),
    "gelu": ("gelu", "gelu_python"),
    "relu": ("relu",),
    "relu2": ("relu2",),
}
_FLOATS = ("F64", "F32", "F16", "BF16")
# What transformers takes where a config leaves a setting out, and the general names that it knows them by.
_DEFAULTS = {"vocab_size": 50_257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
_OTHER_NAMES = {
    "n_positions": ("max_position_embeddings", "n_ctx"),
    "n_embd": ("hidden_size",),
    "n_layer": ("num_hidden_layers",),
    "n_head": ("num_attention_heads",),
}


def read_folder(folder: Path) -> ForeignModel:
    """Read a GPT-2 of any size; nothing in the folder is executed.

    Raises:
        ForeignModelError: a file is missing or damaged, is of another kind of model, or does not fit the settings.
    """
    settings = _settings(folder / CONFIG)
    config, vocab_size = _our_config(settings)
    path = folder / WEIGHTS
    if not path.exists():
        raise ForeignModelError(
            f"There is no {WEIGHTS} in {folder.name}. Pickled weights (pytorch_model.bin) can hide programs, so they "
            "are not read, and neither are weights split over several files."
        )
    try:
        if not checksum_holds(path):
            raise ForeignModelError(
                f"The file {WEIGHTS} is damaged: its checksum is not that of what was exported. Export it again."
            )
        with safe_open(path, "pt") as file:
            ours = {_our_name(name): name for name in file.keys() if not name.endswith(_MASKS)}  # noqa: SIM118
            declared = {}
            for our_name, name in ours.items():
                stored = file.get_slice(name)
                if stored.get_dtype() not in _FLOATS:
                    raise ForeignModelError(f"The tensor {name} holds {stored.get_dtype()}, not numbers with a point.")
                shape = tuple(stored.get_shape())
                declared[our_name] = shape[::-1] if our_name.endswith(_LYING) else shape
            twice = declared.pop("lm_head.weight", None) if config.tie_weights else None  # the one table's second name
            if twice and "transformer.wte.weight" not in declared:
                ours["transformer.wte.weight"], declared["transformer.wte.weight"] = ours.pop("lm_head.weight"), twice
            elif twice and twice != declared["transformer.wte.weight"]:
                raise ForeignModelError(f"The tensor lm_head.weight has the shape {twice}, unlike the embeddings.")
            check_shapes(declared, expected_shapes(config, vocab_size))
            weights = {name: _upright(name, file.get_tensor(stored)) for name, stored in ours.items()}
    except (OSError, SafetensorError) as error:
        raise ForeignModelError(f"The file {WEIGHTS} is damaged or no safetensors file: {error}.") from None
    if config.tie_weights and "lm_head.weight" in weights:
        if torch.equal(weights["lm_head.weight"], weights["transformer.wte.weight"]):
            del weights["lm_head.weight"]
        else:  # two tables, whatever the settings say: transformers uses both
            config = config.model_copy(update={"tie_weights": False})
    check_finite(weights)
    return ForeignModel(config, vocab_size, weights, step=0)


def write_folder(folder: Path, model: GPT | Bigram) -> None:
    """Write a model so that `transformers.GPT2LMHeadModel.from_pretrained(folder)` gives the same logits.

    Biases that the model does without are written as zeros, which is the same.

    Raises:
        ForeignModelError: GPT-2 has no such part (rotary positions, say).
        OSError: the folder cannot be written.
    """
    settings = _their_settings(model)
    config = model.config
    weights: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        weights[name] = _upright(name, parameter.detach().cpu())
        if name.endswith("weight") and not config.bias and (".ln_" in name or name.endswith(_LYING)):
            out = parameter.size(0)
            weights[name.removesuffix("weight") + "bias"] = torch.zeros(out)
    folder.mkdir(parents=True, exist_ok=True)
    save_with_checksum(weights, folder / WEIGHTS, {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(settings, indent=2))


def check_writable(config: ModelConfig) -> None:
    """Raises ForeignModelError naming the parts of a model that GPT-2 has not."""
    lacking = {
        "a bigram table instead of a transformer": config.kind != "gpt",
        f"the norm {config.norm!r}": config.norm != "layer",
        f"the positions {config.position!r}": config.position != "learned",
        f"the activation {config.activation!r}": config.activation not in _ACTIVATIONS,
        "no causal mask": not config.causal,
        "its softmax over queries": config.softmax_over != "keys",
        "no residual connections": not config.residual,
        "no feed-forward layers": not config.feed_forward,
        "normalised queries and keys": config.qk_norm,
        "counted pairs to start from": config.bigram_start,
    }
    if parts := [part for part, lacks in lacking.items() if lacks]:
        raise ForeignModelError(f"GPT-2 has no such part: this model has {' and '.join(parts)}.")


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise ForeignModelError(f"There is no {CONFIG} in {path.parent.name}, so this is no model's folder.") from None
    except (OSError, ValueError):
        raise ForeignModelError(f"The file {CONFIG} cannot be read: it is damaged or not JSON.") from None
    kind = _kind(settings) if isinstance(settings, dict) else None
    if kind != "gpt2":
        raise ForeignModelError(f"This is a model of the kind {str(kind)[:40]!r}. Only GPT-2 can be opened here.")
    given = {name: [settings[other] for other in others if other in settings] for name, others in _OTHER_NAMES.items()}
    return _DEFAULTS | {name: values[0] for name, values in given.items() if values} | settings


def _kind(settings: dict[str, Any]) -> Any:
    """The kind of model, which configs that were written by hand tell by their class or their settings only."""
    if "model_type" in settings:
        return settings["model_type"]
    classes = settings.get("architectures")
    if isinstance(classes, list) and classes:
        return "gpt2" if str(classes[0]).startswith("GPT2") else classes[0]
    return "gpt2" if "n_embd" in settings and "n_head" in settings else None


def _our_config(settings: dict[str, Any]) -> tuple[ModelConfig, int]:
    width = whole_number(settings, "n_embd", 2, 2048)
    inner = settings.get("n_inner")
    activation = settings.get("activation_function", "gelu_new")
    if inner not in (None, 4 * width):
        raise ForeignModelError(
            f"Its feed-forward layers are {str(inner)[:40]} wide; only four times n_embd is known here."
        )
    activations = {name: ours for ours, names in _ACTIVATIONS.items() for name in names}
    if not isinstance(activation, str) or activation not in activations:
        raise ForeignModelError(
            f"Its activation {str(activation)[:40]!r} is not supported. Supported are {', '.join(activations)}."
        )
    if settings.get("scale_attn_by_inverse_layer_idx"):
        raise ForeignModelError("It scales attention by the layer's number, which is not known here.")
    if settings.get("layer_norm_epsilon", 1e-5) != 1e-5:
        raise ForeignModelError("Its layer norms use another epsilon than GPT-2's 1e-5.")
    try:
        config = ModelConfig.parse(
            {
                "n_layer": whole_number(settings, "n_layer", 1, 48),
                "n_head": whole_number(settings, "n_head", 1, 64),
                "n_embd": width,
                "block_size": whole_number(settings, "n_positions", 2, 2048),
                "bias": True,
                "activation": activations[activation],
                "tie_weights": bool(settings.get("tie_word_embeddings", True)),
                "attention_scale": bool(settings.get("scale_attn_weights", True)),
            }
        )
    except (ConfigError, ValidationError) as error:
        raise ForeignModelError(f"Its settings do not fit: {error}") from None
    return config, whole_number(settings, "vocab_size", 2, MOST_TOKENS)


def _their_settings(model: GPT | Bigram) -> dict[str, Any]:
    config = model.config
    check_writable(config)
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": model.vocab_size,
        "n_positions": config.block_size,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "activation_function": _ACTIVATIONS[config.activation][0],
        "layer_norm_epsilon": 1e-5,
        "initializer_range": config.init_std,
        "scale_attn_weights": config.attention_scale,
        "tie_word_embeddings": config.tie_weights,
        "resid_pdrop": config.dropout,
        "embd_pdrop": config.dropout,
        "attn_pdrop": config.dropout,
        "bos_token_id": None,
        "eos_token_id": None,
    }


def _our_name(name: str) -> str:
    """The name without wrappers; some files, GPT-2's own among them, leave the first word out."""
    name = unwrapped(name)
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"


def _upright(name: str, tensor: Tensor) -> Tensor:
    return (tensor.T if name.endswith(_LYING) else tensor).float().contiguous()
