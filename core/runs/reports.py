"""What a report tells of a run, read off its folder, and its parent's."""

from pathlib import Path

import numpy as np

from core.config import RunConfig
from core.errors import ExplorerError
from core.formatting import SCHEDULE_RESTARTED, number
from core.import_export.report import Ancestor, Facts, report_html
from core.live_settings import RESTART, with_change
from core.runs.folder import RunFolder, open_run
from core.runs.records import RunRecord
from core.settings import fields_of, value_at
from core.text.corpora import catalogue, find_corpus
from core.text.token_display import visible
from core.text.tokenizers import load_tokenizer, opening_ids
from core.training.work import exact_parameters

_MOST_ROWS = 20_000  # of metrics, evenly: a curve has no room for more


def report_of(run: RunFolder, data_dir: Path) -> str:
    """A run's report as one page of HTML. Raises RunError where the run's record cannot be read."""
    return report_html(facts_of(run, data_dir))


def facts_of(run: RunFolder, data_dir: Path) -> Facts:
    """Everything that a report tells; what a run does not have is left empty."""
    record, status, probe = run.record(), run.status(), run.read_probe()
    config = record.config
    try:
        tokenizer = load_tokenizer(run.tokenizer_path)
        vocabulary = tuple(tokenizer.tokens)
        opening = "".join(visible(vocabulary[id]) for id in opening_ids(tokenizer))
    except ExplorerError:
        vocabulary, opening = (), ""
    try:
        corpus = find_corpus(config.data.corpus, data_dir)
    except ExplorerError:
        corpus = None
    bigram = config.model.kind == "bigram"
    return Facts(
        name=record.name,
        id=record.id,
        created=record.created,
        config=config,
        state=status.state,
        step=status.step,
        seconds=status.seconds,
        reason=status.reason,
        origin=record.origin or "",
        corpus=corpus,
        corpus_hash=record.corpus_hash or "",
        vocabulary=vocabulary,
        parameters=exact_parameters(config.model, len(vocabulary)) if vocabulary else 0,
        rows=_rows(run),
        baselines=run.read_baselines(),
        samples=run.read_samples(),
        opening=opening,
        turns=_turns(run, config),
        attention=probe.attention if probe and probe.attention.size else None,
        attention_step=probe.step if probe else 0,
        tokens=probe.tokens if probe else [],
        table=_shares(probe.embedding) if probe and bigram and len(probe.embedding) == len(vocabulary) else None,
        parent=_parent(record, data_dir),
        precision=record.precision or "",
        threads=record.threads or 1,
        hardware=record.hardware or "",
        versions=record.versions,
        titles={corpus.name: corpus.title for corpus in catalogue(data_dir)},
    )


def _parent(record: RunRecord, data_dir: Path) -> Ancestor | None:
    if record.parent is None:
        return None
    try:
        parent = open_run(data_dir, record.parent)
        theirs, step = parent.record(), record.parent_step
        config = theirs.config if step is None else parent.config_at(step)
    except ExplorerError:
        return None
    same_text = (theirs.corpus_hash or theirs.config.data.corpus) == (record.corpus_hash or record.config.data.corpus)
    return Ancestor(theirs.name, config, step, parent.last_losses()["val_loss"], same_text, _rows(parent))


def _rows(run: RunFolder) -> list[dict]:
    """Rows of metrics; of very many those measured, and of the others a few."""
    rows = run.read_metrics()
    stride = -(-len(rows) // _MOST_ROWS) or 1
    return rows if stride == 1 else [row for at, row in enumerate(rows) if at % stride == 0 or "val_loss" in row]


def _turns(run: RunFolder, config: RunConfig) -> list[tuple[int, str]]:
    """Every knob turned, in words, with the step it was turned at."""
    labels = {path: setting.label for path, setting in fields_of(RunConfig)}
    told = []
    for turn in run.turns():
        before, config = config, with_change(config, turn.knob, turn.value)
        if turn.knob == RESTART:
            told.append((turn.step, SCHEDULE_RESTARTED))
            continue
        values = " → ".join(number(value_at(settings, turn.knob)) for settings in (before, config))
        told.append((turn.step, f"{labels[turn.knob].lower()} {values}"))
    return told


def _shares(scores: np.ndarray) -> np.ndarray:
    """A bigram's scores (V, V) as the probabilities of what follows."""
    odds = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)
