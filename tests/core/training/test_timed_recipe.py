import pytest

from core.errors import ConfigError
from core.training.cost import estimate
from core.training.timed_recipe import MINUTES, SHAPES, TEXTS, expected_loss, recipe_for, sized_recipe
from tests.core.training.test_cost import SPEED

CORPUS, VOCAB_SIZE = "tinyshakespeare", 65
LENGTH = TEXTS[CORPUS][1]


def seconds(config):
    return estimate(config, VOCAB_SIZE, SPEED, "float32").seconds


def for_minutes(minutes):
    return recipe_for(minutes, LENGTH, seconds).replace({"data.corpus": CORPUS})


def test_more_minutes_give_a_lower_expected_loss_and_fill_the_time_unless_dropout_changes():
    configs = [for_minutes(minutes) for minutes in MINUTES]
    losses = [expected_loss(config) for config in configs]
    for minutes, config, loss in zip(MINUTES, configs, losses, strict=True):
        taken = seconds(config) / (60 * minutes)
        longer = config.replace({"train.steps": round(1.02 * config.train.steps)})
        assert taken <= 1
        assert taken > 0.97 or expected_loss(longer) is None, "None, as its dropout would be another one"
        assert loss is not None
    assert losses == pytest.approx(sorted(losses, reverse=True), abs=1e-3) and losses[-1] < losses[0]
    assert configs[0].model.n_embd < configs[-1].model.n_embd
    read_often = [sized_recipe(shape, 10 * LENGTH, LENGTH).model.dropout for shape in SHAPES]
    assert read_often == sorted(read_often) and read_often[0] == 0 < read_often[-1], "a large model needs it earlier"


def test_a_loss_is_predicted_only_if_no_setting_that_affects_it_was_changed():
    config = for_minutes(0.5)
    loss = expected_loss(config)
    free = {"train.seed": 3, "train.eval_interval": 7, "train.precision": "float32", "preset": "mine"}
    assert expected_loss(config.replace(free)) == loss
    assert expected_loss(config.replace({"train.steps": 2 * config.train.steps})) < loss
    for change in (
        {"data.corpus": "surnames"},
        {"data.tokenizer": "byte"},
        {"model.n_layer": 5},
        {"model.token_shift": False},
        {"model.dropout": 0.5},
        {"train.learning_rate": 1e-3},
        {"train.batch_size": 5 * config.train.batch_size},
        {"model.kind": "bigram"},
    ):
        assert expected_loss(config.replace(change)) is None, change


@pytest.mark.parametrize("minutes", [0, -1, 1e9, float("nan")])
def test_invalid_minutes_are_refused(minutes):
    with pytest.raises(ConfigError, match="must be above 0"):
        recipe_for(minutes, LENGTH, seconds)


def test_too_few_minutes_are_refused_and_slow_shapes_are_left_out():
    shortest = {shape: seconds(sized_recipe(shape, 20_000, LENGTH)) for shape in SHAPES}
    with pytest.raises(ConfigError, match="the shortest run takes about"):
        recipe_for(0.9 * min(shortest.values()) / 60, LENGTH, seconds)
    assert recipe_for(1.1 * min(shortest.values()) / 60, LENGTH, seconds).model.n_embd == SHAPES[0].n_embd


def test_a_short_text_gets_a_small_model():
    assert (
        recipe_for(60, 20_000, seconds).model.n_embd == SHAPES[0].n_embd < recipe_for(60, LENGTH, seconds).model.n_embd
    )
