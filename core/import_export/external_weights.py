"""An imported model in our own terms, checks for every file format, and safetensors and tokenizer files."""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from core.atomic_io import parse_json
from core.config import ModelConfig
from core.errors import ExplorerError, TextError
from core.model import GPT, all_finite, build_uninitialized_model
from core.model.self_attention import rotary_angles
from core.settings import fields_of
from core.text.tokenizers import BPETokenizer, CharTokenizer, Tokenizer
from core.training.checkpoints import checksum_holds

MAX_PADDING = 1024  # rows beyond the tokenizer's: vocabularies are padded to multiples of 64 or 128, rarely of more
_WRAPPERS = ("module.", "_orig_mod.")  # prefixes of DistributedDataParallel and torch.compile
_TABLES = ("transformer.wte.weight", "lm_head.weight")  # a row for each token


class ExternalModelError(ExplorerError):
    """A file cannot be read as a model, or a model cannot be written in that format; the message says why."""


class ExternalModel(NamedTuple):
    """A model as read from its files."""

    config: ModelConfig
    vocab_size: int
    weights: dict[str, Tensor]  # float32, by the names and in the shapes of `core.model.gpt`
    step: int  # at which it was saved; 0 if unknown
    tokenizer: Tokenizer | None = None  # if it is in the same file


def integer_setting(data: Mapping[str, object], name: str, low: int, high: int) -> int:
    """Return a whole number from external settings, within bounds; raises ExternalModelError."""
    value = data.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ExternalModelError(
            f"Its setting {name} is {str(value)[:40]!r}, but must be a number from {low} to {high}."
        )
    return value


SHAPE = ("n_layer", "n_head", "n_embd", "block_size")
_SETTINGS = dict(fields_of(ModelConfig))


def read_shape(data: Mapping[str, object], names: Mapping[str, str]) -> dict[str, int]:
    """Return the sizes of a model from external settings, given our names for theirs; raises ExternalModelError."""
    return {ours: integer_setting(data, names[ours], _SETTINGS[ours].low, _SETTINGS[ours].high) for ours in SHAPE}


