"""Scaling studies: equal compute, the law of size and data, and a prediction recorded before the run."""

import numpy as np
import pytest

from core.errors import ConfigError, ExplorerError, RunError
from core.runs.class_sizes import parse_sizes
from core.sweeps import scaling
from core.sweeps.folder import create_sweep, planned
from core.sweeps.results import sweep_results
from core.sweeps.scaling import plan_scaling, predict_size, scaling_runs, train_prediction
from core.training.scaling_law import fit_joint_law, law_of
from tests.core.runs.conftest import config, idle
from tests.core.sweeps.test_sweeps import RATES, data_dir, drive

__all__ = ["config", "data_dir", "idle"]


def test_a_known_joint_scaling_law_is_recovered_and_predicts():
    sizes = np.repeat([1e3, 3e3, 1e4, 3e4, 1e5], 6)
    tokens = np.tile(np.repeat([1e7, 4e7, 16e7], 2), 5) * 1e3 / sizes
    losses = 1.2 + 40 * sizes**-0.4 + 300 * tokens**-0.6 + 0.005 * np.random.default_rng(0).standard_normal(30)
    law = fit_joint_law(sizes, tokens, losses)
    assert 0.3 < law.exponents[0] < 0.5 and 0.4 < law.exponents[1] < 0.8 and abs(law.noise - 0.005) < 0.003
    right = 1.2 + 40 * 3e5**-0.4 + 300 * (16e10 / 3e5) ** -0.6
    predicted = law.predict(3e5, 16e10 / 3e5)
    assert predicted.low < right < predicted.high and predicted.high - predicted.low < 0.1


def test_invalid_scaling_studies_are_refused(data_dir, config):
    with pytest.raises(ConfigError, match="4 to 12 different sizes"):
        parse_sizes("1x16, 1x32")
    with pytest.raises(ConfigError, match="pays for only"):
        plan_scaling(config, data_dir, parse_sizes("1x8, 1x16, 1x24, 2x64"), 20)
    with pytest.raises(ConfigError, match="bigram"):
        plan_scaling(config.replace({"model.kind": "bigram"}), data_dir, parse_sizes("1x8,1x16,1x24,1x32"), 60)
    with pytest.raises(ExplorerError, match="at least 4 sizes"):
        fit_joint_law([1, 2, 3] * 3, [1] * 9, [1.0] * 9)


def test_a_study_trains_at_equal_compute_and_predicts_the_next_size_before_training_it(
    data_dir, config, idle, monkeypatch
):
    monkeypatch.setattr(scaling, "BUDGETS", (0.5, 1.0))
    config = config.replace({"train.batch_size": 4, "train.learning_rate": 0.03})
    record = plan_scaling(config, data_dir, parse_sizes("1x16, 1x24, 1x32, 1x40"), 30, seeds=1)
    assert len(record.points) == 8 and record.method == "fixed_points"
    sweep = create_sweep(data_dir, record)
    drive(sweep, idle)
    runs = scaling_runs(sweep, sweep.record(), sweep_results(sweep, sweep.record()))
    computes = np.array([run.compute for run in runs]).reshape(2, 4)
    assert np.allclose(computes, record.budget * np.array([[0.5], [1.0]]), rtol=0.05)
    assert len(law_of(runs).draws) == 200
    prediction = predict_size(sweep, sweep.record(), runs, parse_sizes("1x48,1x8,1x16,1x24")[0])
    train_prediction(sweep, prediction)
    with pytest.raises(RunError, match="is running"):
        train_prediction(sweep, prediction)
    drive(sweep, idle)
    last = scaling_runs(sweep, sweep.record(), sweep_results(sweep, sweep.record()))[-1]
    assert last.size == "1x48" and last.expected == prediction.loss
    record = sweep.record()
    assert record.state == "finished"
    sweep.record_path.write_text(
        sweep.record_path.read_text().replace("fixed_points", "chosen")
    )  # the name in an earlier version
    assert sweep.record() == record


def test_a_sweep_has_no_compute_budget(config):
    assert not planned(config, [RATES]).budget
