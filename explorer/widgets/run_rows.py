"""What the lists of runs show of each run, read once."""

from collections.abc import Container
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from core.config import RunConfig
from core.runs.documents import progress_of, rows_to_judge
from core.runs.folder import RunFolder, list_runs
from core.runs.records import RunRecord, Status
from core.settings import fields_of, value_at
from core.text.corpora import catalogue
from core.training.progress_summary import SENTENCES, ProgressSummary
from explorer.i18n.formatting import STATE_COLORS, state_in_words
from explorer.i18n.language import N_, _
from explorer.streaming.curves import curve_rows


@dataclass(frozen=True)
class RunRow:
    """A run as a list shows it. `record` is None for a damaged run, and `problem` then says what is wrong."""

    folder: RunFolder
    record: RunRecord | None
    status: Status
    problem: str | None

    @property
    def id(self) -> str:
        return self.folder.id

    @property
    def name(self) -> str:
        return self.record.name if self.record else self.folder.id

    @property
    def going_on(self) -> bool:
        return self.record is not None and not self.status.ended


def read_rows(data_dir: Path, most: int | None = None) -> list[RunRow]:
    """The runs, newest first, damaged ones among them."""
    return [_row(folder) for folder in list_runs(data_dir)[:most]]


def corpus_titles(data_dir: Path) -> dict[str, str]:
    """The title of every text there is, by its name; a list asks once for all its lines."""
    return {corpus.name: corpus.title for corpus in catalogue(data_dir)}


def validation_of(folder: RunFolder) -> list[dict[str, Any]]:
    """A run's measured rows, read again only when there are new ones. Shared: never change them."""
    try:
        found = folder.metrics_path.stat()
    except OSError:
        return []
    return _validation(folder.path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=32)
def _validation(path: Path, _changed: int, _size: int) -> list[dict[str, Any]]:
    return [row for row in curve_rows(RunFolder(path)) if row.get("val_loss") is not None]


_ROSE = N_("loss rose after step {changed}")
_TROUBLE = {
    "recovering": N_("falling again"),
    "overfitting": N_("overfitting since step {since}"),
    "rose": N_("loss rose after step {since}"),
    "rose after rate raised": _ROSE,
    "rose after rate lowered": _ROSE,
    "rose after dropout": _ROSE,
    "rose after batch size": _ROSE,
    "never fell": N_("loss never fell"),
    "not learning": N_("not learning"),
    "not finite": N_("loss not finite"),
    "not finite at once": N_("loss not finite"),
}


def trouble_in_words(row: RunRow) -> str:
    """Return what went wrong in a run's training in a few words, for a table; "" for any other run."""
    progress = _progress(row.folder)
    return _(_TROUBLE[progress.kind], **progress.numbers) if progress and progress.trouble else ""


def progress_in_words(row: RunRow) -> str:
    """What went wrong in a run's training, in the dashboard's own sentence; "" for any other run."""
    progress = _progress(row.folder)
    return _(SENTENCES[progress.kind], **progress.numbers) if progress and progress.trouble else ""


def _progress(folder: RunFolder) -> ProgressSummary | None:
    paths = (folder.metrics_path, folder.status_path, folder.events_path)
    return _judged(folder.path, *(path.stat().st_mtime_ns if path.exists() else 0 for path in paths))


@lru_cache(maxsize=512)
def _judged(path: Path, *_changed: int) -> ProgressSummary | None:
    folder = RunFolder(path)
    return progress_of(folder, rows_to_judge(folder))


def differing_settings(
    configs: list[RunConfig], listed_anyway: Container[str] = ("train.steps", "data.corpus", "model.kind")
) -> dict[str, list[Any]]:
    """Return the settings in which some of the runs differ, by label: each run's value, in the order of the runs.

    A setting that makes no difference for a run, such as the layers of a bigram, has the value None.

    Args:
        listed_anyway: settings that are left out, by path.
    """
    columns = {}
    for path, setting in fields_of(RunConfig):
        values = [value_at(config, path) if _matters(path, config) else None for config in configs]
        if path not in listed_anyway and len({*values} - {None}) > 1:
            columns[setting.label] = values
    return columns


def _matters(path: str, config: RunConfig) -> bool:
    return config.model.kind != "bigram" or not path.startswith("model.") or path == "model.block_size"


def _row(folder: RunFolder) -> RunRow:
    problem = folder.problem
    return RunRow(folder, None if problem else folder.record(), folder.status(), problem)


def draw_state(row: RunRow) -> None:
    """The state as a coloured word."""
    if row.problem:
        st.badge(_("damaged"), color="red")
    else:
        ruined = row.status.state == "finished" and progress_in_words(row)
        st.badge(state_in_words(row.status), color="orange" if ruined else STATE_COLORS[row.status.state])
