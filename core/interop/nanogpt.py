"""nanoGPT's checkpoint: one `ckpt.pt` with the weights under our names, and the settings that made the model.

The file is a pickle, which can run programs when it is loaded. So it is read by PyTorch's restricted reader, which
knows tensors and plain values only, and every size that it declares is checked before it is used.
"""

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.config import ModelConfig
from core.errors import ConfigError
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

_MOST_STEPS = 10**9
_NUMBER = re.compile("[fiu][248]")  # numpy's codes for floats and whole numbers


def read_checkpoint(path: Path) -> ForeignModel:
    """Read the model from a `ckpt.pt`; the optimizer in it is passed over.

    Raises:
        ForeignModelError: it is no such file, holds more than tensors and plain values, or does not fit its settings.
    """
    found = _load(path)
    settings, stored = found.get("model_args"), found.get("model")
    if not isinstance(settings, dict) or not isinstance(stored, dict):
        raise ForeignModelError("The file has no `model` with its `model_args`, so it is no checkpoint of nanoGPT.")
    vocab_size = whole_number(settings, "vocab_size", 2, MOST_TOKENS)
    step = 0 if found.get("iter_num") is None else whole_number(found, "iter_num", 0, _MOST_STEPS)
    try:
        config = ModelConfig.parse(
            {
                "n_layer": whole_number(settings, "n_layer", 1, 48),
                "n_head": whole_number(settings, "n_head", 1, 64),
                "n_embd": whole_number(settings, "n_embd", 2, 2048),
                "block_size": whole_number(settings, "block_size", 2, 2048),
                "bias": bool(settings.get("bias", True)),
                "activation": "gelu",
            }
        )
    except ConfigError as error:
        raise ForeignModelError(f"Its settings do not fit: {error}") from None
    weights: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ForeignModelError("Among its weights is something that is no tensor.")
        weights[unwrapped(name)] = tensor
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith(".attn.bias")}  # masks
    head = weights.pop("lm_head.weight", None)  # the table of embeddings by its second name
    if head is not None:
        table = weights.setdefault("transformer.wte.weight", head)
        if head.shape == (vocab_size, config.n_embd) == table.shape and not torch.equal(head, table):
            config = config.model_copy(update={"tie_weights": False})
            weights["lm_head.weight"] = head
    check_shapes({name: tuple(tensor.shape) for name, tensor in weights.items()}, expected_shapes(config, vocab_size))
    for name, tensor in weights.items():
        if not tensor.is_floating_point() or tensor.is_sparse or not tensor.is_contiguous():
            raise ForeignModelError(f"The tensor {name} is not a plain table of numbers with a point.")
    weights = {name: tensor.float() for name, tensor in weights.items()}
    check_finite(weights)
    return ForeignModel(config, vocab_size, weights, step)


def write_checkpoint(path: Path, model: GPT | Bigram, step: int = 0, val_loss: float | None = None) -> None:
    """Write a model as a `ckpt.pt` that nanoGPT's `sample.py` reads. There is no optimizer in it.

    Raises:
        ForeignModelError: nanoGPT's model has no such part (rotary positions, say).
        OSError: the file cannot be written.
    """
    config = model.config
    check_writable(config)
    weights = {name: parameter.detach().cpu().clone() for name, parameter in model.named_parameters()}
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    settings = {
        name: getattr(config, name) for name in ("n_layer", "n_head", "n_embd", "block_size", "bias", "dropout")
    }
    checkpoint = {
        "model": weights,
        "model_args": settings | {"vocab_size": model.vocab_size},
        "iter_num": step,
        "best_val_loss": val_loss,
        "config": {},
    }
    torch.save(checkpoint, path)


def check_writable(config: ModelConfig) -> None:
    """Raises ForeignModelError naming the settings in which a model differs from all that nanoGPT can be set to."""
    plain = ModelConfig(
        n_layer=config.n_layer,
        n_head=config.n_head,
        n_embd=config.n_embd,
        block_size=config.block_size,
        dropout=config.dropout,
        bias=config.bias,
        zero_init=config.zero_init,  # only how it began, as the next one
        init_std=config.init_std,
        activation="gelu_tanh" if config.activation == "gelu_tanh" else "gelu",  # nearly the same
    )
    if config != plain:
        names = [name for name in type(config).model_fields if getattr(config, name) != getattr(plain, name)]
        raise ForeignModelError(f"nanoGPT's model cannot be set to this one's {' and '.join(names)}.")


class _NumberKind:
    """Stands in for numpy's dtype while a checkpoint is read: nothing of numpy's is called with what a file says."""

    def __init__(self, code: str, *_: object):
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Pass over what numpy would set: the byte order that all machines with PyTorch have."""


def _number(kind: _NumberKind, data: bytes) -> float | int:
    if not isinstance(kind, _NumberKind) or not isinstance(kind.code, str) or not _NUMBER.fullmatch(kind.code):
        raise ValueError("a number of numpy's of an unknown kind")
    return np.frombuffer(data, kind.code, count=1)[0].item()


# Single numbers as numpy 1 and numpy 2 pickle them: an average of losses easily is one (`np.mean` while evaluating).
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
torch.serialization.add_safe_globals(
    [(_NumberKind, "numpy.dtype"), *((_number, f"{name}.scalar") for name in _MODULES)]
)


def _load(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch packs nothing. What is packed may unfold to any size.
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                raise ForeignModelError("The file is packed in a way that PyTorch never does, so it is not read.")
            if damaged := archive.testzip():  # PyTorch writes these checksums, and does not look at them
                raise ForeignModelError(f"The file is damaged: its part {damaged[:80]!r} is not what was saved.")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except ForeignModelError:
        raise
    except (OSError, zipfile.BadZipFile):
        raise ForeignModelError("The file is missing, damaged, or not saved by PyTorch.") from None
    except Exception:  # the restricted reader raises many kinds, and its advice is to switch the restriction off
        raise ForeignModelError(
            "The file holds something other than tensors and plain values, which could be a program, so it is not read."
        ) from None
    if not isinstance(found, dict):
        raise ForeignModelError("The file holds no dictionary, so it is no checkpoint of nanoGPT.")
    return found
