"""Charts of the logit lens and of attribution, and what every chart can be saved as."""

from io import BytesIO

import numpy as np
import pandas as pd
import pytest

from core.interpretability.logit_lens import Lens
from core.interpretability.patching import Answers, PatchMap
from explorer.charts.attribution import attribution_bars, signed, strongest
from explorer.charts.csv_export import csv_of, matrix_columns
from explorer.charts.logit_lens import lens_heatmap
from explorer.charts.palette import LIGHT
from explorer.charts.patching import patch_heatmap
from explorer.charts.text_format import cut, room_for
from explorer.look_inside.logit_lens import lens_columns, lens_in_words
from explorer.look_inside.patching import map_in_words
from explorer.widgets.layout import takeaway

SAID = [[["a", "b"], ["<", "b"]], [["b", "a"], ["<", "a"]], [["b", "a"], ["c", "<"]]]  # (S, T, K)
LENS = Lens(
    ids=np.zeros((3, 2, 2), dtype=np.int64),
    probabilities=np.array([[[0.6, 0.4], [0.5, 0.3]], [[0.7, 0.3], [0.5, 0.2]], [[0.9, 0.1], [0.62, 0.2]]]),
    answer=np.array([0, 0]),
    answer_probability=np.array([[0.4, 0.1], [0.7, 0.1], [0.9, 0.62]]),
    first=np.array([1, 2]),
    settled=np.array([1, 2]),
)


def test_the_lens_reads_from_the_embedding_up_and_rings_where_the_answer_stays():
    figure = lens_heatmap(SAID, LENS.probabilities, LENS.settled, ["x", "⏎"])
    cells, rings = figure.data
    assert cells.text[0][1] == "&lt;" and cells.text[2][1] == "c"
    assert cells.hovertext[1][0] == "having read 'x', after block 1:<br>'b' comes next with 70%<br>then 'a' 30%"
    assert "from the embedding alone" in cells.hovertext[0][0]
    assert [label.strip() for label in figure.layout.yaxis.ticktext] == ["embedding", "block 1", "block 2"]
    assert figure.layout.yaxis.range[0] < figure.layout.yaxis.range[1]
    assert (min(rings.y[:5]) + max(rings.y[:5])) / 2 == 1 and rings.y[5] is None
    assert (min(rings.y[6:11]) + max(rings.y[6:11])) / 2 == 2


def test_the_lens_must_fit_its_tokens():
    with pytest.raises(ValueError, match="3 stages of 2 tokens do not fit 1 tokens"):
        lens_heatmap(SAID, LENS.probabilities, LENS.settled, ["x"])


def test_the_lens_in_words_and_numbers():
    assert lens_in_words(LENS, SAID, ["x", "⏎"]) == (
        "After '⏎' its answer 'c' (62%) leads from block 2 on (just before that it would have been '<'); "
        "of all 2 answers here 1 stood before the last block."
    )
    columns = lens_columns(LENS, SAID, ["x", "⏎"])
    assert columns["stage"][2] == "block 1" and columns["says"] == ["a", "<", "b", "<", "b", "c"]
    assert columns["settled"] == [0, 0, 1, 0, 1, 1]


def test_shares_are_drawn_with_their_sign_and_their_sum():
    (bars,) = attribution_bars([("MLP 1", 2.0), ("head 1.1", -0.5)]).data
    assert list(bars.x) == [2.0, -0.5, 1.5]
    assert list(bars.text) == ["+2.00", "−0.50", "+1.50"]
    assert bars.marker.color[0] == LIGHT.diverging[-2] and bars.marker.color[1] == LIGHT.diverging[1]
    assert signed(-0.001) == "0.00"


def test_of_many_shares_the_weakest_are_added_up():
    shares = [(str(index), float(index)) for index in range(-5, 6)]
    kept = strongest(shares, 5)
    assert [words for words, _ in kept] == ["-5", "-4", "4", "5", "7 others"]
    assert sum(share for _, share in kept) == sum(share for _, share in shares)
    assert strongest(shares[:5], 5) == shares[:5]


def test_numbers_become_a_table_that_a_spreadsheet_opens():
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


def test_no_cell_of_text_is_a_formula_and_excel_sees_the_signs():
    columns = {"=sum": UNSAFE + SAFE, "number": [-1.5, -2, 1e-7, 1234567, *range(-8, 4)]}
    file = BytesIO(csv_of(columns).encode())
    assert file.getvalue().startswith(b"\xef\xbb\xbf")
    table = pd.read_csv(file, keep_default_na=False)
    assert list(table.columns) == ["'=sum", "number"]
    assert list(table["'=sum"]) == [f"'{text}" for text in UNSAFE] + SAFE
    assert list(table["number"]) == columns["number"]  # numbers stay numbers, negative ones too


def test_a_chart_is_saved_as_a_drawing():
    config = takeaway("logit-lens")
    assert config["toImageButtonOptions"] == {"format": "svg", "filename": "logit-lens"}
    assert config["modeBarButtons"] == [["toImage"]]


def test_words_get_more_room_than_letters():
    assert room_for(["a", "··"], 30) is None
    assert room_for(["question"], 10) > 700
    assert cut("questionable") == "questio…" and cut("question") == "question"


MOVED = np.array([[0.0, 1.0, np.nan], [0.1, 0.6, 0.3], [-0.2, 0.0, 1.0]], dtype=np.float32)
ROWS = ["before block 1", "after block 1", "after block 2"]


def test_a_map_of_swaps_is_centred_on_no_move_and_told_in_words():
    figure = patch_heatmap(MOVED, ROWS, ["a", "<", "c"], ["a", "b", "c"], ("e", "o"))
    (cells,) = figure.data
    assert (cells.zmin, cells.zmax) == (-1, 1)
    assert cells.hovertext[1][1] == "after block 1, at '&lt;' (place 2):<br>moves the answer 60% of the way back to 'e'"
    assert cells.hovertext[2][0].endswith("moves the answer further towards 'o', by 20%")
    assert cells.hovertext[2][1].endswith("does not move the answer")
    assert cells.hovertext[0][2] == ""
    assert list(figure.layout.xaxis.ticktext) == ["a", "<b>&lt;</b><br>b", "c"]
    with pytest.raises(ValueError, match="does not fit 2 rows"):
        patch_heatmap(MOVED, ROWS[:2], ["a", "<", "c"], ["a", "b", "c"], ("e", "o"))


def test_a_map_of_swaps_in_a_sentence():
    found = PatchMap(np.nan_to_num(MOVED), ROWS, Answers(0, 1, 2.0, -1.0))
    assert map_in_words(found, "stream", list("abc"), list("axc")) == (
        "The prompts differ at 'b' (place 2); most of what that means for the answer has reached the last letter, 'c', "
        "after block 2."
    )
    assert "only in the last letter" in map_in_words(found, "stream", list("abc"), list("abx"))
    assert "block 1 at 'b' (place 2) moves the answer most: 100%" in map_in_words(
        found, "mlp", list("abc"), list("axc")
    )