def unwrapped(name: str) -> str:
    """Return a parameter's own name, without the prefixes of wrappers around the model."""
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def expected_shapes(config: ModelConfig, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every parameter of such a model, without allocating them."""
    with torch.device("meta"):
        model = build_uninitialized_model(config, vocab_size)
    return {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}


def check_shapes(declared: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ExternalModelError naming the first tensor that is missing, of another shape than expected, or unknown."""
    for name, shape in expected.items():
        if name not in declared:
            raise ExternalModelError(f"The tensor {name} is missing from the file.")
        if declared[name] != shape:
            raise ExternalModelError(f"The tensor {name} has the shape {declared[name]}, but should have {shape}.")
    if unknown := sorted(set(declared) - set(expected)):
        raise ExternalModelError(f"The file contains a tensor that its settings do not call for: {unknown[0][:80]!r}.")


def check_finite(weights: Mapping[str, Tensor]) -> None:
    """Raise ExternalModelError naming the first tensor that holds inf or nan."""
    if bad := next((name for name, tensor in weights.items() if not all_finite([tensor])), None):
        raise ExternalModelError(
            f"The tensor {bad} contains numbers that are not finite (inf or nan), so the model cannot predict "
            "anything. Use weights saved before its training diverged."
        )


def without_padding(external: ExternalModel, used: int) -> ExternalModel:
    """Return the model without the rows beyond the first `used` tokens, which only round the vocabulary up.

    The logits of all other tokens stay the same, and a token without a text is never sampled.
    """
    if not 0 < external.vocab_size - used <= MAX_PADDING:
        return external
    tables = {name: external.weights[name][:used].clone() for name in _TABLES if name in external.weights}
    return external._replace(vocab_size=used, weights=external.weights | tables)


@torch.no_grad()
def build(external: ExternalModel) -> GPT:
    """Build the model on the CPU, in evaluation mode."""
    with torch.device("meta"):
        model = GPT(external.config, external.vocab_size)
    model = model.to_empty(device="cpu")
    if external.config.tie_weights:  # `to_empty` has split the tied table in two
        model.lm_head.weight = model.transformer.wte.weight
    if external.config.position == "rope":  # the angles were made on the meta device too
        cos, sin = rotary_angles(external.config.block_size, external.config.n_embd // external.config.n_head)
        for block in model.transformer.h:
            block.attn.cos.copy_(cos)
            block.attn.sin.copy_(sin)
    for name, parameter in model.named_parameters():
        parameter.copy_(external.weights[name])
    return model.eval()


def weights_with_positions(model: GPT) -> dict[str, Tensor]:
    """Return a model's parameters with a position table, even if it computes positions or has none."""
    weights: dict[str, Tensor] = dict(model.named_parameters())
    if model.config.position == "sinusoidal":
        weights["transformer.wpe.weight"] = model.waves
    elif model.config.position == "none":
        weights["transformer.wpe.weight"] = torch.zeros(model.config.block_size, model.config.n_embd)
    return weights


def fold_scale_into_queries(weights: dict[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """Fold sqrt(head_size) into the queries of a model with unscaled attention, for programs that scale it."""
    if config.attention_scale:
        return weights
    changed = dict(weights)
    for name, tensor in weights.items():
        if ".c_attn." in name:
            changed[name] = tensor.detach().clone()
            changed[name][: config.n_embd] *= math.sqrt(config.n_embd // config.n_head)
    return changed


WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD = "model-*.safetensors"  # a pattern for the file names of a split model
_FILE_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,200}\.safetensors", re.ASCII)  # a name only: no way out of the folder
_FLOATS = ("F64", "F32", "F16", "BF16")


@contextmanager
def open_weights(folder: Path) -> Iterator[tuple[dict[str, tuple[int, ...]], Callable[[str], Tensor]]]:
    """Open a folder's weights: shapes by name, and a function that reads one; ExternalModelError if damaged."""

    def shape(name: str) -> tuple[int, ...]:
        stored = files[name].get_slice(name)
        if stored.get_dtype() not in _FLOATS:
            raise ExternalModelError(f"The tensor {name} holds {stored.get_dtype()}, not floating-point numbers.")
        return tuple(stored.get_shape())

    with ExitStack() as stack:
        files: dict[str, safe_open] = {}
        for path, names in _paths(folder):
            try:
                if not checksum_holds(path):
                    raise ExternalModelError(
                        f"The file {path.name} is damaged: its checksum differs from that of the exported file. "
                        "Export it again."
                    )
                file = stack.enter_context(safe_open(path, "pt"))
                stored = set(file.keys())
                files |= dict.fromkeys(stored if names is None else names & stored, file)
            except FileNotFoundError:
                raise ExternalModelError(f"The file {path.name}, which {INDEX} names, is missing.") from None
            except (OSError, SafetensorError) as error:
                raise _damaged(path, error) from None
        try:
            yield {name: shape(name) for name in files}, lambda name: files[name].get_tensor(name)
        except (OSError, SafetensorError) as error:
            raise _damaged(path, error) from None


def _paths(folder: Path) -> list[tuple[Path, set[str] | None]]:
    """Return the files, each with the names of the tensors to read from it; None for all."""
    if (folder / WEIGHTS).exists():
        return [(folder / WEIGHTS, None)]
    if not (folder / INDEX).exists():
        raise ExternalModelError(
            f"There is no {WEIGHTS} in {folder.name}. Pickled weights (pytorch_model.bin) can hide programs, so they "
            "are not read."
        )
    try:
        index = parse_json((folder / INDEX).read_bytes())["weight_map"]
        names: dict[Any, set[Any]] = {}  # unchecked, as they are in the file
        for name, file in index.items():
            names.setdefault(file, set()).add(name)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise ExternalModelError(f"The file {INDEX} is damaged: it does not say which file holds what.") from None
    if not names:
        raise ExternalModelError(f"The file {INDEX} names no weights.")
    if bad := next((file for file in names if not isinstance(file, str) or not _FILE_NAME.fullmatch(file)), None):
        raise ExternalModelError(
            f"The file {INDEX} names {str(bad)[:60]!r}, which is not the name of a safetensors file in its folder."
        )
    return [(folder / file, names[file]) for file in sorted(names)]


def _damaged(path: Path, error: Exception) -> ExternalModelError:
    return ExternalModelError(f"The file {path.name} is damaged or is not a safetensors file: {error}.")


FILE = "tokenizer.json"


def read_tokenizer(folder: Path) -> Tokenizer | None:
    """Return the tokenizer in a model's folder, or None; raises TextError if it is damaged or of an unknown kind."""
    try:
        characters = _characters((folder / FILE).read_bytes())
    except OSError:
        characters = None
    return characters or BPETokenizer.from_folder(folder)


def parse_tokenizer(text: str) -> Tokenizer:
    """Return the tokenizer of one of our `tokenizer.json` files. Raises TextError if it is damaged."""
    try:
        return _characters(text) or BPETokenizer.parse({"tokenizer": parse_json(text)})
    except ValueError:
        raise TextError("The tokenizer of this model is damaged: it is not valid JSON.") from None


def tokenizer_files(tokenizer: Tokenizer) -> dict[str, bytes]:
    """Return `tokenizer.json` and the configuration with which transformers uses it unchanged."""
    return {
        FILE: tokenizer.to_hugging_face().to_str(pretty=True).encode(),
        "tokenizer_config.json": b'{"tokenizer_class": "PreTrainedTokenizerFast"}',
    }


def check_belongs(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raise ExternalModelError if tokenizer and model have vocabularies of different sizes."""
    if tokenizer.vocab_size != vocab_size:
        raise ExternalModelError(
            f"The model knows {vocab_size:,} tokens, but the tokenizer has {tokenizer.vocab_size:,}, so they do not "
            "belong together."
        )


def _characters(text: str | bytes) -> CharTokenizer | None:
    try:
        model = parse_json(text)["model"]
        if model["type"] != "WordLevel":
            return None
        vocabulary = model["vocab"]
        tokens = sorted(vocabulary, key=vocabulary.get)
    except (ValueError, KeyError, TypeError):
        return None
    try:
        return CharTokenizer(tokens)
    except (ValueError, TypeError):
        raise TextError(f"The tokenizer in {FILE} is neither GPT-2's nor one of single characters.") from None
