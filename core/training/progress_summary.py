"""Sums up in one sentence how training is going, judged by the validation curve and setting changes during the run."""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from core.live_settings import RATE, SettingChange

RISE = 0.03  # nats above the lowest loss that count as a rise, unless the curve fluctuates as much
JUMP = 0.3  # nats above the lowest loss at which a single evaluation counts
LEARNED = 0.05  # nats below the uniform guess that count as learning
FLAT = 0.01  # nats by which the loss may change on a plateau
FLAT_SHARE = 0.2  # shortest plateau, as a share of all steps
KNOWN = 0.95  # accuracy that counts as having learned the problems of a task
GAP = 0.5  # validation accuracy below which a model that knows the training problems has memorized them
_OVERFITTED = 0.3  # in overfitting, the training loss rises by at most this share of the validation loss's rise

_ROSE, _BACK = "Loss rose from {best} to {last}", "Go back to step {back}."
SENTENCES = {
    "early": "Too early to tell: the validation loss was measured only once.",
    "falling": "Still falling: validation loss {last}, {fall} lower than at step {since}.",
    "fell": "Validation loss fell from {first} to {last} and was still falling at the end.",
    "done": "Validation loss fell from {first} to {last}.",
    "unchanged": "Validation loss ended at {last}, about where it began ({first}).",
    "higher": "Validation loss {last} after {best} at step {best_step}: too few measurements to call it a rise.",
    "ended higher": "Validation loss ended at {last}, {rise} higher than at the beginning.",
    "flat": "Flat for the last {count} steps: validation loss {last}.",
    "recovering": "Falling again: {last} after {peak} at step {peak_step}. The lowest was {best} at step {best_step}.",
    "overfitting": "Overfitting since step {since}: validation loss rose from {best} to {last}, training loss "
    "went from {best_train} to {last_train}. Go back to step {back}.",
    "rose": f"{_ROSE} after step {{since}}. Go back to step {{back}} with a lower learning rate.",
    "rose after rate raised": f"{_ROSE} after the learning rate was raised at step {{changed}}. {_BACK}",
    "rose after rate lowered": f"{_ROSE} after the learning rate was lowered at step {{changed}}. {_BACK}",
    "rose after dropout": f"{_ROSE} after dropout was changed at step {{changed}}. {_BACK}",
    "rose after batch size": f"{_ROSE} after the batch size was changed at step {{changed}}. {_BACK}",
    "never fell": f"{_ROSE}: no measurement was below the first. Start again with a lower learning rate.",
    "not learning": "Not learning: validation loss {last} after {step} steps, {first} before. Raise the learning rate.",
    "memorized": "Memorized: {known} of training problems right from step {memorized} on, but only {accuracy} of "
    "validation problems. Longer training may generalize (grokking).",
    "grokked": "Grokking: {known} of training problems right at step {memorized}, of validation problems only at "
    "step {generalized}.",
    "not finite": "The loss is not a finite number after step {step}. Go back to step {back} with a lower learning "
    "rate.",
    "not finite at once": "The loss is not a finite number after step {step}. Start again with a lower learning rate.",
}
_FINE = ("early", "falling", "fell", "done", "unchanged", "higher", "ended higher", "flat", "memorized", "grokked")


class ProgressSummary(NamedTuple):
    """One sentence on a run."""

    kind: str  # one of SENTENCES
    numbers: dict[str, str]  # formatted values for the sentence's placeholders
    back: int | None = None  # the step to go back to, if the sentence names one
    risen_after: int | None = None  # the last step before a rise
    milestones: Mapping[str, int] = MappingProxyType({})  # the steps at which a task was "memorized" and "generalized"

    @property
    def trouble(self) -> bool:
        """Return whether the user should do something."""
        return self.kind not in _FINE

    @property
    def sentence(self) -> str:
        return SENTENCES[self.kind].format(**self.numbers)


class _Curve(NamedTuple):
    steps: np.ndarray  # (N,) int
    val: np.ndarray  # (N,) nats/token
    train: np.ndarray  # (N,) the same on training text; NaN if not measured


