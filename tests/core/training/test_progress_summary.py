"""The summary of a run's progress, tested on the curves of real short runs (`record_curves.py`)."""

import json
import math
from pathlib import Path

import pytest

from core.live_settings import SettingChange
from core.runs.folder import RunFolder
from core.runs.gallery import gallery_dir
from core.training.progress_summary import SENTENCES, summarize_progress

RUNS = json.loads(Path(__file__).with_name("recorded_curves.json").read_bytes())
RATE = "train.learning_rate"


def judged(name, until=math.inf, saved=(), **given_values):
    """Summarize a recorded run up to the step `until`."""
    rows = [row for row in RUNS[name]["rows"] if row["step"] <= until]
    changes = [change for change in map(SettingChange._make, RUNS[name]["changes"]) if change.step <= until]
    return summarize_progress(rows, changes, saved, **given_values)


@pytest.mark.parametrize(
    ("name", "sentence", "trouble"),
    [
        ("still falling", "Validation loss fell from 4.14 to 2.32 and was still falling at the end.", False),
        ("settled", "Validation loss fell from 4.14 to 1.94 and was still falling at the end.", False),
        (
            "ruined by the learning rate",
            "Loss rose from 1.99 to 3.05 after the learning rate was raised at step 1,101. Go back to step 1,100.",
            True,
        ),
        (
            "slightly worse after the learning rate",
            "Validation loss fell from 4.14 to 2.03 and was still falling at the end.",
            False,
        ),
        (
            "recovers",
            "Loss rose from 2.18 to 2.92 after the learning rate was raised at step 501. Go back to step 500.",
            True,
        ),
        (
            "overfitting",
            "Overfitting since step 350: validation loss rose from 2.31 to 3.40, training loss went from 1.79 to 0.63. "
            "Go back to step 350.",
            True,
        ),
        ("slow", "Not learning: validation loss 4.12 after 400 steps, 4.14 before. Raise the learning rate.", True),
        (
            "too fast from the start",
            "Loss rose from 3.38 to 3.75 after step 50. Go back to step 50 with a lower learning rate.",
            True,
        ),
        ("finer steps help", "Validation loss fell from 4.14 to 2.05 and was still falling at the end.", False),
        ("bigram", "Flat for the last 750 steps: validation loss 2.51.", False),
    ],
)
def test_each_recorded_run_gets_the_right_summary_at_its_end(name, sentence, trouble):
    found = judged(name, ended=True, uniform=math.log(63))
    assert (found.sentence, found.trouble) == (sentence, trouble)


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("settled", ["early", "falling"]),
        ("ruined by the learning rate", ["early", "falling", "rose after rate raised"]),
        ("slightly worse after the learning rate", ["early", "falling", "rose after rate raised", "falling"]),
        ("recovers", ["early", "falling", "rose after rate raised", "recovering"]),
        ("overfitting", ["early", "falling", "overfitting"]),
        ("bigram", ["early", "falling", "flat", "falling", "flat"]),
    ],
)
def test_the_summary_kind_changes_at_the_right_points_during_training(name, kinds):
    summary = [judged(name, until=row["step"]).kind for row in RUNS[name]["rows"]]
    assert [kind for kind, before in zip(summary, [None, *summary], strict=False) if kind != before] == kinds


def test_a_rise_after_a_raised_learning_rate_is_reported_at_the_next_measurement():
    assert judged("ruined by the learning rate", until=1100).trouble is False
    assert judged("ruined by the learning rate", until=1150).kind == "rose after rate raised"


def test_the_advised_step_to_go_back_to_has_saved_weights():
    summary = judged("ruined by the learning rate", saved=[0, 400, 1000, 1480], ended=True).sentence
    assert summary.endswith("raised at step 1,101. Go back to step 1,000.")


def test_a_setting_change_that_cannot_cause_a_rise_is_not_named():
    rows = [{"step": 100 * n, "val_loss": loss, "train_loss": loss} for n, loss in enumerate([4.1, 2.0, 2.5, 2.9])]
    changes = [SettingChange(150, "train.sample_temperature", 0.8, 1.0), SettingChange(250, RATE, 0.01, 0.1)]
    assert summarize_progress(rows, changes).kind == "rose"
    changes.insert(1, SettingChange(160, "train.batch_size", 32, 1))
    assert summarize_progress(rows, changes).kind == "rose after batch size"


def test_a_fork_with_a_small_improvement_is_not_reported_as_not_learning():
    rows = [{"step": 100 * n, "val_loss": 1.80 - 0.006 * n} for n in range(5)]
    assert not summarize_progress(rows, uniform=4.2, ended=True).trouble
    assert summarize_progress([row | {"val_loss": 1.8 + row["step"] / 100} for row in rows]).kind == "never fell"


@pytest.mark.parametrize("broken", [{"val_loss": None, "train_loss": None}, {"loss": float("nan")}, {"loss": None}])
def test_a_non_finite_loss_is_reported_with_the_last_finite_step(broken):
    rows = [*RUNS["settled"]["rows"][:5], {"step": 250} | broken]
    assert summarize_progress(rows).sentence == (
        "The loss is not a finite number after step 200. Go back to step 200 with a lower learning rate."
    )
    ended = summarize_progress(rows[:5], not_finite=True, ended=True)
    assert ended == summarize_progress(rows) and ended.trouble
    assert summarize_progress(rows[:1], not_finite=True).kind == "not finite at once"


