import pytest

from core.config import SETTINGS, RunConfig, TrainConfig
from core.errors import ConfigError
from core.live_settings import LIVE_SETTINGS, RESTART, with_change
from core.training.schedule import learning_rate_at

CONFIG = RunConfig(train=TrainConfig(steps=100, learning_rate=1e-3, min_learning_rate=1e-4, warmup_steps=10))


def test_every_live_setting_is_a_setting():
    assert set(LIVE_SETTINGS) <= {*SETTINGS}


def test_changing_the_learning_rate_scales_its_whole_schedule():
    lower = with_change(CONFIG, "train.learning_rate", 5e-4)
    for step in range(120):
        assert learning_rate_at(step, lower.train) == pytest.approx(learning_rate_at(step, CONFIG.train) / 2)


def test_changing_the_learning_rate_scales_muons_rate_only_with_muon():
    muon = CONFIG.replace({"train.optimizer": "muon", "train.muon_learning_rate": 0.02})
    assert with_change(muon, "train.learning_rate", 5e-4).train.muon_learning_rate == pytest.approx(0.01)
    assert with_change(CONFIG, "train.learning_rate", 0.5).train.muon_learning_rate == CONFIG.train.muon_learning_rate


@pytest.mark.parametrize(
    ("muons", "wanted", "sentence"),
    [
        (0.02, 0.1, "train.learning_rate cannot be 0.1 in this run: it can be at most 0.05, because 'Muon "),
        (0.03, 0.1, "it can be at most 0.0333, because 'Muon learning rate' \\(0.03 now\\) changes"),
        (3e-5, 1e-5, "train.learning_rate cannot be 1e-05 in this run: it can be at least 3.34e-05, because 'Muon "),
    ],
)
def test_a_rate_that_would_put_muons_out_of_bounds_is_refused_with_the_possible_bound(muons, wanted, sentence):
    muon = CONFIG.replace({"train.optimizer": "muon", "train.muon_learning_rate": muons})
    with pytest.raises(ConfigError, match=sentence) as refused:
        with_change(muon, "train.learning_rate", wanted)
    bound = float(str(refused.value).partition(" at ")[2].split()[1].rstrip(","))
    along = with_change(muon, "train.learning_rate", bound).train.muon_learning_rate
    assert along == pytest.approx(1.0 if wanted > bound else 1e-6, rel=0.01)


@pytest.mark.parametrize("steps", [50, 300])
def test_changing_the_number_of_steps_leaves_earlier_rates_unchanged(steps):
    other = with_change(CONFIG, "train.steps", steps)
    assert other.train.steps == steps
    for step in range(100):
        assert learning_rate_at(step, other.train) == learning_rate_at(step, CONFIG.train)
    assert learning_rate_at(250, other.train) == 1e-4
    twice = with_change(other, "train.steps", 400)
    assert twice.train.decay_steps == 100


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_a_restarted_schedule_repeats_the_first_one_over_the_remaining_steps(schedule):
    first = CONFIG.replace({"train.schedule": schedule})
    longer = with_change(first, "train.steps", 200)
    again = with_change(longer, RESTART, 100)
    assert [learning_rate_at(100 + step, again.train) for step in range(120)] == [
        learning_rate_at(step, first.train) for step in range(120)
    ]
    short = with_change(with_change(first, "train.steps", 140), RESTART, 100)
    assert (short.train.warmup_steps, short.train.decay_steps) == (4, 0)  # a tenth, as before
    assert learning_rate_at(104, short.train) == 1e-3 and learning_rate_at(140, short.train) == 1e-4
    thrice = with_change(with_change(short, "train.steps", 240), RESTART, 140)
    assert thrice.train.warmup_steps == 10


def test_repeating_a_setting_change_has_no_effect():
    once = with_change(CONFIG, "train.learning_rate", 3e-4)
    assert with_change(once, "train.learning_rate", 3e-4) == once


@pytest.mark.parametrize(
    ("setting", "value", "sentence"),
    [
        ("model.n_layer", 6, "'model.n_layer' cannot be changed"),
        ("nonsense", 1, "'nonsense' cannot be changed"),
        ("train.learning_rate", 0.0, "train.learning_rate cannot be 0.0: it must be a number from"),
        ("train.learning_rate", "much", "train.learning_rate cannot be 'much'"),
        ("model.dropout", 1.5, "model.dropout cannot be 1.5"),
        ("train.batch_size", 2.5, "train.batch_size cannot be 2.5"),
    ],
)
def test_invalid_setting_changes_are_refused_with_the_reason(setting, value, sentence):
    with pytest.raises(ConfigError, match=sentence):
        with_change(CONFIG, setting, value)
