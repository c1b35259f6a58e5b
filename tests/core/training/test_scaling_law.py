"""Fitting a scaling law: a known one is recovered within its stated bounds, and too few points are refused."""

import numpy as np
import pytest

from core.errors import ExplorerError
from core.training.scaling_law import MIN_SIZES, SURE, fit_scaling_law

SIZES = np.geomspace(5e3, 8e5, 6)
NEXT = 3e6


def law(sizes, floor=1.4, scale=20.0, exponent=0.35):
    return floor + scale * np.asarray(sizes) ** -exponent


@pytest.mark.parametrize(("floor", "scale", "exponent"), [(1.4, 20.0, 0.35), (0.5, 8.0, 0.2), (2.0, 300.0, 0.7)])
def test_a_known_scaling_law_without_noise_is_recovered(floor, scale, exponent):
    fitted = fit_scaling_law(SIZES, law(SIZES, floor, scale, exponent))
    assert fitted.exponent == pytest.approx(exponent, rel=0.02) and fitted.floor == pytest.approx(floor, abs=0.03)
    assert fitted.losses(SIZES) == pytest.approx(law(SIZES, floor, scale, exponent), abs=2e-3)
    assert fitted.predict(NEXT).value == pytest.approx(law(NEXT, floor, scale, exponent), abs=0.01)


@pytest.mark.parametrize("repeats", [1, 4])
def test_the_confidence_intervals_have_their_stated_coverage(repeats):
    rng, trials, held = np.random.default_rng(3), 40, np.zeros(2)
    sizes = np.repeat(SIZES, repeats)
    for _ in range(trials):
        fitted = fit_scaling_law(sizes, law(sizes) + 0.01 * rng.standard_normal(len(sizes)))
        exponent, loss = fitted.exponent_interval(), fitted.predict(NEXT)
        held += exponent.low <= 0.35 <= exponent.high, loss.low <= law(NEXT) + 0.01 * rng.standard_normal() <= loss.high
    assert (held / trials >= SURE - 0.1).all()


def test_more_runs_narrow_the_prediction_interval():
    rng = np.random.default_rng(5)
    widths = []
    for repeats in (1, 6):
        sizes = np.repeat(SIZES, repeats)
        loss = fit_scaling_law(sizes, law(sizes) + 0.01 * rng.standard_normal(len(sizes))).predict(NEXT)
        widths.append(loss.high - loss.low)
    assert widths[1] < widths[0]


@pytest.mark.parametrize("sizes", [[], [1e4] * 9, [1e4, 2e4, 4e4, 4e4], [1e4, 2e4, 3e4, np.nan]])
def test_fewer_distinct_sizes_than_needed_are_refused(sizes):
    with pytest.raises(ExplorerError, match=f"at least {MIN_SIZES} sizes, and there are"):
        fit_scaling_law(sizes, law(np.nan_to_num(sizes, nan=1.0)))


def test_losses_that_rise_with_size_are_refused():
    with pytest.raises(ExplorerError, match="does not fall"):
        fit_scaling_law(SIZES, SIZES)
