"""Whether a run may have learned from a passage: by itself, or with the weights that it began with."""

from functools import lru_cache
from pathlib import Path

from core.errors import ExplorerError
from core.lessons.shannon import Passage
from core.runs.folder import RunFolder, open_run
from core.runs.records import RunRecord
from core.text import split_point
from core.text.corpora import load_corpus, text_hash

_MOST = 32  # generations; a record that somebody has edited may name itself
_CONTEXT = 40  # characters before the passage that count: a few letters alone stand in many texts by chance

_hash = lru_cache(maxsize=4)(text_hash)


def may_have_trained_on(run: RunFolder, data_dir: Path, corpus: str, passage: Passage) -> bool:
    """Whether the run, or one whose weights it goes back to, may have learned from a passage of a text.

    Only what is known counts as not seen. An imported model, an ancestor that is deleted, and a text that is gone or
    another one by now: each of them may have held the passage.

    Args:
        corpus: the text that the passage is from.

    Raises RunError where the run's own record cannot be read.
    """
    record = run.record()
    for _ in range(_MOST):
        if record.origin or _held(record, data_dir, corpus, passage):
            return True
        if record.parent_step is None:
            return False
        try:
            record = open_run(data_dir, record.parent or "").record()
        except ExplorerError:
            return True
    return True


def _held(record: RunRecord, data_dir: Path, corpus: str, passage: Passage) -> bool:
    """Whether the part of its text that a run learned from may have held the passage."""
    data = record.config.data
    try:
        text = load_corpus(data.corpus, data_dir)
    except ExplorerError:
        return True
    if record.corpus_hash not in (None, _hash(text)):
        return True
    end = split_point(len(text), data.val_fraction)
    if data.corpus == corpus:
        return passage.start < end
    return passage.before[-_CONTEXT:] + passage.hidden in text[:end]
