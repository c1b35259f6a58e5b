"""The text that a run learned from, as the model's own numbers: what to measure it on, and what it may have copied."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor, from_numpy

from core.errors import TextError
from core.runs.records import RunRecord
from core.text.batches import fixed_windows, split_ids
from core.text.corpora import load_corpus, text_hash
from core.text.tokenizers import Tokenizer
from explorer.i18n.language import _
from explorer.look_inside.view import Inspection
from explorer.services import shared

MOST_KEPT = 2  # texts; one of five megabytes takes twenty


class Material(NamedTuple):
    """A run's text, cut in two as for its training. int32, shared: never change them."""

    training: Tensor  # (N,)
    validation: Tensor  # (M,)


_reading = threading.Lock()
_kept: OrderedDict[Path, Material] = OrderedDict()


def material(inspection: Inspection) -> Material:
    """Both parts of the run's text. GPT-2's pieces of words take a second a megabyte to find; then they are kept.

    Raises TextError, in a sentence, where the text is gone, is another one now, or has characters unknown to the model.
    """
    place = inspection.folder.path
    with _reading:
        if place not in _kept:
            _kept[place] = _read(inspection.opened.record, inspection.tokenizer)
            while len(_kept) > MOST_KEPT:
                _kept.popitem(last=False)
        _kept.move_to_end(place)
        return _kept[place]


def windows(inspection: Inspection, length: int = 64, count: int = 64) -> Tensor:
    """Pieces of text that the model has not learned from, the same ones every time: (count, length + 1), int64.

    `length` is cut to the model's context, and a short text gives fewer pieces. Raises TextError: see `material`.
    """
    return fixed_windows(material(inspection).validation, min(length, inspection.model.block_size), count)


def evaluation_windows(inspection: Inspection) -> Tensor:
    """Return the windows that the run's validation loss is measured on: (count, block_size + 1), int64.

    Raises TextError: see `material`.
    """
    return windows(inspection, inspection.model.block_size, inspection.opened.record.config.train.eval_windows)


def training_ids(inspection: Inspection) -> Tensor:
    """The whole text that the model has learned from, or would learn from if it was imported: (N,) int32.

    Raises TextError: see `material`.
    """
    return material(inspection).training


def _read(record: RunRecord, tokenizer: Tokenizer) -> Material:
    data = record.config.data
    try:
        text = load_corpus(data.corpus, shared.data_dir())
    except TextError as error:
        raise TextError(_("The text of this run cannot be read any more. {error}", error=error)) from None
    if record.corpus_hash not in (None, text_hash(text)):
        raise TextError(
            _(
                "The text {name} is no longer the one that this run learned from, so nothing is measured on it.",
                name=repr(data.corpus),
            )
        )
    ids = from_numpy(tokenizer.encode_array(text, np.int32))
    return Material(*split_ids(ids, data.val_fraction))
