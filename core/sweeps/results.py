"""The results of a sweep: each point's loss over its seeds, the best point, and the importance of each setting."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from core.errors import ExplorerError, RunError
from core.runs.folder import RunFolder, open_run
from core.sweeps.folder import SweepFolder, SweepRecord
from core.sweeps.space import Dimension, Values, around

MIN_FOR_IMPORTANCE = 6  # points; with fewer, a share of variance means nothing
_FOLLOWING = ("train.warmup_steps", "train.eval_interval")  # derived from the number of steps in a scaling study
# States of runs; a point's state is the first of these that one of its runs has.
_ORDER = ("running", "starting", "paused", "queued", "finished", "pruned", "diverged", "stopped", "failed", "deleted")


class RunOutcome(NamedTuple):
    """The result of one run of a sweep so far."""

    id: str
    state: str  # that of any run; or `pruned`, `diverged`, `deleted`
    step: int
    loss: float | None  # the last validation loss, nats/token
    seconds: float  # of training


class PointResult(NamedTuple):
    """The results of one point with all its seeds."""

    number: int  # from 1
    values: Values
    runs: list[RunOutcome]
    problem: str  # why none of its runs could start
    following: tuple[str, ...] = ()  # settings that are derived from others

    @property
    def shown(self) -> Values:
        """The chosen values, without those derived from them."""
        return {path: value for path, value in self.values.items() if path not in self.following}

    @property
    def losses(self) -> list[float]:
        """The validation losses of its finished runs, nats/token."""
        return [run.loss for run in self.runs if run.state == "finished" and run.loss is not None]

    @property
    def loss(self) -> float | None:
        """The mean of `losses`; None before a run has finished."""
        return float(np.mean(self.losses)) if self.losses else None

    @property
    def spread(self) -> float | None:
        """The standard deviation over seeds; None for fewer than two finished runs."""
        return float(np.std(self.losses, ddof=1)) if len(self.losses) > 1 else None

    @property
    def state(self) -> str:
        """The state of the point: the first state in _ORDER that one of its runs has."""
        states = [run.state for run in self.runs]
        if self.problem:
            return "refused"
        return next((state for state in _ORDER if state in states), "waiting")


class Importance(NamedTuple):
    """The share of the loss's variance that one setting alone explains."""

    path: str
    share: float  # 0 to 1, the adjusted R2 of a parabola (numbers) or of group means (choices)


def outcome_of(sweep: SweepFolder, record: SweepRecord, id: str) -> RunOutcome:
    """Return the result of a run so far."""
    try:
        status = open_run(sweep.data_dir, id).status()
    except RunError:
        return RunOutcome(id, "deleted", 0, None, 0.0)
    state = status.state
    if id in record.pruned and state == "stopped":
        state = "pruned"
    elif status.problem == "not_finite":
        state = "diverged"
    return RunOutcome(id, state, status.step, status.val_loss, status.seconds)


def sweep_results(sweep: SweepFolder, record: SweepRecord) -> list[PointResult]:
    """Return the results of all points so far, in the order in which they started."""
    following = _FOLLOWING if record.budget else ()
    return [
        PointResult(
            number, dict(point.values), [outcome_of(sweep, record, id) for id in point.runs], point.problem, following
        )
        for number, point in enumerate(record.points, 1)
    ]


def best_point(results: Sequence[PointResult]) -> PointResult | None:
    """Return the point with the lowest mean loss; None before a run has finished."""
    return min((point for point in results if point.losses), key=lambda point: point.loss or 0.0, default=None)


def best_run(point: PointResult) -> str:
    """Return the id of the point's run with the lowest loss; the point must have a finished run."""
    done = [run for run in point.runs if run.state == "finished" and run.loss is not None]
    return min(done, key=lambda run: run.loss or 0.0).id


def narrowed(record: SweepRecord, results: Sequence[PointResult]) -> list[Dimension]:
    """Return the dimensions around the best point; raises RunError before a run has finished."""
    if (best := best_point(results)) is None:
        raise RunError(f"No run of the sweep {record.name!r} has finished, so there is no best one.")
    return [around(dimension, best.values[dimension.path]) for dimension in record.dimensions]


def importances(record: SweepRecord, results: Sequence[PointResult]) -> list[Importance]:
    """Return the importance of each setting, the largest first; empty for fewer than MIN_FOR_IMPORTANCE points."""
    done = [point for point in results if point.losses]
    losses = np.array([point.loss for point in done], dtype=np.float64)  # (N,)
    if len(done) < MIN_FOR_IMPORTANCE or not losses.std():
        return []
    shares = []
    for dimension in record.dimensions:
        values = [point.values[dimension.path] for point in done]
        if len({*values}) > 1:
            shares.append(Importance(dimension.path, _explained(_features(dimension, values), losses)))
    return sorted(shares, key=lambda each: -each.share)


def _features(dimension: Dimension, values: Sequence[Any]) -> np.ndarray:
    """Return a setting's features (N, K): its place and the square of that, or one column per choice except one."""
    choices = sorted({*values}, key=str)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values) and len(choices) > 2:
        places = np.array([_place(dimension, value) for value in values])
        return np.stack([places, places**2], axis=1)
    return np.array([[float(value == choice) for choice in choices[1:]] for value in values])


def _place(dimension: Dimension, value: float) -> float:
    return float(np.log(value)) if dimension.setting.in_factors and value > 0 else float(value)


def _explained(features: np.ndarray, losses: np.ndarray) -> float:
    """Return the adjusted R2, at least 0, of a least-squares fit of losses (N,) to features (N, K)."""
    count, width = features.shape
    if (freedom := count - width - 1) <= 0:
        return 0.0
    features = (features - features.mean(0)) / np.where(features.std(0) > 0, features.std(0), 1.0)
    design = np.column_stack([np.ones(count), features])
    fitted = design @ np.linalg.lstsq(design, losses, rcond=None)[0]
    unexplained = ((losses - fitted) ** 2).sum() / freedom
    return max(0.0, 1.0 - unexplained / losses.var(ddof=1))


def why_none_finished(results: Sequence[PointResult]) -> str:
    """Return a sentence on why no run finished, once all have ended; "" if one has finished."""
    if any(point.losses for point in results):
        return ""
    states = [run.state for point in results for run in point.runs]
    counts = ((states.count(state), state) for state in dict.fromkeys(states))
    ends = ", ".join(f"{count} {state}" for count, state in counts) or "none began"
    problem = next((point.problem for point in results if point.problem), "")
    advice = problem or "Widen the ranges, lower the learning rate, or switch pruning off, then extend the sweep."
    return f"No run of this sweep finished: {ends}. {advice}"


def curve_of(run: RunFolder) -> dict[int, float]:
    """Return the validation loss at each evaluated step of a run, nats/token."""
    try:
        rows = run.rows("metrics")
    except (ExplorerError, OSError):
        return {}
    return {row["step"]: row["val_loss"] for row in rows if row.get("val_loss") is not None}
