"""What it takes to train a run again, read from its folder, and from its parent's where it is a fork."""

from pathlib import Path

from core.errors import RunError
from core.interop.recipes import Recipe, Stage
from core.runs.folder import RunFolder, open_run
from core.text.corpora import load_corpus, text_hash

_DECIDE = ("python", "torch", "numpy", "cuda")  # the last digits
_MOST_MEASURED = 24  # losses in a recipe: it is to stay short
_MOST_STAGES = 32  # generations; a record that somebody has edited may name itself


def recipe_of(run: RunFolder, home: Path) -> Recipe:
    """The recipe of a run, as far as it was trained; of one that has not ended, to the end it is to reach.

    A fork's begins with its parent's up to the step whose weights it took, and so on back to the first.

    Raises RunError where the weights it began with cannot be made again: they were imported, or their run is deleted.
    """
    record = run.record()
    made_with = {"machine": record.machine} if record.machine else {}
    made_with |= {name: record.versions[name] for name in _DECIDE if name in record.versions}
    return Recipe(run.name, tuple(_stage(ancestor, home, until) for ancestor, until in lineage(run, home)), made_with)


def lineage(run: RunFolder, home: Path) -> list[tuple[RunFolder, int]]:
    """The runs to train one after the other, each with the step to end at; raises RunError as `recipe_of`."""
    status = run.status()
    until = status.step if status.ended and status.step else run.config_now().train.steps
    found = [(run, until)]
    while (record := found[0][0].record()).parent_step is not None:
        try:
            found.insert(0, (open_run(home, record.parent or ""), record.parent_step))
        except RunError:
            raise RunError(
                "It began with the weights of a run that has been deleted, so nothing but its own folder has them: "
                "download that."
            ) from None
        if len(found) > _MOST_STAGES:
            raise RunError(f"It is a fork of a fork, more than {_MOST_STAGES} times over.")
    if record.origin:
        raise RunError("Its first weights were imported, so they cannot be trained again from here.")
    return found


def _stage(run: RunFolder, home: Path, until: int) -> Stage:
    record = run.record()
    return Stage(
        record.config,
        record.corpus_hash or text_hash(load_corpus(record.config.data.corpus, home)),
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
