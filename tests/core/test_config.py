"""Configs: JSON both ways, and errors that name the field, the value and the bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import GROUPS, SETTINGS, DataConfig, ModelConfig, RunConfig, TrainConfig, used_settings
from core.errors import ConfigError
from core.presets import PRESETS, preset
from core.sampling_config import GenerationConfig
from core.settings import differences, fields_of, value_at

NUMBERS = [(path, known) for path, known in SETTINGS.items() if known.low is not None]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json_and_name_themselves(name):
    config = preset(name)
    assert RunConfig.parse(config.to_json()) == config
    assert config.preset == name


@pytest.mark.parametrize(("path", "known"), NUMBERS, ids=[path for path, _ in NUMBERS])
def test_a_number_past_its_bounds_is_refused_by_name_value_and_bounds(path, known):
    for value in (known.low - 1, known.high + 1):
        with pytest.raises(ConfigError) as error:
            RunConfig().replace({path: value})
        assert path in str(error.value) and repr(value) in str(error.value)
        assert f"from {known.low:g} to" in str(error.value)


@pytest.mark.parametrize("config", [ModelConfig, DataConfig, TrainConfig, GenerationConfig])
def test_every_setting_has_help_a_label_and_bounds_or_choices(config):
    for path, known in fields_of(config):
        assert known.help.endswith("."), path
        assert known.label, path
        if known.type in (int, float):
            assert known.low <= known.default <= known.high, path


def test_invalid_choices_unknown_settings_and_unknown_presets_are_refused():
    with pytest.raises(ConfigError, match=r"model.norm cannot be 'batch': it must be one of layer, rms, none"):
        RunConfig().replace({"model.norm": "batch"})
    with pytest.raises(ConfigError, match="no setting called 'model.depth'"):
        RunConfig().replace({"model.depth": 3})
    with pytest.raises(ConfigError, match=r"called 'model.n_layers'. Did you mean model.n_layer\? `python"):
        RunConfig().replace({"model.n_layers": 3})
    with pytest.raises(ConfigError, match="no setting called 'modell'"):
        RunConfig.parse('{"modell": {}}')
    with pytest.raises(ConfigError, match="not valid JSON"):
        RunConfig.parse('{"model": ')
    with pytest.raises(ConfigError, match="cannot be shared equally among n_head 3"):
        RunConfig().replace({"model.n_head": 3})
    with pytest.raises(ConfigError, match="There is no preset called 'gpt-5'"):
        preset("gpt-5")


@given(st.integers(1, 48), st.sampled_from(["relu", "gelu", "swiglu"]))
def test_applying_differences_reproduces_the_other_config(n_layer, activation):
    changed = RunConfig().replace({"model.n_layer": n_layer, "model.activation": activation})
    changes = differences(changed, RunConfig())
    assert RunConfig().replace(changes) == changed
    assert all(value_at(changed, path) == value for path, value in changes.items())


def test_every_setting_of_a_run_has_a_group_and_refers_to_existing_settings():
    for setting in SETTINGS.values():
        assert setting.group in GROUPS
        assert all(set(values) <= {*SETTINGS[path].choices, True} for path, values in setting.used_when.items())
        assert not setting.divides or SETTINGS[setting.divides].type is int


def test_used_settings_are_those_that_have_an_effect():
    everything = {*SETTINGS}
    pieces = {"data.vocab_size", "train.decay_share"}
    pieces |= {"model.n_expert", "model.n_expert_active", "model.expert_balance"}
    muon = {path for path in everything if "muon" in path} | pieces
    gpt = {path for path in everything if path.startswith("model.")} - {"model.kind", "model.block_size"}

    def unused(**changes):
        changes = {path.replace("__", "."): value for path, value in changes.items()}
        return everything - set(used_settings(RunConfig().replace(changes)))

    assert unused(train__optimizer="muon") == pieces
    wanted = {"data__tokenizer": "bpe", "train__schedule": "wsd", "model__mixture_of_experts": True}
    assert unused(train__optimizer="muon", **wanted) == set()
    assert unused() == muon
    assert unused(model__kind="bigram") == muon | gpt
    assert unused(model__feed_forward=False) == muon | {"model.activation", "model.mixture_of_experts"}
    assert unused(train__schedule="constant") == muon | {"train.min_learning_rate", "train.decay_steps"}
