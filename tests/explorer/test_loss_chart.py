"""The loss chart: what is drawn, and the contract with the browser that fills it."""

import math

import pytest

from core.text.ngrams import BASELINES
from explorer.charts.loss import ParentCurve, label_shifts, loss_figure, loss_range, smoothed
from explorer.i18n.formatting import change_in_words
from tests.javascript import in_javascript

ROWS = [
    {"step": 0, "train_loss": 4.2, "val_loss": 4.2},
    {"step": 5, "loss": 3.9, "lr": 1e-3},
    {"step": 10, "loss": 3.1, "lr": 1e-3, "train_loss": 3.2, "val_loss": 3.3},
]
LOSSES = {"uniform": 4.17, "unigram": 3.3, "bigram": 2.47, "trigram": 2.06}


def test_the_loss_chart_draws_training_smoothed_validation_and_the_last_point():
    raw, smooth, validation, last, *_ = loss_figure(ROWS, LOSSES, 100).data
    assert list(raw.x) == list(smooth.x) == [5, 10]
    assert list(raw.y) == [3.9, 3.1]
    assert list(validation.x) == [0, 10]
    assert list(validation.y) == [4.2, 3.3]
    assert list(last.x) == [10]
    assert list(last.text) == ["3.30"]


def test_every_baseline_has_a_label():
    baselines = LOSSES | {"floor": 1.2}
    figure = loss_figure(ROWS, baselines, 100)
    assert [shape.name for shape in figure.layout.shapes] == list(BASELINES)
    assert [note.name for note in figure.layout.annotations] == list(BASELINES)
    assert [shape.y0 for shape in figure.layout.shapes] == list(baselines.values())
    assert all(note.visible for note in figure.layout.annotations)


def test_baselines_not_computed_yet_are_hidden():
    figure = loss_figure([], None, 100)
    assert len(figure.layout.shapes) == len(BASELINES)
    assert not any(shape.visible for shape in figure.layout.shapes)
    assert tuple(figure.layout.xaxis.range) == (0, 100)


def test_the_loss_axis_covers_all_values_and_rarely_changes():
    low, high = loss_range([4.2, 3.3, 3.1], LOSSES)
    assert low < 2.06 and high > 4.2
    assert loss_range([4.2, 3.3, 3.05], LOSSES) == [low, high]
    assert loss_range([float("nan")], {})[0] < loss_range([float("nan")], {})[1]


@pytest.mark.parametrize("share", [0.5, 0.8, 0.98])
def test_the_smoothed_line_does_not_lag_behind_a_falling_curve(share):
    assert smoothed([3.0] * 40, share) == pytest.approx([3.0] * 40)
    falling = [4 - 0.05 * at for at in range(60)]
    assert smoothed(falling, share) == pytest.approx(falling)
    late = [0.7 + 2.7 / (1 + math.exp((at - 28) / 4)) for at in range(41)]  # a sudden drop late in training
    for at, value in enumerate(smoothed(late, share)):
        assert late[min(at + 4, 40)] <= value <= late[max(at - 4, 0)]


def test_smoothing_removes_noise():
    noisy = [2 + 0.1 * (-1) ** at for at in range(200)]
    assert smoothed(noisy, 0.0) == noisy
    assert all(abs(value - 2) < 0.04 for value in smoothed(noisy, 0.8)[1:-1])
    assert abs(smoothed(noisy, 0.8)[-1] - 2) < 0.1


def test_labels_of_close_baselines_move_apart():
    assert label_shifts(LOSSES) == dict.fromkeys(LOSSES, 0)
    assert label_shifts({"bigram": 2.10, "trigram": 2.05}) == {"bigram": 0, "trigram": -9}


def test_a_fork_is_drawn_over_its_parent():
    past = [{"step": step, "val_loss": loss} for step, loss in ((0, 4.2), (200, 2.2), (400, 2.0), (900, 1.8))]
    parent = ParentCurve(400, 9.0, "<b>parent</b>", 400, past)
    figure = loss_figure([], None, 600, parent=parent)
    assert parent.mark == "from step 400 of <b>parent</b>"
    assert list(figure.data[6].x) == [0, 200, 400, 900] and figure.data[6].opacity < 0.5
    assert "its own step 0 is 400" in figure.layout.xaxis.title.text


def test_a_run_from_scratch_has_no_parent_to_draw():
    assert not loss_figure(ROWS, LOSSES, 100).data[6].x


def test_setting_change_traces_are_empty_for_the_browser_to_fill():
    figure = loss_figure([], None, 100)
    lines, labels = figure.data[4:6]
    assert not lines.x and not labels.x
    assert lines.line.width == 1 and lines.yaxis == labels.yaxis == "y2"
    assert tuple(figure.layout.yaxis2.range) == (0, 1)


def test_a_setting_change_is_described_with_the_label_of_its_slider():
    assert change_in_words("train.learning_rate", 0.0003, 0.001) == "learning rate 1e-3 → 3e-4"
    assert change_in_words("train.steps", 3000, 2000) == "steps 2,000 → 3,000"
    assert change_in_words("model.dropout", 0.2, 0.0) == "dropout 0 → 0.2"


def test_in_a_narrow_chart_no_setting_change_covers_the_label_of_a_baseline():
    """The baseline's label covers the right third of the upper two rows; one change is at step 10, one at step 90."""
    call = (
        'module.settingChangeTraces([{ step: given, label: "dropout 0 → 0.2" }], (step) => step / 100, '
        "({ step }) => step, 300, [{ left: 0.66, low: 0.9, high: 0.97 }])[1].y"
    )
    assert in_javascript("loss_chart/setting_changes.js", call, [10, 90]) == [[0.965], [0.845]]
