"""Settings as widgets: bounds, positions and marks come from the config's fields."""

import pytest
from streamlit.testing.v1 import AppTest

from core.config import SETTINGS
from core.presets import PRESETS, preset
from core.settings import value_at
from explorer.widgets.forms import distinct_labels, number, positions, widget_key

NUMBERS = {path: setting for path, setting in SETTINGS.items() if setting.type in (int, float)}


@pytest.mark.parametrize("path", [path for path, setting in NUMBERS.items() if setting.in_factors])
def test_slider_positions_reach_both_bounds_and_are_all_valid(path: str):
    setting = NUMBERS[path]
    places = positions(setting)
    assert places[0] == setting.low and places[-1] == setting.high
    assert places == sorted(set(places))
    assert len(places) < 80
    for value in places:
        assert type(value) is setting.type
        if setting.step and value not in (setting.low, setting.high):
            assert value % setting.step == 0


@pytest.mark.parametrize("name", PRESETS)
def test_every_value_of_a_preset_is_a_slider_position(name: str):
    for path, setting in NUMBERS.items():
        value = value_at(preset(name), path)
        if setting.in_factors:
            assert value in positions(setting, {value})


def test_a_value_between_two_slider_positions_gets_its_own_position():
    assert 12345 in positions(NUMBERS["train.steps"], {12345})
    assert 0.000123 in positions(NUMBERS["train.learning_rate"], {0.000123})


def test_values_are_written_as_people_write_them():
    assert [number(value) for value in (2000, 1e-3, 4e-4, 0.15, 0, True, "gelu")] == [
        "2,000", "1e-3", "4e-4", "0.15", "0", "on", "gelu",
    ]  # fmt: skip


def form() -> None:
    import streamlit as st

    from core.config import SETTINGS
    from core.presets import preset
    from core.settings import value_at
    from explorer.widgets.forms import setting_input

    config = preset("gpt-tiny").replace({"model.n_layer": 6})
    base = preset("gpt-tiny")
    st.session_state["result"] = {
        path: setting_input(path, setting, value_at(config, path), value_at(base, path))
        for path, setting in SETTINGS.items()
        if path != "data.corpus"  # which the catalogue offers
    }


def test_a_form_of_every_setting_returns_the_values_and_types_of_the_config():
    app = AppTest.from_function(form).run()
    assert not app.exception
    result = app.session_state["result"]
    assert result["model.n_layer"] == 6
    assert result["model.block_size"] == 64
    assert type(result["model.dropout"]) is float
    assert type(result["model.n_embd"]) is int


def test_a_setting_that_differs_from_the_preset_is_marked():
    app = AppTest.from_function(form).run()
    assert "preset: 4" in app.slider(key=widget_key("model.n_layer")).label
    assert "preset" not in app.slider(key=widget_key("model.n_head")).label
    app.slider(key=widget_key("model.n_head")).set_value(8).run()
    assert "preset: 4" in app.slider(key=widget_key("model.n_head")).label


def test_equal_labels_are_numbered_from_the_oldest():
    labels = {"newest": "run", "other": "text", "oldest": "run"}
    assert list(distinct_labels(labels).items()) == [("newest", "run (2)"), ("other", "text"), ("oldest", "run")]
