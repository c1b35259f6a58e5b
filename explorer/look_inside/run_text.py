"""The text of a run as token ids: what to measure it on, and what it may have memorized."""

import threading
from pathlib import Path
from typing import NamedTuple

import numpy as np
from cachetools import LRUCache
from torch import Tensor, from_numpy

from core.errors import TextError
from core.runs.records import RunRecord
from core.text.batches import fixed_windows, split_ids
from core.text.corpora import load_corpus, text_hash
from core.text.tokenizers import Tokenizer
from explorer.i18n.language import _
from explorer.look_inside.inspection import Inspection
from explorer.services import shared

MOST_CACHED = 2  # texts; one of five megabytes takes twenty


class RunText(NamedTuple):
    """A run's text, split as for its training. int32, shared: never change them."""

    training: Tensor  # (N,)
    validation: Tensor  # (M,)


_reading = threading.Lock()
_cache: LRUCache[Path, RunText] = LRUCache(MOST_CACHED)


def run_text(inspection: Inspection) -> RunText:
    """Return both parts of the run's text. GPT-2's tokens take a second a megabyte to compute; then they are cached.

    Raises TextError where the text is gone, is another one now, or has characters unknown to the model.
    """
    path = inspection.folder.path
    with _reading:
        if path not in _cache:
            _cache[path] = _read(inspection.opened.record, inspection.tokenizer)
        return _cache[path]


def windows(inspection: Inspection, length: int = 64, count: int = 64) -> Tensor:
    """Return windows of the validation text, the same ones every time: (count, length + 1), int64.

    `length` is cut to the model's context, and a short text gives fewer windows. Raises TextError: see `run_text`.
    """
    return fixed_windows(run_text(inspection).validation, min(length, inspection.model.block_size), count)


def evaluation_windows(inspection: Inspection) -> Tensor:
    """Return the windows that the run's validation loss is measured on: (count, block_size + 1), int64.

    Raises TextError: see `run_text`.
    """
    return windows(inspection, inspection.model.block_size, inspection.opened.record.config.train.eval_windows)


def training_ids(inspection: Inspection) -> Tensor:
    """Return the training text, of an imported model what it would be trained on: (N,) int32.

    Raises TextError: see `run_text`.
    """
    return run_text(inspection).training


def _read(record: RunRecord, tokenizer: Tokenizer) -> RunText:
    data = record.config.data
    try:
        text = load_corpus(data.corpus, shared.data_dir())
    except TextError as error:
        raise TextError(_("The text of this run can no longer be read. {error}", error=error)) from None
    if record.corpus_hash not in (None, text_hash(text)):
        raise TextError(
            _(
                "The text {name} has changed since this run was trained on it, so nothing is measured on it.",
                name=repr(data.corpus),
            )
        )
    ids = from_numpy(tokenizer.encode_array(text, np.int32))
    return RunText(*split_ids(ids, data.val_fraction))
