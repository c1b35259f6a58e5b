"""GPT-2 as Hugging Face's transformers keeps it: a folder with config.json and model.safetensors.

Its linear layers are stored on their side ("Conv1D"), its parameters are named as ours, and its biases always exist.
"""

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from core.config import ModelConfig
from core.errors import ConfigError
from core.interop.foreign import (
    MOST_TOKENS,
    ForeignModel,
    ForeignModelError,
    check_shapes,
    expected_shapes,
    whole_number,
)
from core.model import GPT, Bigram

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_LYING = ("c_attn.weight", "c_proj.weight", "c_fc.weight")  # (in, out) there, (out, in) here
_MASKS = (".attn.bias", ".attn.masked_bias")  # constants that older versions kept among the weights
# Theirs to ours: gelu_new is the formula with tanh, gelu the exact one.
_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu": "gelu", "relu": "relu", "relu2": "relu2"}
_FLOATS = ("F32", "F16", "BF16")


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
        with safe_open(path, "pt") as file:
            ours = {_our_name(name): name for name in file.keys() if not name.endswith(_MASKS)}  # noqa: SIM118
            declared = {}
            for our_name, name in ours.items():
                stored = file.get_slice(name)
                if stored.get_dtype() not in _FLOATS:
                    raise ForeignModelError(f"The tensor {name} holds {stored.get_dtype()}, not numbers with a point.")
                shape = tuple(stored.get_shape())
                declared[our_name] = shape[::-1] if our_name.endswith(_LYING) else shape
            if config.tie_weights:  # one table, which some files name twice
                declared.pop("lm_head.weight", None)
            check_shapes(declared, expected_shapes(config, vocab_size))
            weights = {name: _upright(name, file.get_tensor(ours[name])) for name in declared}
    except (OSError, SafetensorError) as error:
        raise ForeignModelError(f"The file {WEIGHTS} is damaged or no safetensors file: {error}.") from None
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
    save_file(weights, folder / WEIGHTS, {"format": "pt"})
    (folder / CONFIG).write_text(json.dumps(settings, indent=2))


def check_writable(config: ModelConfig) -> None:
    """Raises ForeignModelError naming the parts of a model that GPT-2 has not."""
    lacking = {
        "a bigram table instead of a transformer": config.kind != "gpt",
        f"the norm {config.norm!r}": config.norm != "layer",
        f"the positions {config.position!r}": config.position != "learned",
        f"the activation {config.activation!r}": config.activation not in _ACTIVATIONS.values(),
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
        settings = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ForeignModelError(f"There is no {CONFIG} in {path.parent.name}, so this is no model's folder.") from None
    except (OSError, ValueError):
        raise ForeignModelError(f"The file {CONFIG} cannot be read: it is damaged or not JSON.") from None
    if not isinstance(settings, dict) or settings.get("model_type") != "gpt2":
        kind = settings.get("model_type") if isinstance(settings, dict) else None
        raise ForeignModelError(f"This is a model of the kind {str(kind)[:40]!r}. Only GPT-2 can be opened here.")
    return settings


def _our_config(settings: dict[str, Any]) -> tuple[ModelConfig, int]:
    width = whole_number(settings, "n_embd", 8, 2048)
    inner = settings.get("n_inner")
    activation = settings.get("activation_function", "gelu_new")
    if inner not in (None, 4 * width):
        raise ForeignModelError(
            f"Its feed-forward layers are {str(inner)[:40]} wide; only four times n_embd is known here."
        )
    if not isinstance(activation, str) or activation not in _ACTIVATIONS:
        raise ForeignModelError(f"Its activation {str(activation)[:40]!r} is not known here.")
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
                "activation": _ACTIVATIONS[activation],
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
    theirs = {ours: name for name, ours in _ACTIVATIONS.items()}
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": model.vocab_size,
        "n_positions": config.block_size,
        "n_embd": config.n_embd,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "activation_function": theirs[config.activation],
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
    """Some files, GPT-2's own among them, leave the first word out."""
    return name if name.startswith(("transformer.", "lm_head.")) else f"transformer.{name}"


def _upright(name: str, tensor: Tensor) -> Tensor:
    return (tensor.T if name.endswith(_LYING) else tensor).float().contiguous()
