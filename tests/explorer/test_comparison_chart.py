"""Many runs in one chart: their own colours, their names as they are."""

from explorer.charts.comparison import comparison_figure

ROWS = [
    {"step": 0, "val_loss": 4.2, "seconds": 0.1},
    {"step": 5, "loss": 3.0},
    {"step": 10, "val_loss": 2.5, "seconds": 2.0},
]


def test_each_run_is_a_curve_in_its_colour_with_its_name_at_the_end():
    names, colors = {"a": "one", "b": "<b>two</b>"}, {"a": "#111111", "b": "#222222"}
    figure = comparison_figure({"a": ROWS, "b": ROWS[:1]}, names, colors)
    curves, ends = figure.data[::2], figure.data[1::2]
    assert [tuple(curve.x) for curve in curves] == [(0, 10), (0,)]
    assert [tuple(end.y) for end in ends] == [(2.5,), (4.2,)]
    assert [curve.line.color for curve in curves] == ["#111111", "#222222"]
    assert ends[1].text[0].strip() == "&lt;b&gt;two&lt;/b&gt;"


def test_time_may_be_the_axis_and_a_run_may_have_nothing_yet():
    figure = comparison_figure(
        {"a": ROWS, "b": []}, {"a": "one", "b": "two"}, {"a": "#111", "b": "#222"}, over="seconds"
    )
    assert tuple(figure.data[0].x) == (0.1, 2.0)
    assert tuple(figure.data[2].x) == ()
