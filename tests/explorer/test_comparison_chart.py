"""Many runs in one chart: each has its own color, and names never overlap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.charts.comparison import averaged, comparison_figure, spread
from explorer.charts.scaling_law import log_ticks

ROWS = [
    {"step": 0, "val_loss": 4.2, "seconds": 0.1},
    {"step": 5, "loss": 3.0},
    {"step": 10, "val_loss": 2.5, "seconds": 2.0},
]


def test_each_run_is_a_curve_in_its_color_with_its_name_beside_it():
    names, colors = {"a": "one", "b": "<b>two</b>"}, {"a": "#111111", "b": "#222222"}
    figure = comparison_figure({"a": ROWS, "b": ROWS[:1]}, names, colors)
    curves, ends = figure.data[:4:2], figure.data[1:4:2]
    assert [tuple(curve.x) for curve in curves] == [(0, 10), (0,)]
    assert [tuple(end.y) for end in ends] == [(2.5,), (4.2,)]
    assert [curve.line.color for curve in curves] == ["#111111", "#222222"]
    assert {note.text: note.font.color for note in figure.layout.annotations} == {
        "one": "#111111",
        "&lt;b&gt;two&lt;/b&gt;": "#222222",
    }


def test_runs_are_compared_over_time_and_a_run_without_rows_is_an_empty_curve():
    figure = comparison_figure(
        {"a": ROWS, "b": []}, {"a": "one", "b": "two"}, {"a": "#111", "b": "#222"}, over="seconds"
    )
    assert tuple(figure.data[0].x) == (0.1, 2.0)
    assert tuple(figure.data[2].x) == ()
    assert [note.text for note in figure.layout.annotations] == ["one"]


def test_a_fork_starts_at_the_step_where_it_branched_off():
    figure = comparison_figure({"a": ROWS}, {"a": "one"}, {"a": "#111111"}, begins={"a": 400})
    assert tuple(figure.data[0].x) == tuple(figure.data[1].x) == (400, 410)
    assert "branched off" in figure.layout.xaxis.title.text


def test_the_loss_axis_cuts_off_the_steep_first_drop():
    rows = [{"step": step, "val_loss": loss} for step, loss in ((0, 4.2), (10, 2.6), (100, 2.0), (1000, 1.8))]
    low, high = comparison_figure({"a": rows}, {"a": "one"}, {"a": "#111111"}).layout.yaxis.range
    assert low < 1.8 and 2.0 < high < 2.6


@given(st.dictionaries(st.text(), st.floats(1, 4), max_size=20))
def test_run_names_never_overlap(places):
    found = spread(places, 0.2, 0.5)
    heights = sorted(found.values())
    assert found.keys() == places.keys()
    assert all(below + 0.2 <= above + 1e-9 for below, above in pairwise(heights))
    assert not heights or heights[0] >= 0.6 - 1e-9


def test_run_names_far_enough_apart_stay_where_their_curves_end():
    assert spread({"a": 2.0, "b": 1.5}, 0.1, 1.0) == pytest.approx({"a": 2.0, "b": 1.5})


def test_a_long_run_name_is_split_over_two_lines_and_whole_on_hover():
    name = "swift-hedgehog from step 100 with <b>"
    (label,) = comparison_figure({"a": ROWS}, {"a": name}, {"a": "#111111"}).layout.annotations
    assert label.text.startswith("swift-hedgehog<br>from step 100") and label.hovertext.endswith("with &lt;b&gt;")


def test_runs_that_differ_in_their_seed_become_a_mean_with_a_band():
    rows = {id: [{"step": step, "seconds": step / 2, "val_loss": loss + step / 10} for step in (0, 10, 20)]
            for id, loss in (("a", 2.0), ("b", 4.0), ("c", 3.0))}  # fmt: skip
    rows["b"] = rows["b"][:2]  # it still trains
    means, names, bands = averaged(rows, {"a": "one", "b": "two", "c": "other"}, [["a", "b"]], "seconds", "val_loss")
    assert list(means) == ["c", "a"] and means["c"] is rows["c"]
    assert means["a"] == [{"step": 0, "val_loss": 3.0, "seconds": 0}, {"step": 10, "val_loss": 4.0, "seconds": 5}]
    assert names["a"] == "one, 2 seeds" and bands == {"a": [2**0.5] * 2}
    figure = comparison_figure(means, names, dict.fromkeys("ac", "#123456"), over="seconds", bands=bands)
    band = next(trace for trace in figure.data if trace.fill == "toself")
    assert list(band.y) == [3 + 2**0.5, 4 + 2**0.5, 4 - 2**0.5, 3 - 2**0.5]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (2.31, 3.25, [2.4, 2.6, 2.8, 3.0, 3.2]),
        (1_300, 30_000, [2_000, 5_000, 10_000, 20_000]),
        (8e3, 9e6, [1e4, 1e5, 1e6]),
        (8e3, 9e10, [1e4, 1e6, 1e8, 1e10]),
        (2.5, 2.5, [2.5]),
    ],
)
def test_a_logarithmic_axis_has_a_few_round_numbers(low, high, ticks):
    assert log_ticks(low, high, most=6 if high < 10 else 5) == pytest.approx(ticks)
