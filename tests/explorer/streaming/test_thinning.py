"""Thinning many rows keeps the ends, the evaluations and every extreme."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.streaming.jsonl_tail import even_indices, extreme_indices, thinned_indices
from tests.javascript import in_javascript


@given(st.integers(1, 9000), st.integers(1, 50), st.integers(10, 3000))
def test_thinning_keeps_the_ends_and_the_evaluations(count, every, most):
    measured = np.where(np.arange(count) % (every * 20) == 0, 1.0, np.nan)
    kept = thinned_indices({"val_loss": measured, "loss": np.sin(np.arange(count))}, count, most)
    assert list(kept) == sorted(set(kept)) and kept[0] == 0 and kept[-1] == count - 1
    assert len(kept) <= most or count <= most
    assert count > most or len(kept) == count
    if np.isfinite(measured).sum() <= (most - 2) // 2:
        assert set(np.flatnonzero(np.isfinite(measured))) <= set(kept)


@pytest.mark.parametrize("most", [100, 3000])
@given(count=st.integers(1, 9000), every=st.integers(1, 3))
def test_evaluations_are_thinned_too_if_there_are_too_many(most, count, every):
    measured = np.where(np.arange(count) % every == 0, 1.0, np.nan)
    kept = thinned_indices({"val_loss": measured}, count, most)
    assert kept[0] == 0 and kept[-1] == count - 1
    assert len(kept) <= most and (count <= most or len(kept) >= most // 2)


@given(st.integers(0, 99_999), st.integers(0, 99_999), st.sampled_from(["loss", "grad_norm", "val_loss"]))
def test_thinning_keeps_a_single_outlier_among_very_many_rows(high, low, column):
    columns = {name: np.cos(np.arange(100_000)) for name in ("loss", "grad_norm", "val_loss")}
    columns[column][low] = -50.0
    columns[column][high] = 50.0
    kept = thinned_indices(columns, 100_000, 100)
    assert high in kept and (low in kept or low == high) and len(kept) <= 100


@given(st.lists(st.floats(-9, 9) | st.just(np.nan), max_size=300), st.integers(2, 40))
def test_extremes_are_finite_and_include_the_lowest_and_the_highest(values, most):
    values = np.array(values, float)
    places = extreme_indices(values, most)
    known = values[np.isfinite(values)]
    assert len(places) <= most and np.isfinite(values[places]).all()
    if len(known):
        assert {known.min(), known.max()} <= set(values[places])


@given(st.integers(3001, 200_000))
def test_thinning_keeps_enough_points_for_a_logarithmic_axis(count):
    loss = 4.2 / np.log10(np.arange(count) + 10)  # falls fastest at the start
    kept = thinned_indices({"loss": loss, "val_loss": np.full(count, np.nan)}, count, 3000)
    drawn = np.interp(np.arange(count), kept, loss[kept])
    assert np.abs(drawn - loss).max() < 0.01
    for octave in range(3, int(np.log2(count))):
        assert ((kept >= 2**octave) & (kept < 2 ** (octave + 1))).sum() >= 8


def test_even_indices_include_both_ends():
    assert even_indices(3, 5) == [0, 1, 2] and even_indices(9, 3) == [0, 4, 8] and even_indices(9, 1) == []


def test_server_and_browser_both_keep_ends_outliers_and_early_points():
    """Both keep the ends, an outlier in each direction, and points along the whole logarithmic axis."""
    count, most = 6000, 1500
    rng = np.random.default_rng(1)
    curves = [2 + 2 / np.sqrt(1 + np.arange(count)) + 0.05 * rng.normal(size=count) for _unused in range(4)]
    for loss, (high, low) in zip(curves, [(17, 5000), (3000, 3001), (5998, 1), (700, 4711)], strict=True):
        loss[high], loss[low] = 9.0, -9.0
    rows = [[{"step": step, "loss": value} for step, value in enumerate(loss.tolist())] for loss in curves]
    browser = in_javascript("shared/thinning.js", f"module.thinned(given, 'loss', {most}).map((row) => row.step)", rows)
    for loss, there in zip(curves, browser, strict=True):
        here = thinned_indices({"loss": loss}, count, most)
        for kept in (np.array(there), here):
            assert {0, count - 1, int(loss.argmax()), int(loss.argmin())} <= set(kept.tolist())
            assert len(kept) <= most and (np.diff(kept) > 0).all()
            assert all(((kept >= 2**n) & (kept < 2 ** (n + 1))).sum() >= min(2**n, 8) for n in range(12))


def test_the_browser_never_keeps_more_rows_than_requested():
    counts = [10, 1500, 1501, *range(1600, 9000, 370), 65_000]
    rows = [[{"step": 3 * step, "loss": math.sin(step)} for step in range(count)] for count in counts]
    lengths = in_javascript("shared/thinning.js", "module.thinned(given, 'loss', 1500).length", rows)
    assert all(number <= 1500 for number in lengths)
    assert all(number == count for number, count in zip(lengths, counts, strict=True) if count <= 1500)
    assert min(lengths[2:]) > 600
