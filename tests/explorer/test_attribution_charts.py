"""Charts of attribution and patching, and what every chart can be saved as."""

from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from core.formatting import decimal
from core.interpretability.patching import Answers, PatchMap
from core.palette import LIGHT
from explorer.charts.bars import attribution_bars, strongest
from explorer.charts.csv_export import csv_of, matrix_columns
from explorer.charts.heatmaps import patch_heatmap
from explorer.charts.text_format import cut, least_width_for
from explorer.look_inside.patching import map_in_words
from explorer.widgets.layout import plotly_config


def test_attribution_bars_show_signed_shares_and_their_sum():
    (bars,) = attribution_bars([("MLP 1", 2.0), ("head 1.1", -0.5)]).data
    assert list(bars.x) == [2.0, -0.5, 1.5]
    assert list(bars.text) == ["+2.00", "−0.50", "+1.50"]
    assert bars.marker.color[0] == LIGHT.diverging[-2] and bars.marker.color[1] == LIGHT.diverging[1]
    assert decimal(-0.001, plus=True) == "0.00"


def test_the_weakest_of_many_shares_are_summed_as_others():
    shares = [(str(index), float(index)) for index in range(-5, 6)]
    kept = strongest(shares, 5)
    assert [words for words, _ in kept] == ["-5", "-4", "4", "5", "7 others"]
    assert sum(share for _, share in kept) == sum(share for _, share in shares)
    assert strongest(shares[:5], 5) == shares[:5]


def test_a_matrix_is_exported_as_csv_with_one_row_per_cell():
    columns = matrix_columns(
        np.array([[0.5, np.nan], [1 / 3, 2.0]]), ["a", ","], ["x", "y"], ("row", "column", "share")
    )
    assert csv_of(columns).removeprefix("\ufeff").splitlines() == [
        "row,row no.,column,column no.,share",
        "a,1,x,1,0.5",
        "a,1,y,2,",
        '",",2,x,1,0.333333',
        '",",2,y,2,2',
    ]


UNSAFE = ['=HYPERLINK("x")', "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=", "-"]
SAFE = ["a=1", "'", "·", "⏎", "−1", " ", 'a "b", c', "ス"]


def test_csv_export_escapes_formulas_and_keeps_negative_numbers():
    columns = {"=sum": UNSAFE + SAFE, "number": [-1.5, -2, 1e-7, 1234567, *range(-8, 4)]}
    file = BytesIO(csv_of(columns).encode())
    assert file.getvalue().startswith(b"\xef\xbb\xbf")
    table = pd.read_csv(file, keep_default_na=False)
    assert list(table.columns) == ["'=sum", "number"]
    assert list(table["'=sum"]) == [f"'{text}" for text in UNSAFE] + SAFE
    assert list(table["number"]) == columns["number"]  # numbers stay numbers, negative ones too


def test_a_chart_is_saved_as_svg():
    config = plotly_config("logit-lens")
    assert config["toImageButtonOptions"] == {"format": "svg", "filename": "logit-lens"}
    assert config["modeBarButtons"] == [["toImage"]]


def test_a_chart_with_words_as_labels_is_wider_and_long_labels_are_cut():
    assert least_width_for(["a", "··"], 30) is None
    assert least_width_for(["question"], 10) > 700
    assert cut("questionable") == "questio…" and cut("question") == "question"


MOVED = np.array([[0.0, 1.0, np.nan], [0.1, 0.6, 0.3], [-0.2, 0.0, 1.0]], dtype=np.float32)
ROWS = ["before block 1", "after block 1", "after block 2"]


def test_the_patching_heatmap_is_centered_on_zero_and_describes_each_cell():
    figure = patch_heatmap(MOVED, ROWS, ["a", "<", "c"], ["a", "b", "c"], ("e", "o"))
    (cells,) = figure.data
    assert (cells.zmin, cells.zmax) == (-1, 1)
    assert (
        cells.text[1][1] == "after block 1, at '&lt;' (position 2):<br>moves the prediction 60% of the way back to 'e'"
    )
    assert cells.text[2][0].endswith("moves the prediction further toward 'o', by 20%")
    assert cells.text[2][1].endswith("does not move the prediction")
    assert cells.text[0][2] == ""
    assert list(figure.layout.xaxis.ticktext) == ["a", "<b>&lt;</b><br>b", "c"]
    with pytest.raises(ValueError, match="does not fit 2 rows"):
        patch_heatmap(MOVED, ROWS[:2], ["a", "<", "c"], ["a", "b", "c"], ("e", "o"))


def test_a_patching_map_is_described_in_a_sentence():
    found = PatchMap(np.nan_to_num(MOVED), ROWS, Answers(0, 1, 2.0, -1.0))
    assert map_in_words(found, "stream", list("abc"), list("axc")) == (
        "The prompts differ at 'b' (position 2). Most of the difference has reached the last token, 'c', after block 2."
    )
    assert "only in the last token" in map_in_words(found, "stream", list("abc"), list("abx"))
    assert "block 1 at 'b' (position 2) moves the prediction most, 100%" in map_in_words(
        found, "mlp", list("abc"), list("axc")
    )
