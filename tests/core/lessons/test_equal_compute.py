"""The lesson on scaling laws: sizes at equal compute, and a size whose loss is predicted before it trains."""

import numpy as np
import torch

from core.interpretability import finish
from core.lessons import equal_compute
from core.lessons.equal_compute import SIZES, best_size, factor_of_term, train_at_equal_compute, train_next_size
from core.training.scaling_law import BUDGETS


def test_sizes_train_at_equal_compute_and_the_next_size_is_predicted_before_it_trains(monkeypatch):
    monkeypatch.setattr(equal_compute, "STEPS", 4)
    monkeypatch.setattr(equal_compute, "_FINAL_WINDOWS", 16)
    ids = torch.arange(4000) % 7
    runs = finish(train_at_equal_compute(ids, ids[:900], 7))
    computes = np.array([run.compute for run in runs]).reshape(len(BUDGETS), len(SIZES))
    assert np.allclose(computes / computes[-1, -1], np.array(BUDGETS)[:, None], rtol=0.05)
    assert best_size(runs, 0).loss == min(run.loss for run in runs[: len(SIZES)])
    after = finish(train_next_size(runs, ids, ids[:900], 7))
    assert after.trained.size == "2x48" and after.trained.expected == after.predicted
    assert after.predicted.low <= after.predicted.value <= after.predicted.high
    assert factor_of_term(0.5, 4) == 0.5
