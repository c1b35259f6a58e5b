"""The charts of the GPT lesson show the numbers that they are given."""

import pytest

from core.lessons.quick_train import RungLoss
from core.palette import DARK, LIGHT
from explorer.charts.lessons import curves, drop_bars, ladder_chart, product_bars, share_pairs

NAMES, LOSSES = ["guessing", "one <b>head</b>", "dropout", "full"], [4.0, 2.5, 2.6, 2.0]


@pytest.mark.parametrize("palette", [LIGHT, DARK])
def test_each_ladder_bar_starts_at_the_loss_of_the_rung_it_builds_on(palette):
    rungs = [RungLoss("", loss, loss, place > 0, place == 2) for place, loss in enumerate(LOSSES)]
    figure = ladder_chart(NAMES, rungs, ["more"], palette)
    bars = figure.data[::2]
    assert [bar.base[0] for bar in bars] == [4.0, 4.0, 2.5, 2.5]
    assert [bar.base[0] + bar.x[0] for bar in bars] == pytest.approx(LOSSES)
    assert [note.text for note in figure.layout.annotations][1:] == [
        "<b>2.50</b> (−1.50)",
        "<b>2.60</b> (+0.10)",
        "<b>2.00</b> (−0.50)",
    ]
    places = {(note.xref, note.x, note.xanchor) for note in figure.layout.annotations}
    assert places == {("paper", 1, "left")}  # on a phone there is no room for them beside the bars
    ticks = [text.strip() for text in figure.layout.yaxis.ticktext]
    assert ticks == ["guessing", "one &lt;b&gt;head&lt;/b&gt;", "dropout", "full", "more"]
    dots = figure.data[1::2]
    assert dots[2].marker.color == palette.surface and dots[0].marker.color == palette.lines


def test_drop_bars_are_sorted_and_a_rise_in_loss_is_negative():
    figure = drop_bars({"a": 0.1, "b": 0.3, "c": -0.05}, "a")
    (bars,) = figure.data
    assert list(bars.x) == [0.3, 0.1, -0.05] and list(bars.text) == ["−0.30", "−0.10", "+0.05"]
    assert list(bars.marker.opacity) == [1.0, 0.4, 1.0]


def test_positive_and_negative_products_have_different_colors():
    (bars,) = product_bars([1.0, -2.0, 0.5]).data
    assert bars.marker.color[0] == bars.marker.color[2] != bars.marker.color[1]


def test_shares_and_curves_keep_their_names_and_colors():
    pairs = share_pairs(["<", "<"], {"one": [0.5, 0.5], "two": [1.0, 0.0]}, ["#111111", "#222222"])
    assert [bar.marker.color for bar in pairs.data] == ["#111111", "#222222"]
    assert list(pairs.layout.xaxis.ticktext) == ["&lt;", "&lt;"]
    lines = curves([1, 2], {"a": [3, 4]}, ["#333333"], ("step", "loss"))
    assert lines.data[0].line.color == "#333333" and lines.layout.yaxis.title.text == "loss"