def summarize_progress(
    rows: Sequence[Mapping[str, Any]],  # of metrics.jsonl, in order; None is a loss that was not finite
    changes: Sequence[SettingChange] = (),  # in order
    saved: Sequence[int] = (),  # steps with saved weights; if none, any measured step counts as one
    *,
    ended: bool = False,
    not_finite: bool = False,  # it ended because the step after the last row was not finite
    uniform: float | None = None,  # the loss of the uniform guess, if it is known
) -> ProgressSummary:
    """Judge how training is going."""
    finite = [row for row in rows if "val_loss" in row and not _is_not_finite(row)]
    curve = _Curve(
        np.array([row["step"] for row in finite], dtype=int),
        np.array([row["val_loss"] for row in finite], dtype=float),
        np.array([row.get("train_loss", math.nan) for row in finite], dtype=float),
    )
    diverged = next((at for at, row in enumerate(rows) if _is_not_finite(row)), len(rows) if not_finite else None)
    if diverged is not None:
        step = rows[diverged - 1]["step"] if diverged else 0
        count = int((curve.steps <= step).sum())
        if back := _step_to_go_back_to(curve, step, saved) if count else 0:
            return ProgressSummary("not finite", {"step": f"{step:,}", "back": f"{back:,}"}, back, step)
        return ProgressSummary("not finite at once", {"step": f"{step:,}"}, risen_after=step)
    if len(curve.val) < 2:
        return ProgressSummary("early", {})
    milestones = _milestones(finite)
    summary = _of_accuracy(finite, milestones) or _risen(curve, changes, saved, ended)
    return (summary or _going_down(curve, ended, uniform))._replace(milestones=milestones)