def test_grokking_is_reported_with_the_steps_of_memorization_and_generalization():
    rows = [row for row in RunFolder(gallery_dir() / "gallery-grokking").rows("metrics") if "val_loss" in row]
    summary = summarize_progress(rows, ended=True)
    memorized, generalized = summary.milestones.values()
    assert (summary.kind, summary.trouble) == ("grokked", False)
    assert f"step {memorized:,}" in summary.sentence and f"step {generalized:,}" in summary.sentence
    before = summarize_progress([row for row in rows if row["step"] <= (memorized + generalized) / 2])
    assert (before.kind, dict(before.milestones)) == ("memorized", {"memorized": memorized})
    both = [
        row | {"train_accuracy": row["val_accuracy"]} for row in rows
    ]  # both accuracies rise together, so nothing is memorized
    assert "memorized" not in summarize_progress(both, ended=True).milestones


def test_a_run_without_measurements_is_too_early_to_judge():
    assert summarize_progress([]).kind == summarize_progress([{"step": 5, "loss": 3.2}]).kind == "early"


def test_every_summary_has_one_or_two_sentences():
    assert all(0 < sentence.count(". ") + sentence.endswith(".") <= 2 for sentence in SENTENCES.values())


def test_an_oscillating_curve_above_its_first_loss_is_reported_as_a_rise():
    """The loss fell from 5.23 to 3.70 in between, but never below its first value."""
    curve = [(0, 3.12), (50, 5.23), (100, 3.70), (150, 5.80), (200, 3.99), (250, 5.46)]
    rows = [{"step": step, "val_loss": loss, "train_loss": loss} for step, loss in curve]
    assert summarize_progress(rows, ended=True).sentence == (
        "Loss rose from 3.12 to 5.46: no measurement was below the first. Start again with a lower learning rate."
    )


def test_a_fork_that_ends_at_its_initial_loss_is_not_reported_as_falling():
    """The loss rose after the schedule restart and came back. Its first value is the parent's last one."""
    curve = [(0, 1.88), (100, 1.904), (200, 1.906), (300, 1.901), (400, 1.89)]
    summary = summarize_progress([{"step": step, "val_loss": loss} for step, loss in curve], ended=True)
    assert summary.sentence == "Validation loss ended at 1.89, about where it began (1.88)."


@pytest.mark.parametrize(
    ("ended", "sentence"),
    [
        (False, "Validation loss 2.04 after 1.95 at step 0: too few measurements to call it a rise."),
        (True, "Validation loss ended at 2.04, 0.09 higher than at the beginning."),
    ],
)
def test_a_single_higher_measurement_is_reported_as_neither_rise_nor_fall(ended, sentence):
    rows = [{"step": 0, "val_loss": 1.95}, {"step": 50, "val_loss": 2.04}]
    assert summarize_progress(rows, ended=ended).sentence == sentence


def plateau(end, saved, *, changed=None):
    """Summarize a run with its lowest loss at step 1,000, about the same until 2,000, and a high one from 2,100 on."""
    steps = range(0, end + 1, 100)
    rows = [
        {"step": step, "val_loss": 4.0 - 0.002 * step if step <= 1000 else 2.005 if step <= 2000 else 3.3}
        for step in steps
    ]
    changes = [] if changed is None else [SettingChange(changed, RATE, 0.006, 1.0)]
    return summarize_progress([row | {"train_loss": row["val_loss"]} for row in rows], changes, saved, ended=True)


def test_the_advised_step_is_the_latest_saved_one_as_good_as_the_lowest_loss():
    summary = plateau(2500, [0, 500, 1000, 1700, 2085, 2500], changed=2085)
    assert summary.sentence.endswith("raised at step 2,086. Go back to step 2,085.")
    assert (summary.back, summary.risen_after) == (2085, 2085)
    summary = plateau(2500, [0, 500, 1000, 1700, 2085, 2500])
    assert summary.sentence.endswith("after step 2,000. Go back to step 1,700 with a lower learning rate.")
    assert (summary.back, summary.risen_after) == (1700, 2000)


def test_the_best_saved_step_is_advised_if_none_is_as_good_as_the_lowest():
    assert plateau(2500, [0, 500, 2500], changed=2085).back == 500
    assert plateau(2500, [2300, 2500], changed=2085).back == 2300
    swings = [{"step": 100 * at, "val_loss": loss} for at, loss in enumerate([4, 2, 2.5, 2.6, 2.2, 2.01, 3.9, 4])]
    changes = [SettingChange(500, RATE, 0.006, 1.0)]
    assert summarize_progress(swings, changes, [100, 300], ended=True).back == 100
    assert summarize_progress(swings, changes, [100, 300, 500], ended=True).back == 500


def test_a_step_to_go_back_to_is_set_exactly_if_the_sentence_names_one():
    for name in RUNS:
        summary = judged(name, ended=True)
        assert (summary.back is not None) == ("Go back" in summary.sentence)


def test_a_rise_that_began_before_a_change_leads_back_to_before_the_rise():
    losses = [4.0, 3.0, 2.0, 2.4, 2.6, 3.5, 3.9]
    rows = [{"step": 100 * at, "val_loss": loss, "train_loss": loss} for at, loss in enumerate(losses)]
    summary = summarize_progress(rows, [SettingChange(450, RATE, 0.006, 1.0)], [100, 200, 400, 600], ended=True)
    assert summary.back == 200


def test_a_fall_below_two_decimals_is_reported_as_flat():
    rows = [{"step": 0, "val_loss": 2.001}, {"step": 50, "val_loss": 2.0}]
    assert summarize_progress(rows).sentence == "Flat for the last 50 steps: validation loss 2.00."
