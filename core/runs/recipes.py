"""What it takes to train a run again, read from its folder, and from its parent's where it is a fork."""

from pathlib import Path

from core.errors import RunError
from core.import_export.reproduce import Recipe, Stage
from core.runs.folder import RunFolder, open_run
from core.text.corpora import load_corpus, text_hash

_DECIDE = ("python", "torch", "numpy", "cuda")  # the last digits
_MOST_MEASURED = 24  # losses in a recipe: it is to stay short
_MOST_STAGES = 32  # generations; a record that somebody has edited may name itself


def recipe_of(run: RunFolder, data_dir: Path) -> Recipe:
    """The recipe of a run, as far as it was trained; of one that has not ended, to the end it is to reach.

    A fork's begins with its parent's up to the step whose weights it took, and so on back to the first. Where an
    ancestor was imported or deleted, the recipe begins with the weights that its fork kept of it.

    Raises RunError for an imported model: nobody here has trained it.
    """
    record, ancestors = run.record(), lineage(run, data_dir)
    made_with = {"machine": record.machine} if record.machine else {}
    made_with |= {name: record.versions[name] for name in _DECIDE if name in record.versions}
    stages = tuple(_stage(ancestor, data_dir, until) for ancestor, until in ancestors)
    return Recipe(run.name, stages, made_with, given=ancestors[0][0].record().parent_step is not None)


def lineage(run: RunFolder, data_dir: Path) -> list[tuple[RunFolder, int]]:
    """The runs to train one after the other, each with the step to end at; raises RunError as `recipe_of`."""
    status = run.status()
    if run.record().origin:
        raise RunError("It was imported, so nobody here knows how to train it again.")
    found = [(run, status.step if status.ended and status.step else run.config_now().train.steps)]
    while (record := found[0][0].record()).parent_step is not None:
        try:
            parent = open_run(data_dir, record.parent or "")
            imported = parent.record().origin
        except RunError:
            break
        # Weights cannot be handed on beside more than the one run whose folder has them.
        if imported or len(found) == _MOST_STAGES:
            break
        found.insert(0, (parent, record.parent_step))
    return found if len(found) == 1 or found[0][0].record().parent_step is None else found[-1:]


def _stage(run: RunFolder, data_dir: Path, until: int) -> Stage:
    record = run.record()
    return Stage(
        record.config,
        record.corpus_hash or text_hash(load_corpus(record.config.data.corpus, data_dir)),
        tuple(tuple(turn) for turn in run.turns() if turn.step < until),
        until,
        _thinned(
            {row["step"]: row["val_loss"] for row in run.read_metrics() if row.get("val_loss") and row["step"] <= until}
        ),
        record.precision or "float32",
        record.threads or 1,
    )


def _thinned(losses: dict[int, float]) -> dict[int, float]:
    """At most so many of them, evenly, the last one included."""
    steps = sorted(losses)
    stride = -(-len(steps) // _MOST_MEASURED) or 1
    return {step: losses[step] for step in sorted(steps[::-1][::stride])}
