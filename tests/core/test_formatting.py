"""Numbers formatted for people."""

import pytest

from core.formatting import (
    decimal,
    describe_loss,
    format_percent,
    format_rate,
    format_setting,
    memory_in_words,
    power_of_e,
)


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 KB"),
        (12 * 2**10, "12 KB"),
        (2**20 - 1, "1 MB"),
        (410 * 2**20, "410 MB"),
        (2**30, "1.0 GB"),
        (int(1.5 * 2**30), "1.5 GB"),
        (10**9, "954 MB"),  # not 1 GB: units are binary
        (23 * 2**30, "23 GB"),
        (2000 * 2**40, "2,000 TB"),
    ],
)
def test_memory_is_shown_in_the_fitting_unit(size, words):
    assert memory_in_words(size) == words


@pytest.mark.parametrize(
    ("value", "places", "plus", "words"),
    [
        (4.4525, 2, False, "4.45"),
        (-0.25, 2, False, "−0.25"),
        (-0.004, 2, False, "0.00"),
        (-0.004, 2, True, "0.00"),
        (-0.0, 1, True, "0.0"),
        (0.3, 2, True, "+0.30"),
        (-12345.678, 1, False, "−12,345.7"),
    ],
)
def test_negative_numbers_have_a_true_minus_sign_and_zero_has_none(value, places, plus, words):
    assert decimal(value, places, plus=plus) == words


@pytest.mark.parametrize(
    ("exponent", "words"),
    [(0, "e^0.00 ≈ 1.00"), (-1.23, "e^−1.23 ≈ 0.292"), (-9, "e^−9.00 ≈ 0.000123"), (4.45, "e^4.45 ≈ 85.63"),
     (60, "e^60.00 ≈ 1.1e26"), (-30, "e^−30.00 ≈ 9.4e−14")],
)  # fmt: skip
def test_a_small_power_of_e_has_three_significant_digits_or_an_exponent(exponent, words):
    assert power_of_e(exponent) == words


@pytest.mark.parametrize(
    ("share", "words"), [(0, "0%"), (0.0001, "less than 0.1%"), (0.034, "3.4%"), (0.62, "62%"), (1, "100%")]
)
def test_percentages_have_no_space(share, words):
    assert format_percent(share) == words


def test_a_loss_at_or_above_the_uniform_guess_is_described_as_such():
    uniform = 4.22  # for 68 letters
    assert describe_loss(5.03, uniform=uniform) == "worse than a uniform guess"
    assert describe_loss(4.24, uniform=uniform) == "no better than a uniform guess"
    assert describe_loss(4.20, uniform=uniform) == "as uncertain as a uniform choice among 66.7 letters"
    assert describe_loss(5.03) == "as uncertain as a uniform choice among 152.9 letters"


def test_learning_rates_have_one_notation_and_other_settings_are_decimals():
    rates = [0.0118, 8.9e-3, 0.01, 0.1, 5.91e-4, 1.0, 0.0]
    written = ["1.18e-2", "8.9e-3", "1e-2", "1e-1", "5.91e-4", "1", "0"]
    assert [format_rate(rate) for rate in rates] == written
    assert [format_setting(rate, "train.muon_learning_rate") for rate in rates] == written
    assert format_setting(0.0118, "model.init_std") == "0.0118"
