"""A scaling study: models of several sizes at equal compute, their scaling law, and the predicted loss of a next size.

For each of three budgets of floating-point operations, every size trains for as many steps as the budget allows, as in
Hoffmann and others (2022), section 3.2. Operations are counted (`core.training.work`), not approximated by 6 N D.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from core.config import RunConfig
from core.errors import ConfigError, RunError
from core.runs.ancestry import check_startable
from core.runs.class_sizes import Size
from core.runs.folder import open_run
from core.runs.weights import vocab_size_of
from core.sweeps.folder import Point, SweepFolder, SweepRecord, planned
from core.sweeps.results import PointResult
from core.sweeps.space import Values
from core.training.scaling_law import BUDGETS, Interval, ScalingRun, law_of
from core.training.schedule import WARMUP_SHARE
from core.training.work import exact_parameters, flops_of_step

FIRST_SIZES = "1x16, 1x32, 2x48, 2x64"
MIN_STEPS = 10
_QUIET = {
    "train.sample_interval": 100_000, "train.checkpoint_interval": 100_000, "train.snapshots": 2,
    "train.decay_steps": 0,
}  # fmt: skip


def plan_scaling(
    config: RunConfig, data_dir: Path, sizes: Sequence[Size], steps: int, *, seeds: int = 2, name: str = ""
) -> SweepRecord:
    """Return the record of a study whose largest size trains for at most `steps` steps; raises ExplorerError.

    Every size is trained with the compute of these steps, and with a quarter and a half of it.
    """
    if config.model.kind != "gpt":
        raise ConfigError("A scaling study needs a GPT: a bigram has no size to choose.")
    config = config.replace(_QUIET)
    vocab_size = check_startable(data_dir, config)
    largest = max(sizes, key=lambda size: flops_of_step(_sized(config, size), vocab_size))
    budget = steps * flops_of_step(_sized(config, largest), vocab_size)
    points = [_values(config, size, share * budget, vocab_size) for share in BUDGETS for size in sizes]
    return planned(config, (), "fixed_points", seeds=seeds, fixed_points=points, budget=budget, name=name)


def _sized(config: RunConfig, size: Size) -> RunConfig:
    return config.replace({"model.n_layer": size.layers, "model.n_embd": size.width})


def _values(config: RunConfig, size: Size, budget: float, vocab_size: int) -> Values:
    """Return the values of a point: a size and the steps that the budget allows; raises ConfigError for too few."""
    steps = round(budget / flops_of_step(_sized(config, size), vocab_size))
    if steps < MIN_STEPS:
        raise ConfigError(
            f"A budget pays for only {steps} steps of the size {size}. Choose more steps or smaller sizes."
        )
    warmup = min(config.train.warmup_steps, int(WARMUP_SHARE * steps))
    values: Values = {"model.n_layer": size.layers, "model.n_embd": size.width, "train.steps": steps}
    return values | {"train.warmup_steps": warmup, "train.eval_interval": min(steps, 100_000)}


def scaling_runs(sweep: SweepFolder, record: SweepRecord, results: Sequence[PointResult]) -> list[ScalingRun]:
    """Return the finished runs of a study, in the order in which they started."""
    runs: list[ScalingRun] = []
    vocab_size = None
    for point in results:
        config = record.config_of(point.values)
        expected = record.points[point.number - 1].expected
        for run in point.runs:
            if run.state != "finished" or run.loss is None:
                continue
            vocab_size = vocab_size or vocab_size_of(open_run(sweep.data_dir, run.id))
            tokens = config.train.steps * config.train.batch_size * config.model.block_size
            size = str(Size(config.model.n_layer, config.model.n_embd))
            compute = config.train.steps * flops_of_step(config, vocab_size)
            parameters = exact_parameters(config.model, vocab_size)
            interval = Interval(*expected) if expected else None
            runs.append(ScalingRun(run.id, size, parameters, tokens, compute, run.loss, interval))
    return runs


class PredictedSize(NamedTuple):
    """A size and the loss that the scaling law predicts for it at the full budget."""

    size: Size
    values: Values
    parameters: int
    tokens: int
    loss: Interval


def predict_size(sweep: SweepFolder, record: SweepRecord, runs: Sequence[ScalingRun], size: Size) -> PredictedSize:
    """Predict the loss of a further size from a study's scaling law; raises ExplorerError."""
    law, vocab_size = law_of(runs), vocab_size_of(open_run(sweep.data_dir, runs[0].id))
    values = _values(record.config, size, record.budget, vocab_size)
    config = record.config_of(values)
    parameters = exact_parameters(config.model, vocab_size)
    tokens = config.train.steps * config.train.batch_size * config.model.block_size
    return PredictedSize(size, values, parameters, tokens, law.predict(parameters, tokens))


def train_prediction(sweep: SweepFolder, prediction: PredictedSize) -> SweepRecord:
    """Add a predicted size to a study; the prediction is recorded before the run starts."""
    with sweep.changing() as record:
        if record.state == "running":
            raise RunError(f"The study {record.name!r} is running. Wait until it ends.")
        if any(point.values == prediction.values for point in record.points):
            raise RunError(f"The size {prediction.size} is already in this study.")
        point = Point(values=prediction.values, expected=list(prediction.loss))
        changes = {"points": [*record.points, point], "size": record.size + 1, "state": "running", "reason": ""}
        return sweep.write(record.model_copy(update=changes))
