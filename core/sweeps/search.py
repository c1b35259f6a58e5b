"""Choice of a sweep's next point, and of the runs to stop early: Optuna's TPE and median pruning.

Bergstra and others, "Algorithms for Hyper-Parameter Optimization" (2011); Akiba and others, "Optuna" (2019). Each call
builds the study from the runs on disk, so a killed process loses nothing.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import ConfigError
from core.runs.folder import RunFolder
from core.sweeps.folder import SweepFolder, SweepRecord
from core.sweeps.results import PointResult, curve_of
from core.sweeps.space import Dimension, MethodName, Values, draw_point, grid_points

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

Next = Callable[[SweepRecord, Sequence[PointResult], list[Values], np.random.Generator], Values]
_MAX_RANDOM = 10  # first points of TPE, drawn at random
_MIN_FINISHED = 4  # finished runs before any is pruned
_WARMUP = 0.25  # share of a run's steps before it may be pruned
_ASKS = 20  # tries to get a valid new point from TPE


def next_point(record: SweepRecord, results: Sequence[PointResult]) -> Values:
    """Return the values of the next point; raises ConfigError if no combination is valid."""
    before, rng = [point.values for point in results], np.random.default_rng([record.config.train.seed, len(results)])
    return _NEXT[record.method](record, results, before, rng)


def _next_of_grid(
    record: SweepRecord, results: Sequence[PointResult], before: list[Values], rng: np.random.Generator
) -> Values:
    new = (values for values in grid_points(record.dimensions) if values not in before)
    return next(new, None) or _next_of_tpe(record, results, before, rng)


def _next_at_random(
    record: SweepRecord, _: Sequence[PointResult], before: list[Values], rng: np.random.Generator
) -> Values:
    return draw_point(record.config, record.dimensions, rng, before)


def _next_of_tpe(
    record: SweepRecord, results: Sequence[PointResult], before: list[Values], rng: np.random.Generator
) -> Values:
    study = _study_of_points(record, results)
    for _ in range(_ASKS):
        trial = study.ask(_distributions(record.dimensions))
        values = {each.path: _from_optuna(each, trial.params[each.path]) for each in record.dimensions}
        try:
            record.config.replace(values)
        except ConfigError:
            study.tell(trial, state=_states().FAIL)
            continue
        if values not in before:
            return values
        study.tell(trial, state=_states().FAIL)  # otherwise it would be suggested again
    return draw_point(record.config, record.dimensions, rng, before)


# Without "fixed_points", because these all exist from the start.
_NEXT: dict[MethodName, Next] = {"tpe": _next_of_tpe, "random": _next_at_random, "grid": _next_of_grid}


def runs_to_prune(sweep: SweepFolder, record: SweepRecord) -> list[RunFolder]:
    """Return the running runs whose lowest validation loss is above the finished runs' median at that step.

    No run is pruned in the first quarter of its steps, or before four runs have finished.
    """
    runs = sweep.runs(record)
    states = {run.id: run.status() for run in runs}
    finished = [run for run in runs if states[run.id].state == "finished"]
    training = [run for run in runs if states[run.id].state == "running" and run.id not in record.pruned]
    if len(finished) < _MIN_FINISHED or not training:
        return []
    import optuna

    study = _new_study(0)
    for run in finished:
        if curve := curve_of(run):
            study.add_trial(optuna.trial.create_trial(value=list(curve.values())[-1], intermediate_values=curve))
    pruner, pruned = optuna.pruners.MedianPruner(n_startup_trials=_MIN_FINISHED), list[RunFolder]()
    for run in training:
        curve = curve_of(run)
        if not curve or max(curve) < _WARMUP * states[run.id].steps:
            continue
        trial = optuna.trial.create_trial(state=_states().RUNNING, intermediate_values=curve)
        if pruner.prune(study, trial):
            pruned.append(run)
    return pruned


def _study_of_points(record: SweepRecord, results: Sequence[PointResult]) -> "Study":
    """Return a study of all points so far; those still training have no value, and TPE avoids their neighborhood."""
    import optuna

    states, distributions = _states(), _distributions(record.dimensions)
    study = _new_study(record.config.train.seed + len(results), min(_MAX_RANDOM, max(3, record.size // 3)))
    for point in results:
        reached: dict[str, Any] = {"state": states.RUNNING}
        if point.loss is not None:
            reached = {"value": point.loss}
        elif point.problem or all(run.state in ("failed", "deleted", "stopped") for run in point.runs):
            continue
        elif all(run.state in ("pruned", "diverged", "failed") for run in point.runs):
            last = [run for run in point.runs if run.state == "pruned" and run.loss is not None]
            steps = {run.step: run.loss for run in last}
            reached = {"state": states.PRUNED, "intermediate_values": steps}
        params = {each.path: _to_optuna(each, point.values[each.path]) for each in record.dimensions}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, **reached))
    return study


def _new_study(seed: int, startup: int = _MAX_RANDOM) -> "Study":
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
    return optuna.create_study(direction="minimize", sampler=sampler)


def _states() -> Any:
    from optuna.trial import TrialState

    return TrialState


def _distributions(dimensions: Sequence[Dimension]) -> "dict[str, BaseDistribution]":
    """Return each dimension as an Optuna distribution: a fraction of a range, or a place in a list."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, BaseDistribution] = {}
    for each in dimensions:
        if not each.values:
            made[each.path] = FloatDistribution(0.0, 1.0)
        elif _is_ordered(each):
            made[each.path] = IntDistribution(0, len(each.values) - 1)
        else:
            made[each.path] = CategoricalDistribution(range(len(each.values)))
    return made


def _is_ordered(dimension: Dimension) -> bool:
    values = dimension.values
    are_numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    return are_numbers and list(values) == sorted(values)


def _to_optuna(dimension: Dimension, value: Any) -> float | int:
    return dimension.values.index(value) if dimension.values else min(1.0, max(0.0, dimension.place(value)))


def _from_optuna(dimension: Dimension, value: Any) -> Any:
    return dimension.values[int(value)] if dimension.values else dimension.at(float(value))
