"""Functions that exist in both Python and JavaScript give the same results."""

import pytest

from core.formatting import duration_in_words, format_percent, format_rate, loss_as_choice
from explorer.charts.csv_export import csv_of, table_of
from explorer.charts.loss import UNITS, in_unit, loss_range, smoothed
from explorer.streaming.jsonl_tail import COLUMNS
from tests.explorer.test_attribution_charts import SAFE, UNSAFE
from tests.javascript import in_javascript

SHARES = [0, 0.0002, 0.001, 0.0123, 0.0994, 0.0995, 0.13, 0.52, 0.999, 1]
SECONDS = [-3, 0, 41, 59.6, 60, 80, 599, 600, 3599, 3600, 7500, 172_799, 172_800, 777_600, 63_071_999, 70_000_000]
RATES = [0.0, 1.2e-4, 5e-4, 8.9e-3, 0.01, 0.0118, 0.1, 1.0]
LOSSES = [0.0, 0.25, 1.9, 2.517, 4.19, 7.3, 10.5, 13.8]
CURVES = [
    [3.0, 3.0, 3.0],
    [4.0, 2.0],
    [4.17, 3.9, 3.1, 2.62, 2.55, 2.57],
    [2.0],
    [4 / (1 + at) + at % 3 for at in range(50)],
]


@pytest.mark.parametrize(
    ("module", "expression", "python", "cases"),
    [
        ("shared/format.js", "module.formatPercent(given)", format_percent, SHARES),
        ("shared/format.js", "module.formatDuration(given)", duration_in_words, SECONDS),
        ("shared/format.js", "module.formatPerplexity(Math.exp(given))", lambda loss: loss_as_choice(loss)[1], LOSSES),
        ("shared/format.js", "module.formatRate(given)", format_rate, RATES),
        ("loss_chart/axes.js", "module.smoothed(given, 0.8)", lambda curve: smoothed(curve, 0.8), CURVES),
        ("loss_chart/axes.js", "module.lossRange(given)", lambda curve: list(loss_range(curve, {})), CURVES),
    ],
    ids=["percent", "duration", "perplexity", "rate", "smoothing", "loss axis"],
)
def test_python_and_javascript_format_and_smooth_alike(module, expression, python, cases):
    assert in_javascript(module, expression, cases) == [python(case) for case in cases]


@pytest.mark.parametrize("unit", UNITS)
def test_python_and_javascript_convert_a_loss_to_a_unit_alike(unit):
    given = in_javascript("loss_chart/axes.js", f"module.inUnit(given, {unit!r}, 2.5)", LOSSES)
    assert given == pytest.approx([in_unit(loss, unit, 2.5) for loss in LOSSES])


def test_python_and_javascript_thin_the_same_columns_of_a_curve():
    assert in_javascript("shared/run_stream.js", "module.COLUMNS", [None]) == [list(COLUMNS)]


def test_python_and_javascript_write_the_same_csv():
    columns = {"=sum": UNSAFE + SAFE, "number": [-1.5, -2, 0.123456789, 1234567, None, *range(-8, 3)]}
    assert in_javascript("shared/download.js", "module.csvOf(given)", [columns]) == [csv_of(columns)]


def test_python_and_javascript_show_the_same_table():
    short = {"=sum": UNSAFE + SAFE, "number": [-1.5, -2, 0.123456789, 1234567, None, *range(-8, 3)]}
    long = {"step": list(range(0, 10_010, 10)), "loss": [4.2 / (1 + step) for step in range(1001)]}
    tables = [table_of(columns) for columns in (short, long, {"nothing": []})]
    assert in_javascript("shared/download.js", "module.tableOf(given)", [short, long, {"nothing": []}]) == tables
    assert [row[0] for row in tables[0]["rows"]] == short["=sum"]
    assert tables[1]["count"] == 1001
    assert len(tables[1]["rows"]) == 300
    assert [tables[1]["rows"][at][0] for at in (0, -1)] == ["0", "10000"]
