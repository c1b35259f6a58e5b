"""What lists and comparisons show of each run: its state, progress, settings, color and history."""

import logging
from collections import Counter
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from zlib import crc32

import streamlit as st

from core.atomic_io import parse_json, write_json
from core.config import SETTINGS, RunConfig, used_settings
from core.errors import ExplorerError, RunError
from core.palette import LIGHT, Palette
from core.runs.ancestry import ancestors
from core.runs.commands import config_now
from core.runs.documents import progress_of, rows_to_judge
from core.runs.folder import RunFolder, list_runs, open_run
from core.runs.records import RunRecord, Status
from core.settings import value_at
from core.text.corpora import catalogue
from core.text.tokenizers import load_tokenizer
from core.training.progress_summary import SENTENCES, ProgressSummary
from explorer.charts.loss import BIT, ParentCurve, in_unit
from explorer.i18n.formatting import state_color, state_in_words
from explorer.i18n.language import N_, _
from explorer.services.cost_trials import place_in_queue
from explorer.streaming.jsonl_tail import curve_rows, file_version

log = logging.getLogger(__name__)
_TIED = 0.005  # nats/token: less is noise


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

    @property
    def config(self) -> RunConfig:
        """The current settings of the run, with all changes made while it trained."""
        return config_of(self.folder)


def read_run_rows(data_dir: Path) -> list[RunRow]:
    """Return the runs, newest first, including damaged ones."""
    return rows_of(list_runs(data_dir))


def rows_of(runs: Iterable[RunFolder]) -> list[RunRow]:
    """Return the row of each run for a list."""
    return [
        RunRow(folder, None if (problem := folder.problem) else folder.record(), folder.status(), problem)
        for folder in runs
    ]


def corpus_titles(data_dir: Path) -> dict[str, str]:
    """Return the title of every text by its name; a list calls this once for all its rows."""
    return {corpus.name: corpus.title for corpus in catalogue(data_dir)}


def validation_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Return a run's measured rows, read again only when there are new ones. Shared: never change them."""
    return _validation(folder.path, file_version(folder.metrics_path))


@lru_cache(maxsize=32)
def _validation(path: Path, _changed: tuple) -> list[dict[str, Any]]:
    return [row for row in curve_rows(RunFolder(path)) if row.get("val_loss") is not None]


def run_bytes_per_token(folder: RunFolder) -> float | None:
    """Return the bytes of text per token in a run's validation loss; None if that was not measured."""
    said = [row for row in validation_of(folder) if row.get("val_bits_per_byte") and row["val_loss"]]
    if said:
        return said[-1]["val_loss"] / BIT / said[-1]["val_bits_per_byte"]
    *_unused, single = _tokens_of(folder.tokenizer_path, file_version(folder.tokenizer_path))
    return 1.0 if single else None  # a run of an earlier version with one byte per token


def validation_in_unit(folder: RunFolder, unit: str) -> list[dict[str, Any]]:
    """Return a run's measured rows with `val_loss` in one of the `UNITS` of a loss."""
    size = run_bytes_per_token(folder) or 1.0
    return [row | {"val_loss": in_unit(row["val_loss"], unit, size)} for row in validation_of(folder)]


def losses_compare(rows: Sequence[RunRow]) -> bool:
    """Return whether the runs' losses per token are comparable: all have characters, bytes, or the same tokens."""
    files = [row.folder.tokenizer_path for row in rows]
    return len({_tokens_of(file, file_version(file))[0] for file in files}) < 2


@lru_cache(maxsize=64)
def _tokens_of(path: Path, _changed: tuple) -> tuple[Hashable, bool]:
    """Return a key that is equal for tokenizers with comparable losses, and whether each token is one byte."""
    try:
        tokenizer = load_tokenizer(path)
    except ExplorerError:  # not made yet, or damaged
        return "", False
    same = tokenizer.name if tokenizer.name in ("char", "byte") else hash(tokenizer.token_bytes)
    return same, all(len(data) == 1 for data in tokenizer.token_bytes)


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


def trouble_in_words(row: RunRow, *, short: bool = False) -> str:
    """Return what went wrong in a run's training, in the dashboard's sentence or a few words; "" if nothing did."""
    files = (row.folder.metrics_path, row.folder.status_path, row.folder.events_path)
    progress, words = _judged(row.folder.path, *map(file_version, files)), _TROUBLE if short else SENTENCES
    return _(words[progress.kind], **progress.numbers) if progress and progress.trouble else ""


def config_of(folder: RunFolder) -> RunConfig:
    """Return a run's current settings; its first ones if its changes cannot be read, which its page reports."""
    files = (folder.record_path, folder.events_path, folder.commands)
    return _config(folder.path, *map(file_version, files))


@lru_cache(maxsize=512)
def _config(path: Path, *_changed: tuple) -> RunConfig:
    folder = RunFolder(path)
    try:
        return config_now(folder)
    except RunError:
        return folder.record().config


