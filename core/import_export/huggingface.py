"""Hugging Face transformers' model folders, with config.json and model.safetensors."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from core.atomic_io import Content, parse_json, write_files
from core.config import ModelConfig
from core.formatting import listed
from core.import_export.external_weights import (
    WEIGHTS,
    ExternalModel,
    ExternalModelError,
    check_finite,
    check_shapes,
    expected_shapes,
    open_weights,
    tokenizer_files,
)
from core.import_export.layouts import LAYOUTS, Layout
from core.model import GPT, Bigram
from core.text.tokenizers import Tokenizer
from core.training.checkpoints import save_with_checksum

CONFIG = "config.json"
_TABLE, _HEAD = "transformer.wte.weight", "lm_head.weight"


def read_folder(folder: Path) -> ExternalModel:
    """Read a GPT-2, GPT-NeoX or Llama without running its code; raises ExternalModelError if it cannot be opened."""
    settings = _settings(folder / CONFIG)
    layout = _layout_of(settings)
    config, vocab_size, lacking = layout.our_config(settings)
    with open_weights(folder) as (shapes, read):
        return _read(layout, config, vocab_size, lacking, shapes, read)


def write_folder(folder: Path, model: GPT | Bigram, tokenizer: Tokenizer | None = None, force: bool = False) -> Layout:
    """Write a model so that transformers' `AutoModelForCausalLM.from_pretrained(folder)` gives the same logits.

    Returns the layout used: the first that can hold the model. Raises ExternalModelError if none can, and
    ExplorerError if the folder cannot be written, or a file exists already and `force` is not set.
    """
    layout = layout_for(model.config)
    assert isinstance(model, GPT), "no layout holds another kind"
    weights = layout.their_weights(model)
    settings = layout.their_settings(model.config, model.vocab_size)
    files: dict[str, Content] = {
        WEIGHTS: lambda path: save_with_checksum(weights, path, {"format": "pt"}),
        CONFIG: json.dumps(settings, indent=2).encode(),
    }
    write_files(folder, files | (tokenizer_files(tokenizer) if tokenizer else {}), force)
    return layout


def layout_for(config: ModelConfig) -> Layout:
    """Return the first kind of model that can hold these settings; raises ExternalModelError naming the obstacles."""
    obstacles = {layout.title: layout.obstacles(config) for layout in LAYOUTS}
    if free := next((layout for layout in LAYOUTS if not obstacles[layout.title]), None):
        return free
    everywhere = [one for one in obstacles[LAYOUTS[0].title] if all(one in others for others in obstacles.values())]
    special = {title: [one for one in names if one not in everywhere] for title, names in obstacles.items()}
    reasons = [listed(everywhere)] if everywhere else []
    if all(special.values()):  # otherwise one kind has no obstacles of its own
        reasons += [f"for {title} {listed(names)}" for title, names in special.items()]
    raise ExternalModelError(
        f"None of {listed(list(obstacles))} can hold this model, so it cannot be exported for transformers. "
        f"Settings in the way: {'; '.join(reasons)}."
    )


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = parse_json(path.read_bytes())
    except FileNotFoundError:
        raise ExternalModelError(
            f"There is no {CONFIG} in {path.parent.name}, so this is not a model's folder."
        ) from None
    except (OSError, ValueError):
        raise ExternalModelError(f"The file {CONFIG} cannot be read: it is damaged or not JSON.") from None
    if not isinstance(settings, dict):
        raise ExternalModelError(f"The file {CONFIG} contains no settings: it is not a dictionary.")
    return settings


def _layout_of(settings: dict[str, Any]) -> Layout:
    """Return the layout of a model; hand-written configs show it only in their class or their settings."""
    classes = settings.get("architectures")
    kind = settings.get("model_type")
    if "model_type" not in settings and isinstance(classes, list) and classes:
        stems = {layout: re.sub("(LMHeadModel|ForCausalLM)$", "", layout.model_class) for layout in LAYOUTS}
        kind = next((layout.kind for layout in LAYOUTS if str(classes[0]).startswith(stems[layout])), classes[0])
    elif "model_type" not in settings and "n_embd" in settings and "n_head" in settings:
        kind = "gpt2"
    for layout in LAYOUTS:
        if layout.kind == kind:
            return layout
    titles = listed([layout.title for layout in LAYOUTS])
    raise ExternalModelError(f"This is a model of the kind {str(kind)[:40]!r}. Only {titles} can be opened here.")


def _read(
    layout: Layout,
    config: ModelConfig,
    vocab_size: int,
    lacking: list[str],
    shapes: Mapping[str, tuple[int, ...]],
    read: Callable[[str], torch.Tensor],
) -> ExternalModel:
    names = {own: name for name in shapes if (own := layout.own_name(name))}  # the layout's -> the file's
    ours = expected_shapes(config.model_copy(update={"tie_weights": False}), vocab_size)
    missing = {name for name in ours if name.endswith(tuple(f"{part}.bias" for part in lacking))} if lacking else set()
    with torch.device("meta"):
        parts = {name: layout.split(name, torch.empty(shape), config) for name, shape in ours.items()}
    table, head = *parts[_TABLE], *parts[_HEAD]
    tied = config.tie_weights
    if tied and head in names and table not in names:  # the tied table under its second name
        names[table] = names.pop(head)
    if tied and head not in names:
        del parts[_HEAD]
    expected = {
        their_name: tuple(tensor.shape)
        for name, tensors in parts.items()
        if name not in missing
        for their_name, tensor in tensors.items()
    }
    check_shapes({own: shapes[name] for own, name in names.items()}, expected)
    weights = {
        name: torch.zeros(ours[name])
        if name in missing
        else layout.join(name, [read(names[their_name]) for their_name in tensors], config)
        for name, tensors in parts.items()
    }
    if tied and _HEAD in weights:
        if torch.equal(weights[_HEAD], weights[_TABLE]):
            del weights[_HEAD]
        else:  # two tables, despite the settings: transformers uses both
            config = config.model_copy(update={"tie_weights": False})
    check_finite(weights)
    return ExternalModel(config, vocab_size, weights, step=0)