def _milestones(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the step at which a task was "memorized", if well before generalizing, and "generalized", if reached."""
    milestones = {}
    measured = [row for row in rows if row.get("train_accuracy") is not None and row.get("val_accuracy") is not None]
    memorized = next((row for row in measured if row["train_accuracy"] >= KNOWN), None)
    if memorized and memorized["val_accuracy"] < GAP:
        milestones["memorized"] = memorized["step"]
    if generalized := next((row for row in measured if row["val_accuracy"] >= KNOWN), None):
        milestones["generalized"] = generalized["step"]
    return milestones


def _of_accuracy(rows: Sequence[Mapping[str, Any]], milestones: Mapping[str, int]) -> ProgressSummary | None:
    """Judge a memorized task by its accuracy: the validation loss alone would look like overfitting."""
    accuracy = rows[-1].get("val_accuracy")
    if "memorized" not in milestones or accuracy is None:
        return None
    numbers = {"known": f"{KNOWN:.0%}"} | {name: f"{step:,}" for name, step in milestones.items()}
    if "generalized" in milestones:
        return ProgressSummary("grokked", numbers) if accuracy > GAP else None
    return ProgressSummary("memorized", numbers | {"accuracy": f"{accuracy:.0%}"}) if accuracy < GAP else None


def _is_not_finite(row: Mapping[str, Any]) -> bool:
    losses = [row[name] for name in ("loss", "train_loss", "val_loss") if name in row]
    return any(loss is None or not math.isfinite(loss) for loss in losses)


def _risen(
    curve: _Curve, changes: Sequence[SettingChange], saved: Sequence[int], ended: bool
) -> ProgressSummary | None:
    steps, val, train = curve
    best, last = int(val.argmin()), len(val) - 1
    lowest_of_late = val[-2:].min() if last - best >= 2 else val[best]  # a single high measurement may be chance
    noticed = max(RISE, 2 * _jitter(val[: best + 1]))
    if val[last] - val[best] < JUMP and lowest_of_late - val[best] < noticed:
        return None
    good = int((val <= val[best] + _noise(val[: best + 1])).nonzero()[0].max())  # the last one as low, up to noise
    change, kind = _blamed(curve, best, good, changes)
    until = change.step if change else int(steps[good])
    back = _step_to_go_back_to(curve, until, saved)
    numbers = {
        "best": f"{val[best]:.2f}",
        "best_step": f"{steps[best]:,}",
        "since": f"{steps[good]:,}",
        "last": f"{val[last]:.2f}",
        "back": f"{back:,}",
    }
    peak = best + int(val[best:].argmax())
    if not ended and last - peak >= 2 and val[peak] - val[last] > 0.2 * (val[peak] - val[best]):
        numbers |= {"peak": f"{val[peak]:.2f}", "peak_step": f"{steps[peak]:,}"}
        return ProgressSummary("recovering", numbers, risen_after=until)
    if train[last] - train[best] <= _OVERFITTED * (val[last] - val[best]):
        trained = {"best_train": f"{train[best]:.2f}", "last_train": f"{train[last]:.2f}"}
        return ProgressSummary("overfitting", numbers | trained, back, until)
    if change:
        return ProgressSummary(kind, numbers | {"changed": f"{change.step + 1:,}"}, back, until)
    if best == 0:
        return ProgressSummary("never fell", numbers, risen_after=until)
    return ProgressSummary("rose", numbers, back, until)


def _blamed(curve: _Curve, best: int, good: int, changes: Sequence[SettingChange]) -> tuple[SettingChange | None, str]:
    steps, val, _ = curve
    high = val[good + 1 :] > val[best] + 0.2 * (val[best:].max() - val[best])
    rose_by = steps[good + 1 + int(high.argmax())]
    causes = {"model.dropout": "rose after dropout", "train.batch_size": "rose after batch size"}
    for change in reversed(changes):
        if steps[best] <= change.step < rose_by:
            if change.setting == RATE:
                return change, f"rose after rate {'raised' if change.value > change.before else 'lowered'}"
            if change.setting in causes:
                return change, causes[change.setting]
    return None, ""


def _going_down(curve: _Curve, ended: bool, uniform: float | None) -> ProgressSummary:
    steps, val, _ = curve
    numbers = {"first": f"{val[0]:.2f}", "last": f"{val[-1]:.2f}", "step": f"{steps[-1]:,}"}
    quarter = int(np.searchsorted(steps, steps[-1] - (steps[-1] - steps[0]) / 4, side="right")) - 1
    still = val[quarter] - val[-1] > FLAT
    if uniform is not None and val[-1] > uniform - LEARNED and len(val) > 3 and not still:
        return ProgressSummary("not learning", numbers)
    moved = np.abs(val - val[-1]) > FLAT
    flat_from = int(moved.nonzero()[0].max()) + 1 if moved.any() else 0
    stretch = int(steps[-1] - steps[flat_from])
    if len(val) - flat_from >= 3 and stretch >= FLAT_SHARE * (steps[-1] - steps[0]):
        return ProgressSummary("flat", numbers | {"count": f"{stretch:,}"})
    rise = val[-1] - val[0]
    if ended and rise >= -FLAT:  # as in a fork, whose first loss is its parent's last
        return ProgressSummary("ended higher" if rise > RISE else "unchanged", numbers | {"rise": f"{rise:.2f}"})
    if ended:
        return ProgressSummary("fell" if still else "done", numbers)
    higher = (val > val[-1] + FLAT).nonzero()[0]
    since = quarter if still else int(higher.max()) if len(higher) else 0
    fall, best = val[since] - val[-1], int(val.argmin())
    if 0 <= fall < 0.005:  # invisible with two decimals
        return ProgressSummary("flat", numbers | {"count": f"{steps[-1] - steps[since]:,}"})
    if fall < 0:
        return ProgressSummary("higher", numbers | {"best": f"{val[best]:.2f}", "best_step": f"{steps[best]:,}"})
    return ProgressSummary("falling", numbers | {"fall": f"{fall:.2f}", "since": f"{steps[since]:,}"})


def _jitter(val: np.ndarray) -> float:
    """Return how much a falling curve fluctuates: the median of its rises; 0 if it only falls."""
    up = np.diff(val)
    up = up[up > 0]
    return float(np.median(up)) if len(up) else 0.0


def _noise(val: np.ndarray) -> float:
    """Return by how many nats two losses of a falling curve may differ although the models are equally good."""
    return min(RISE, max(FLAT, _jitter(val)))


def _step_to_go_back_to(curve: _Curve, until: int, saved: Sequence[int]) -> int:
    """Return the latest saved step before a rise at which the loss was as low as the lowest, up to noise.

    If there is none, return the saved step with the lowest loss; if all were saved after the rise, the first one.
    """
    is_before = curve.steps <= until
    steps, val = curve.steps[is_before], curve.val[is_before]
    before = [step for step in sorted(saved or steps.tolist()) if step <= until]
    if not before:
        return min(saved)
    losses = np.interp(before, steps, val)
    enough = max(val.min() + _noise(val[: int(val.argmin()) + 1]), losses.min())
    return before[int((losses <= enough).nonzero()[0].max())]
