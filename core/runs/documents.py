"""Documents made from a run's folder: a sentence on its progress, a script, a notebook, a report."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from core.atomic_io import parse_row, write_file
from core.config import SETTINGS, RunConfig
from core.errors import ExplorerError, RunError
from core.formatting import SCHEDULE_RESTARTED, duration_in_words, format_setting
from core.import_export.notebooks import Recipe, Stage, recipe_text
from core.import_export.report import report_html
from core.import_export.report_text import Ancestor, RunFacts
from core.live_settings import RESTART, with_change
from core.runs.ancestry import ancestors
from core.runs.commands import config_at, config_now, setting_changes
from core.runs.folder import RunFolder, open_run
from core.runs.records import SCORES, RunRecord
from core.runs.weights import steps_with_weights
from core.settings import value_at
from core.text.corpora import catalogue, load_hash
from core.text.token_display import visible
from core.text.tokenizers import load_tokenizer, opening_ids
from core.training.pace import SLOWED
from core.training.progress_summary import ProgressSummary, summarize_progress
from core.training.timed_recipe import expected_loss
from core.training.work import exact_parameters

_DECIDE = ("python", "torch", "numpy", "cuda")  # their versions decide the last digits
_MAX_LOSSES = 24  # in a recipe, to keep it short


def rows_to_judge(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the rows of metrics that `progress_of` needs; reads a long file in a few milliseconds."""
    try:
        lines = folder.metrics_path.read_bytes().split(b"\n")
    except OSError:
        return []
    # Evaluations, non-finite losses (null) with the row before, and the last two lines.
    judged = [line for line, after in pairwise(lines[:-1]) if b'"val_loss"' in line or b"null" in line + after]
    return [row for line in (*judged, *lines[-2:]) if (row := parse_row(line)) is not None]


def progress_of(folder: RunFolder, rows: Sequence[Mapping[str, Any]]) -> ProgressSummary | None:
    """Summarize a run's progress from its rows of metrics; returns None if nothing was measured yet."""
    if not rows:
        return None
    status = folder.status()
    return summarize_progress(
        rows,
        setting_changes(folder),
        steps_with_weights(folder),
        ended=status.ended,
        not_finite=status.problem == "not_finite",
        uniform=(folder.read_baselines() or {}).get("uniform"),
    )


def outcome_in_words(folder: RunFolder) -> Iterator[str]:
    """Return a run's progress; of a finished one also the time that other programs took, and its expected loss."""
    if summary := progress_of(folder, folder.rows("metrics")):
        yield summary.sentence
    record, status = folder.record(), folder.status()
    if status.state != "finished":
        return
    if status.slowdown >= SLOWED:
        share, time = f"{status.waited / status.seconds:.0%}", duration_in_words(status.seconds - status.waited)
        yield f"Other programs took {share} of this time: about {time} without them."
    if not record.parent and (expected := expected_loss(record.config)) and status.val_loss:
        yield f"The expected loss was {expected:.2f}; the difference is {status.val_loss - expected:+.2f}."


def write_document(run: RunFolder, kind: str, path: Path, data_dir: Path, force: bool = False) -> None:
    """Write a run's script, notebook or report to a file; raises ExplorerError if that fails."""
    write_file(path, DOCUMENTS[kind](run, data_dir).encode(), force)


def why_no_document(run: RunFolder, kind: str, data_dir: Path) -> str:
    """Return a sentence on why a run has no such document; "" if it has one."""
    try:
        if kind != "report":
            lineage(run, data_dir)
    except ExplorerError as error:
        return str(error)
    return ""


def runs_as_parquet(runs: Sequence[RunFolder]) -> bytes:
    """Return a parquet table with a row for each run: identity, state, losses, and every setting by its path.

    Damaged runs are left out; raises RunError if no run remains.
    """
    import pandas as pd  # slow to import (a second), and not needed for the other documents

    rows: list[dict[str, Any]] = []
    for run in runs:
        try:
            record, status, config = run.record(), run.status(), config_now(run)
        except RunError:
            continue
        fields = record.model_dump(include={"id", "name", "created", "parent", "parent_step", "corpus_hash", "machine"})
        versions = {f"versions.{name}": version for name, version in record.versions.items()}
        measured = status.model_dump(include={"state", "step", "seconds", "tokens_per_second", *SCORES})
        settings = {path: value_at(config, path) for path in SETTINGS}
        rows.append(fields | {"member": run.member} | measured | versions | settings)
    if not rows:
        raise RunError("There are no runs yet. Start one: python -m core train")
    file = io.BytesIO()
    pd.DataFrame(rows).to_parquet(file, index=False)
    return file.getvalue()


def recipe_of(run: RunFolder, data_dir: Path) -> Recipe:
    """Return the recipe of a run up to its last step, or up to its planned end if it has not ended.

    A fork's recipe starts with its first ancestor's, or with the fork's own first weights if an ancestor was imported
    or deleted. Raises RunError for an imported model, whose training is unknown.
    """
    record, runs = run.record(), lineage(run, data_dir)
    made_with = {"machine": record.machine} if record.machine else {}
    made_with |= {name: record.versions[name] for name in _DECIDE if name in record.versions}
    stages = tuple(_stage(ancestor, data_dir, until) for ancestor, until in runs)
    return Recipe(run.name, stages, made_with, has_start=runs[0][0].record().parent_step is not None)


