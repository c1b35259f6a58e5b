"""Marks of turned settings on the loss curve: all of them there, none over another."""

from hypothesis import given
from hypothesis import strategies as st

from explorer.charts.loss import loss_figure
from explorer.charts.setting_changes import LETTER, Mark, heights, mark_traces, merged
from explorer.i18n.formatting import change_in_words
from tests.javascript import in_javascript


def test_a_turn_is_told_in_the_words_of_its_slider():
    assert change_in_words("train.learning_rate", 0.001, 0.0003) == "learning rate 1e-3 → 3e-4"
    assert change_in_words("train.steps", 2000, 3000) == "steps 2,000 → 3,000"
    assert change_in_words("model.dropout", 0.0, 0.2) == "dropout 0 → 0.2"


def test_a_mark_is_a_thin_line_with_a_label_that_pointing_tells_too():
    lines, labels = mark_traces([Mark(40, "dropout 0 → 0.2")], 100)
    assert lines.x == (40, 40, None) and lines.y == (0, 1, None)
    assert labels.text[0].strip() == lines.customdata[0] == "dropout 0 → 0.2"
    assert lines.line.width == 1 and lines.yaxis == labels.yaxis == "y2"


def test_what_was_turned_together_is_one_mark():
    assert merged([Mark(9, "c"), Mark(5, "a"), Mark(5, "b")]) == [
        Mark(5, "b +1", "a, b"),
        Mark(9, "c", "c"),
    ]


def test_a_label_near_the_right_edge_stands_on_the_left_of_its_line():
    left, right = mark_traces([Mark(10, "dropout 0 → 0.2"), Mark(99, "dropout 0.2 → 0")], 100)[1].textposition
    assert (left, right) == ("middle right", "middle left")


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 52)), max_size=60))
def test_labels_never_cover_each_other_and_the_newest_is_always_told(places):
    marks = merged([Mark(step, "x" * length) for step, length in places])
    spans = []
    for mark, height in zip(marks, heights(marks, 1000), strict=True):
        if height:
            width = LETTER * len(mark.label)
            begin = mark.step / 1000 - width if mark.step / 1000 + width > 1 else mark.step / 1000
            assert begin >= 0 and not any(
                row == height and begin <= end and begin + width >= start for row, start, end in spans
            )
            spans.append((height, begin, begin + width))
    if marks:
        assert heights(marks, 1000)[-1]


def test_labels_are_no_html():
    assert mark_traces([Mark(1, "<b>")], 10)[1].text[0].strip() == "&lt;b&gt;"


def test_the_chart_keeps_the_marks_behind_its_own_traces():
    figure = loss_figure([], None, 100, marks=[Mark(50, "batch 12 → 24")])
    assert figure.data[4].name == "turned" and tuple(figure.layout.yaxis2.range) == (0, 1)
    assert not loss_figure([], None, 100).data[4].x


def test_in_a_narrow_chart_no_mark_is_written_over_the_label_of_a_line():
    """A line's label takes the right third of the upper two rows; one mark stands in the middle, one at the right."""
    call = (
        'module.settingChangeTraces([{ step: given, label: "dropout 0 → 0.2" }], (step) => step / 100, '
        "({ step }) => step, 300, [{ left: 0.66, low: 0.9, high: 0.97 }])[1].y"
    )
    assert in_javascript("loss_chart/setting_changes.js", call, [10, 90]) == [[0.965], [0.845]]
