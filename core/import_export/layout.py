"""The layout of a kind of transformers' model: its names, shapes and settings, and how ours become theirs."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from core.config import ModelConfig
from core.errors import ConfigError
from core.import_export.external_weights import ExternalModelError, integer_setting, read_shape, unwrapped
from core.model import GPT
from core.text.tokenizers import MOST_TOKENS

Rearrange = Callable[[str, Tensor, ModelConfig], Tensor]

_IN_BLOCK = re.compile(r"transformer\.h\.(\d+)\.(.+)\.(weight|bias)")
# Ours to theirs, with several names for one formula; the first is written.
ACTIVATIONS = {
    "gelu_tanh": ("gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"),
    "gelu": ("gelu", "gelu_python"),
    "relu": ("relu",),
    "relu2": ("relu2",),
}
# Settings of ours that have one value in all three kinds.
_FIXED = {
    "kind": "gpt",
    "causal": True,
    "softmax_over": "keys",
    "residual": True,
    "feed_forward": True,
    "qk_norm": False,
    "bigram_start": False,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Layout:
    """One kind of transformers' models."""

    kind: str  # its `model_type`
    title: str  # its name in a sentence
    model_class: str  # the class of transformers that reads it
    fits: Mapping[str, tuple[Any, ...]]  # the values of our settings that it can hold, besides `_FIXED`
    shape: Mapping[str, str]  # its names of the settings in `SHAPE_BOUNDS`
    base: str  # prefix of the name of every parameter but the head's
    blocks: str  # name of the list of its blocks
    head: str  # prefix of the head's parameter; newer versions call every head `lm_head`
    outside: Mapping[str, str]  # our names to theirs, outside the blocks
    inside: Mapping[str, tuple[str, ...]]  # the same for parts of a block; several of theirs are stacked in one of ours
    defaults: Mapping[str, Any]  # transformers' values of settings that a config leaves out
    settings_of: Callable[[ModelConfig], dict[str, Any]]  # its other settings for a config of ours
    # Our other settings for a config of theirs, given ours so far, and the parts of a block without biases there.
    read: Callable[[dict[str, Any], dict[str, Any]], tuple[dict[str, Any], list[str]]]
    constants: tuple[str, ...]  # endings of the names of constants that older versions stored among the weights
    other_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # general names in transformers
    always_bias: bool = True  # whether its linear layers and norms always have biases
    scale_is_a_setting: bool = False  # whether attention can be left unscaled
    to_theirs: Rearrange = lambda name, tensor, config: tensor  # rearranges one parameter
    to_ours: Rearrange = lambda name, tensor, config: tensor

    def obstacles(self, config: ModelConfig) -> list[str]:
        """Return the settings of a model that this kind cannot hold, as `name=value`."""
        if config.kind != "gpt":  # its other settings are without effect
            return [f"kind={config.kind}"]
        fits = {name: (value,) for name, value in _FIXED.items()} | self.fits
        return [f"{name}={value}" for name in fits if (value := getattr(config, name)) not in fits[name]]

    def own_name(self, name: str) -> str | None:
        """Return the full name of a stored parameter; None for a constant. Some files leave the first word out."""
        name = re.sub(r"^lm_head\.", self.head, unwrapped(name))
        if name.endswith(self.constants):
            return None
        return name if name.startswith((self.base, self.head)) else self.base + name

    def split(self, name: str, tensor: Tensor, config: ModelConfig) -> dict[str, Tensor]:
        """Return the stored tensors of a parameter of ours, by name."""
        if name in self.outside:
            return {self.outside[name]: tensor}
        layer, part, kind = _IN_BLOCK.fullmatch(name).groups()
        theirs = [f"{self.base}{self.blocks}.{layer}.{one}.{kind}" for one in self.inside[part]]
        return dict(zip(theirs, self.to_theirs(name, tensor, config).chunk(len(theirs)), strict=True))

    def join(self, name: str, parts: Sequence[Tensor], config: ModelConfig) -> Tensor:
        """Return a parameter of ours from its stored tensors: the inverse of `split`."""
        return self.to_ours(name, torch.cat(list(parts)), config).float().contiguous()

    def our_config(self, settings_read: dict[str, Any]) -> tuple[ModelConfig, int, list[str]]:
        """Return a config.json as ours, the vocabulary's size, and the parts of a block without biases: they are zero.

        Raises ExternalModelError naming the setting that no model of ours can have.
        """
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
        return config, integer_setting(settings, "vocab_size", 2, MOST_TOKENS), lacking

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
        weights = (
            weights_with_positions(model)
            if "transformer.wpe.weight" in self.outside
            else dict(model.named_parameters())
        )
        if not self.scale_is_a_setting:
            weights = with_unscaled_queries(weights, config)
        if self.always_bias and not config.bias:  # zeros, which is the same
            for name, tensor in list(weights.items()):
                if _IN_BLOCK.fullmatch(name) or ".ln_f." in name:
                    weights[name.removesuffix("weight") + "bias"] = torch.zeros(tensor.size(0))
        theirs: dict[str, Tensor] = {}
        for name, tensor in weights.items():
            theirs |= self.split(name, tensor.detach().cpu(), config)
        return {name: tensor.clone().contiguous() for name, tensor in theirs.items()}


def weights_with_positions(model: GPT) -> dict[str, Tensor]:
    """Return the parameters of a model with a table of positions, also where it computes them or has none."""
    weights: dict[str, Tensor] = dict(model.named_parameters())
    if model.config.position == "sinusoidal":
        weights["transformer.wpe.weight"] = model.waves
    elif model.config.position == "none":
        weights["transformer.wpe.weight"] = torch.zeros(model.config.block_size, model.config.n_embd)
    return weights


def with_unscaled_queries(weights: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Return weights that give the same scores where attention is scaled, of a model in which it is not."""
    if config.attention_scale:
        return weights
    changed = dict(weights)
    for name, tensor in weights.items():
        if ".c_attn." in name:
            changed[name] = tensor.detach().clone()
            changed[name][: config.n_embd] *= math.sqrt(config.n_embd // config.n_head)
    return changed


def our_activation(name: object) -> str:
    activations = {name: ours for ours, names in ACTIVATIONS.items() for name in names}
    if not isinstance(name, str) or name not in activations:
        raise ExternalModelError(
            f"Its activation {str(name)[:40]!r} is not supported. Supported are {', '.join(activations)}."
        )
    return activations[name]


def require(settings: dict[str, Any], name: str, value: object, missing: object = None) -> None:
    """Raise ExternalModelError where a setting is not the only supported value."""
    value_read = settings.get(name, missing)
    same = (
        bool(value_read) == value if isinstance(value, bool) else type(value_read) is not bool and value_read == value
    )
    if not same:
        raise ExternalModelError(f"Its setting {name} is {str(value_read)[:40]!r}, but only {value!r} is supported.")


def require_plain_rotation(settings: dict[str, Any], base: str, share: tuple[str, float]) -> None:
    """Raise ExternalModelError where rotary positions are not those of the paper: whole heads, base 10,000, unscaled.

    `base` and `share`, with its default, are the older names of settings that newer versions put into
    `rope_parameters`.
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