@lru_cache(maxsize=512)
def _judged(path: Path, *_changed: tuple) -> ProgressSummary | None:
    folder = RunFolder(path)
    return progress_of(folder, rows_to_judge(folder))


def differing_settings(
    configs: list[RunConfig], listed_anyway: Container[str] = ("train.steps", "data.corpus", "model.kind")
) -> dict[str, list[Any]]:
    """Return the settings in which runs differ, by path, except `listed_anyway`; None if one has no effect."""
    columns = {}
    used = [used_settings(config) for config in configs]
    for path in SETTINGS:
        values = [value_at(config, path) if path in has else None for config, has in zip(configs, used, strict=True)]
        if path not in listed_anyway and len({*values} - {None}) > 1:
            columns[path] = values
    return columns


def draw_state(row: RunRow) -> None:
    """Draw the state as a colored word."""
    if row.problem:
        st.badge(_("damaged"), color="red")
    else:
        ruined = row.status.state == "finished" and trouble_in_words(row)
        st.badge(state_in_words(row.status), color="orange" if ruined else state_color(row.status.state))


def waiting_in_words(row: RunRow) -> str:
    """Return a sentence with the run's place in the queue; "" if it does not wait."""
    return place_in_queue(row.folder) if row.status.state == "queued" else ""


def colors_of(run_ids: Iterable[str], data_dir: Path, palette: Palette) -> dict[str, str]:
    """Return a permanent color for every run of the data folder, by its id; a deleted run's color becomes free."""
    path = data_dir / "run_colors.json"
    try:
        stored = {str(run_id): int(place) for run_id, place in parse_json(path.read_bytes()).items()}
    except (OSError, ValueError, AttributeError, TypeError):
        stored = {}
    places = run_places(run_ids, stored)
    if places != stored:
        try:
            write_json(path, places, durable=False)
        except OSError as error:  # such as a full disk: these colors are valid, but may differ next time
            log.warning("the colors of the runs cannot be saved: %s", error)
    return {run_id: palette.runs[place] for run_id, place in places.items()}


def run_places(run_ids: Iterable[str], stored: Mapping[str, int] | None = None) -> dict[str, int]:
    """Return each run's index among the colors for runs (`Palette.runs`), the `stored` one if there is one."""
    # A new run takes the index that follows from its id, or if that is taken, the next of the least used; so as
    # many runs as there are colors all differ.
    ids, count = sorted(set(run_ids)), len(LIGHT.runs)
    places = {run_id: stored[run_id] % count for run_id in ids if run_id in (stored or {})}
    for run_id in ids:
        if run_id not in places:
            crowds = Counter(places.values())
            first = crc32(run_id.encode())
            order = [(first + further) % count for further in range(count)]
            places[run_id] = min(order, key=lambda place: crowds[place])
    return places


def parent_curve(data_dir: Path, record: RunRecord) -> ParentCurve | None:
    """Return the history of a run that started from another run's weights; None for a run from scratch."""
    chain = list(ancestors(data_dir, record)) if record.parent else []
    children = [record, *(ancestor[1] for ancestor in chain if ancestor)]
    earlier = None
    for ancestor, child in reversed(list(zip(chain, children, strict=False))):
        earlier = _curve_with(ancestor and ancestor[0], child.parent_step, earlier)
    return earlier


def _curve_with(parent: RunFolder | None, step: int, earlier: ParentCurve | None) -> ParentCurve:
    if parent is None:
        return ParentCurve(step, 0.0, "", step, ())
    measured = validation_of(parent)
    until = [row["seconds"] for row in measured if row["step"] <= step and row.get("seconds") is not None]
    begun, seconds, rows = 0, until[-1] if until else 0.0, []
    if earlier:
        begun, seconds = earlier.step, seconds + earlier.seconds
        rows = [row for row in earlier.rows if row["step"] <= begun]
    rows += [{"step": begun + row["step"], "val_loss": row["val_loss"]} for row in measured]
    return ParentCurve(begun + step, seconds, parent.name, step, rows)


def fork_verdict(data_dir: Path, folder: RunFolder, record: RunRecord) -> str:
    """Return whether a fork paid off: its losses beside its parent's last; "" if they are not comparable."""
    if record.parent is None:
        return ""
    own = [row["val_loss"] for row in validation_of(folder)]
    try:
        folder_of_parent = open_run(data_dir, record.parent)
        same_text = record.same_text(folder_of_parent.record())
    except ExplorerError:
        return ""
    parent = [row["val_loss"] for row in validation_of(folder_of_parent)]
    if len(own) < 2 or not parent or not same_text:
        return ""
    less = parent[-1] - own[-1]
    outcome = N_("{difference} lower") if less > 0 else N_("{difference} higher")
    outcome = _("about the same") if abs(less) < _TIED else _(outcome, difference=f"{abs(less):.3f}")
    losses = {"first": f"{own[0]:.3f}", "last": f"{own[-1]:.3f}", "parent": f"{parent[-1]:.3f}", "outcome": outcome}
    return _("Validation loss went from {first} to {last}; its parent ended at {parent}: {outcome}.", **losses)
