"""The text of a run as token ids: for measurements, and to search for memorized passages.

All functions raise TextError if the text is gone, has changed, or has characters unknown to the model.
"""

from threading import Condition
from typing import NamedTuple

from cachetools import LRUCache, cached
from torch import Tensor, from_numpy

from core.errors import TextError
from core.model import parameter_count
from core.text.batches import fixed_windows, problem_starts, split_ids
from core.text.corpora import load_hash, load_ids
from core.text.tasks import AnswerTokens, answers_of
from explorer.i18n.language import _
from explorer.look_inside.inspection import Inspection
from explorer.services import shared

MAX_CACHED = 2  # texts; one of 5 MB takes 20 MB
WORK = 2e10  # parameters times tokens: one second or a few


class RunText(NamedTuple):
    """A run's text as int32, split as in training. Shared: never change it."""

    training: Tensor  # (N,); for an imported model, what it would be trained on
    validation: Tensor  # (M,)


@cached(LRUCache(MAX_CACHED), key=lambda inspection: inspection.folder.path, condition=Condition())
def run_text(inspection: Inspection) -> RunText:
    """Return both parts of the run's text. GPT-2's tokenizer takes a second per megabyte; the result is cached."""
    record = inspection.opened.record
    data = record.config.data
    try:
        digest = load_hash(data.corpus, shared.data_dir())
    except TextError as error:
        raise TextError(_("The text of this run can no longer be read. {error}", error=error)) from None
    if record.corpus_hash not in (None, digest):
        words = _(
            "The text {name} has changed since this run was trained on it, so nothing is measured on it.",
            name=repr(data.corpus),
        )
        raise TextError(words)
    ids = from_numpy(load_ids(data.corpus, inspection.tokenizer, shared.data_dir()))
    return RunText(*split_ids(ids, data.val_fraction))


def windows(inspection: Inspection, length: int = 64, count: int = 64) -> Tensor:
    """Return windows of the validation text, the same ones every time: (count or fewer, length or less + 1), int64."""
    ids, answers = run_text(inspection).validation, answers_in(inspection)
    length = min(length, inspection.model.block_size)
    starts = problem_starts(ids, length, answers) if answers else None
    return fixed_windows(ids, length, count, starts)


def answers_in(inspection: Inspection) -> AnswerTokens | None:
    """Return the ids around the answers of the run's task, since only answers count in its loss; None for a text."""
    try:
        return answers_of(inspection.opened.record.config.data.corpus, inspection.tokenizer)
    except TextError:  # an imported model with other tokens
        return None


def task_name(inspection: Inspection) -> str:
    """Return the name of the task if `windows` start at its problems; "" for any other text."""
    return inspection.opened.record.config.data.corpus if answers_in(inspection) else ""


def affordable_windows(inspection: Inspection, length: int, least: int, most: int) -> int:
    """Return how many windows of `length` tokens the model reads in a few seconds, from `least` to `most`."""
    return min(most, max(least, int(WORK / (parameter_count(inspection.model) * length))))
