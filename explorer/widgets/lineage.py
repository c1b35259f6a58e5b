"""What lies before a fork's own first step: whose weights it began with, and how those had learned."""

from pathlib import Path

from core.errors import ExplorerError
from core.runs.ancestry import ancestors
from core.runs.folder import RunFolder, open_run
from core.runs.records import RunRecord
from explorer.charts.loss import ParentCurve
from explorer.i18n.language import _
from explorer.widgets.run_rows import validation_of

_TIED = 0.005  # nats a token: less is luck


def parent_curve(data_dir: Path, record: RunRecord) -> ParentCurve | None:
    """Return the past of a run that began with another one's weights; None for one from scratch."""
    chain = list(ancestors(data_dir, record)) if record.parent else []
    children = [record, *(ancestor[1] for ancestor in chain if ancestor)]
    earlier = None
    for ancestor, child in reversed(list(zip(chain, children, strict=False))):
        earlier = _curve_with(ancestor and ancestor[0], child.parent_step, earlier)
    return earlier


def _curve_with(parent: RunFolder | None, step: int, earlier: ParentCurve | None) -> ParentCurve:
    """Return the past of a run from a step of its parent, None if unknown, with the parent's own past."""
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


def verdict(data_dir: Path, folder: RunFolder, record: RunRecord) -> str:
    """Whether a fork was worth trying: its own losses, beside where its parent has got to. "" for any other run."""
    if record.parent is None:
        return ""
    own = [row["val_loss"] for row in validation_of(folder)]
    try:
        parent = [row["val_loss"] for row in validation_of(open_run(data_dir, record.parent))]
    except ExplorerError:
        return ""
    if len(own) < 2 or not parent:
        return ""
    less = parent[-1] - own[-1]
    if abs(less) < _TIED:
        outcome = _("about the same")
    elif less > 0:
        outcome = _("{difference} lower", difference=f"{less:.3f}")
    else:
        outcome = _("{difference} higher", difference=f"{-less:.3f}")
    return _(
        "Validation loss went from {first} to {last}; its parent ended at {parent}: {outcome}.",
        first=f"{own[0]:.3f}",
        last=f"{own[-1]:.3f}",
        parent=f"{parent[-1]:.3f}",
        outcome=outcome,
    )