def lineage(run: RunFolder, data_dir: Path) -> list[tuple[RunFolder, int]]:
    """Return the runs to train one after another, each with its last step; raises RunError like `recipe_of`."""
    status, record = run.status(), run.record()
    if record.origin:
        raise RunError("It was imported, so its training cannot be repeated here.")
    last = (run, status.step if status.ended and status.step else config_now(run).train.steps)
    earlier: list[tuple[RunFolder, int]] = []
    child = record
    for ancestor in ancestors(data_dir, record):
        # The recipe can start only from the run's own first weights: they are in its folder.
        if ancestor is None or ancestor[1].origin:
            return [last]
        assert child.parent_step is not None, "else it had no ancestors"
        earlier.insert(0, (ancestor[0], child.parent_step))
        child = ancestor[1]
    return [*earlier, last]


def _stage(run: RunFolder, data_dir: Path, until: int) -> Stage:
    record = run.record()
    measured = {row["step"]: row["val_loss"] for row in run.rows("metrics") if row.get("val_loss")}
    return Stage(
        record.config,
        record.corpus_hash or load_hash(record.config.data.corpus, data_dir),
        tuple((change.step, change.setting, change.value) for change in setting_changes(run) if change.step < until),
        until,
        _thinned({step: loss for step, loss in measured.items() if step <= until}),
        record.precision or "float32",
        record.threads or 1,
    )


def _thinned(losses: dict[int, float]) -> dict[int, float]:
    stride = -(-len(losses) // _MAX_LOSSES) or 1
    return {step: losses[step] for step in sorted(sorted(losses)[::-stride])}


def run_facts(run: RunFolder, data_dir: Path) -> RunFacts:
    """Return all facts for a report; facts that a run lacks are empty."""
    record, status, probe = run.record(), run.status(), run.read_probe()
    config, rows = record.config, run.rows("metrics")
    planned = config_now(run).train.steps  # an extended run has more steps than its record says
    progress = progress_of(run, rows)
    try:
        tokenizer = load_tokenizer(run.tokenizer_path)
        vocabulary = tuple(tokenizer.tokens)
        opening = "".join(visible(vocabulary[id]) for id in opening_ids(tokenizer))
    except ExplorerError:
        vocabulary, opening = (), ""
    corpora = {corpus.name: corpus for corpus in catalogue(data_dir)}
    table = None
    if probe and config.model.kind == "bigram" and len(probe.embedding) == len(vocabulary):
        table = torch.from_numpy(probe.embedding).double().softmax(dim=1).numpy()
    return RunFacts(
        **{name: getattr(record, name) for name in ("name", "id", "created", "versions")},
        config=config.replace({"train.steps": planned}),
        origin=record.origin or "",
        corpus_hash=record.corpus_hash or "",
        precision=record.precision or "",
        hardware=record.hardware or "",
        **{name: getattr(status, name) for name in ("state", "step", "seconds", "reason")},
        progress=progress.sentence if progress else "",
        corpus=corpora.get(config.data.corpus),
        vocabulary=vocabulary,
        opening=opening,
        parameters=exact_parameters(config.model, len(vocabulary)) if vocabulary else 0,
        rows=rows,
        baselines=run.read_baselines(),
        samples=run.rows("samples"),
        setting_changes=_setting_changes(run, config),
        attention=probe.attention if probe and probe.attention.size else None,
        attention_step=probe.step if probe else 0,
        tokens=probe.tokens if probe else [],
        table=table,
        parent=_parent(record, data_dir),
        threads=record.threads or 1,
        titles={name: corpus.title for name, corpus in corpora.items()},
    )


def _parent(record: RunRecord, data_dir: Path) -> Ancestor | None:
    if record.parent is None:
        return None
    try:
        parent = open_run(data_dir, record.parent)
        theirs, step = parent.record(), record.parent_step
        config = theirs.config if step is None else config_at(parent, step)
    except ExplorerError:
        return None
    val_loss, rows = parent.last_scores()["val_loss"], parent.rows("metrics")
    return Ancestor(theirs.name, config, step, val_loss, record.same_text(theirs), rows)


def _setting_changes(run: RunFolder, config: RunConfig) -> list[tuple[int, str]]:
    changes = []
    for change in setting_changes(run):
        before, config = config, with_change(config, change.setting, change.value)
        if change.setting == RESTART:
            changes.append((change.step, SCHEDULE_RESTARTED))
            continue
        values = " → ".join(format_setting(value_at(each, change.setting), change.setting) for each in (before, config))
        changes.append((change.step, f"{SETTINGS[change.setting].label.lower()} {values}"))
    return changes


DOCUMENTS: dict[str, Callable[[RunFolder, Path], str]] = {
    "script": lambda run, data_dir: recipe_text(recipe_of(run, data_dir), as_notebook=False),
    "notebook": lambda run, data_dir: recipe_text(recipe_of(run, data_dir), as_notebook=True),
    "report": lambda run, data_dir: report_html(run_facts(run, data_dir)),
}
"""The function that writes each kind, from a run and the data folder with its text and parent; raises ExplorerError."""
