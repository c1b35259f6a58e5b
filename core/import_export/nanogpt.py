"""nanoGPT's checkpoint, one `ckpt.pt` with the model's settings and its weights under our names; and its data.

The checkpoint is a pickle, which can run programs when it is loaded. So PyTorch's restricted reader reads it,
which accepts only tensors and plain values, and every declared size is checked before use.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.atomic_io import Content
from core.config import ModelConfig, RunConfig, used_settings
from core.errors import ConfigError
from core.import_export.external_weights import (
    FILE,
    SHAPE,
    ExternalModel,
    ExternalModelError,
    check_finite,
    check_shapes,
    expected_shapes,
    fold_scale_into_queries,
    integer_setting,
    parse_tokenizer,
    read_shape,
    tokenizer_files,
    unwrapped,
    weights_with_positions,
)
from core.import_export.layouts import GPT2, HELD
from core.model import GPT, Bigram
from core.text import split_point
from core.text.nanogpt_data import MAX_IDS, PARTS
from core.text.tokenizers import MAX_TOKENS, Tokenizer

_MAX_STEPS = 10**9
_NUMBER = re.compile("[fiu][248]")  # numpy's codes for floats and whole numbers


def read_checkpoint(path: Path) -> ExternalModel:
    """Read the model from a `ckpt.pt`; raises ExternalModelError for anything but plain values and fitting weights."""
    checkpoint = _load(path)
    settings, stored = checkpoint.get("model_args"), checkpoint.get("model")
    if not isinstance(settings, dict) or not isinstance(stored, dict):
        raise ExternalModelError("The file has no `model` with its `model_args`, so it is not a nanoGPT checkpoint.")
    vocab_size = integer_setting(settings, "vocab_size", 2, MAX_TOKENS)
    step = 0 if checkpoint.get("iter_num") is None else integer_setting(checkpoint, "iter_num", 0, _MAX_STEPS)
    shape = read_shape(settings, {name: name for name in SHAPE})
    try:
        config = ModelConfig.parse(shape | {"bias": bool(settings.get("bias", True)), "activation": "gelu"})
    except ConfigError as error:
        raise ExternalModelError(f"Its settings do not fit: {error}") from None
    weights: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ExternalModelError("One of its weights is not a tensor.")
        weights[unwrapped(name)] = tensor
    weights = {name: tensor for name, tensor in weights.items() if not name.endswith(".attn.bias")}  # masks
    head = weights.pop("lm_head.weight", None)  # the embedding table under its second name
    if head is not None:
        table = weights.setdefault("transformer.wte.weight", head)
        if head.shape == (vocab_size, config.n_embd) == table.shape and not torch.equal(head, table):
            config = config.model_copy(update={"tie_weights": False})
            weights["lm_head.weight"] = head
    check_shapes({name: tuple(tensor.shape) for name, tensor in weights.items()}, expected_shapes(config, vocab_size))
    for name, tensor in weights.items():
        if not tensor.is_floating_point() or tensor.is_sparse or not tensor.is_contiguous():
            raise ExternalModelError(f"The tensor {name} is not a plain array of floating-point numbers.")
    weights = {name: tensor.float() for name, tensor in weights.items()}
    check_finite(weights)
    text = checkpoint.get(FILE)
    return ExternalModel(config, vocab_size, weights, step, parse_tokenizer(text) if isinstance(text, str) else None)


def checkpoint_writer(
    model: GPT | Bigram, tokenizer: Tokenizer, dataset: str, step: int = 0, val_loss: float | None = None
) -> Callable[[Path], None]:
    """Return a function that writes a model as a `ckpt.pt` for nanoGPT's `sample.py`, without an optimizer.

    The file also holds the tokenizer, for `read_checkpoint`. Raises ExternalModelError like `check_writable`.
    """
    config = model.config
    check_writable(config)
    assert isinstance(model, GPT), "no other kind is writable"
    weights = fold_scale_into_queries(weights_with_positions(model), config)
    weights = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    settings = {name: getattr(config, name) for name in (*SHAPE, "bias", "dropout")}
    checkpoint = {
        "model": weights,
        "model_args": settings | {"vocab_size": model.vocab_size},
        "iter_num": step,
        "best_val_loss": val_loss,
        "config": {"dataset": dataset},
        FILE: tokenizer_files(tokenizer)[FILE].decode(),
    }
    return partial(_save, checkpoint)


def meta(tokenizer: Tokenizer) -> bytes | None:
    """Return nanoGPT's `meta.pkl`, the vocabulary for `sample.py`. None for GPT-2's own vocabulary.

    `sample.py` looks up single characters only, so it reads prompts of other vocabularies character by character.
    """
    if tokenizer.is_gpt2:
        return None
    itos = dict(enumerate(tokenizer.tokens))
    stoi = {token: id for id, token in itos.items() if len(token) == 1}
    return pickle.dumps({"vocab_size": tokenizer.vocab_size, "itos": itos, "stoi": stoi}, protocol=4)


def data_files(ids: np.ndarray, val_fraction: float, tokenizer: Tokenizer) -> dict[str, Content]:
    """Return nanoGPT's data files for its `train.py`, by name, for a text with these ids (N,).

    A JSON file holds the same vocabulary as `meta.pkl` for `core.text.nanogpt_data`, which reads no pickles. Raises
    ExternalModelError for a vocabulary that exceeds uint16.
    """
    if tokenizer.vocab_size > MAX_IDS:
        raise ExternalModelError(
            f"nanoGPT's data has two bytes per token, so at most {MAX_IDS:,} tokens, and this vocabulary has "
            f"{tokenizer.vocab_size:,}. Choose a smaller one."
        )
    middle = split_point(len(ids), val_fraction)
    parts = dict(zip(PARTS, (ids[:middle], ids[middle:]), strict=True))
    files: dict[str, Content] = {name: partial(_write_ids, part) for name, part in parts.items()}
    if pickled := meta(tokenizer):
        files["meta.pkl"] = pickled
    if tokenizer.by_character:
        itos = {"vocab_size": tokenizer.vocab_size, "itos": tokenizer.tokens}
        return files | {"meta.json": json.dumps(itos).encode()}
    return files | {FILE: tokenizer_files(tokenizer)[FILE]}


def _write_ids(ids: np.ndarray, path: Path) -> None:
    path.write_bytes(ids.astype("<u2", copy=False).data)  # `tofile` hides why the system refused


def first_prompt(tokenizer: Tokenizer) -> str:
    """Return a prompt that sample.py can read: its default newline, else a letter, else any character."""
    if tokenizer.is_gpt2:
        return "\n"
    characters = [token for token in tokenizer.tokens if len(token) == 1]
    return min(characters, key=lambda character: (character != "\n", not character.isalpha()), default="\n")


def check_writable(config: ModelConfig) -> None:
    """Raise ExternalModelError naming the settings that nanoGPT does not have."""
    if config.kind != "gpt":
        raise ExternalModelError(
            f"nanoGPT has no such model (kind={config.kind}), so it cannot be exported for nanoGPT."
        )
    plain = ModelConfig(
        **{name: getattr(config, name) for name in HELD},
        position=config.position if config.position in GPT2.fits["position"] else "learned",
        activation="gelu",
        n_kv_head=config.n_kv_head if config.kv_heads == config.n_head else 0,
    )
    used = [path.removeprefix("model.") for path in used_settings(RunConfig(model=config)) if path.startswith("model.")]
    names = [name for name in used if getattr(config, name) != getattr(plain, name)]
    if names:
        changed = ", ".join(f"{name}={getattr(config, name)}" for name in names)
        held = ", ".join(f"{name}={getattr(plain, name)}" for name in names)
        raise ExternalModelError(
            f"nanoGPT's model cannot have {changed}; it has only {held}, so its logits would differ. Train with "
            "those settings, or export for transformers, which supports more kinds of models."
        )


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    with path.open("wb") as file:
        try:
            torch.save(checkpoint, file)
        except RuntimeError as error:  # PyTorch replaces the system's message with its own
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


class _NumberKind:
    """Replaces numpy's dtype while a checkpoint is read, so that the file's values never reach numpy's own."""

    def __init__(self, code: str, *_: object):
        self.code = code

    def __setstate__(self, state: object) -> None:
        """Ignore the state: all machines with PyTorch have the same byte order."""


def _number(kind: _NumberKind, data: bytes) -> float | int:
    if not isinstance(kind, _NumberKind) or not isinstance(kind.code, str) or not _NUMBER.fullmatch(kind.code):
        raise ValueError("a number of numpy's of an unknown kind")
    return np.frombuffer(data, kind.code, count=1)[0].item()


# Single numbers as numpy 1 and numpy 2 pickle them: an average loss may be one (`np.mean` during evaluation).
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
torch.serialization.add_safe_globals(
    [(_NumberKind, "numpy.dtype"), *((_number, f"{name}.scalar") for name in _MODULES)]
)


def _load(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            # PyTorch compresses nothing. A compressed file may expand to any size.
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                raise ExternalModelError("The file is packed in a way that PyTorch never uses, so it is not read.")
            if damaged := archive.testzip():  # PyTorch writes these checksums, but does not check them
                raise ExternalModelError(f"The file is damaged: its part {damaged[:80]!r} is not what was saved.")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except ExternalModelError:
        raise
    except (OSError, zipfile.BadZipFile):
        raise ExternalModelError("The file is missing, damaged, or not saved by PyTorch.") from None
    except Exception:  # the restricted reader raises many kinds, and its messages advise disabling it
        raise ExternalModelError(
            "The file contains something other than tensors and plain values. It could be a program, so it is not read."
        ) from None
    if not isinstance(checkpoint, dict):
        raise ExternalModelError("The file does not contain a dictionary, so it is not a nanoGPT checkpoint.")
    return checkpoint
