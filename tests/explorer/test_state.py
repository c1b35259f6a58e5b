"""Draft settings survive the round trip through an address; wrong addresses are refused in sentences."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from streamlit.testing.v1 import AppTest

from core.errors import ConfigError
from core.formatting import whole_number
from core.presets import PRESETS, preset
from core.settings import fields_of
from explorer.widgets.address import address_of, config_from, page_file, query_for

CHANGES = {
    "model.n_layer": st.integers(1, 48),
    "model.dropout": st.floats(0, 0.9),
    "model.causal": st.booleans(),
    "model.norm": st.sampled_from(["layer", "rms", "none"]),
    "data.corpus": st.from_regex(r"[a-z0-9][a-z0-9-]{0,63}", fullmatch=True),
    "train.learning_rate": st.floats(1e-6, 1.0),
    "train.seed": st.integers(0, 2**31 - 1),
}


@given(st.sampled_from(list(PRESETS)), st.fixed_dictionaries({}, optional=CHANGES))
def test_any_config_survives_the_round_trip_through_an_address(name, changes):
    try:
        config = preset(name).replace(changes)
    except ConfigError:  # incompatible settings
        assume(False)
    assert config_from(address_of(config)) == config


def test_an_untouched_preset_has_a_short_address():
    assert address_of(preset("gpt-tiny")) == {"preset": "gpt-tiny"}


def test_an_address_without_settings_gives_no_config():
    assert config_from({}) is None
    assert config_from({"run": "x", "preset": "", "set": ""}) is None


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"preset": "gpt-9"}, "gpt-9"),
        ({"set": "model.n_layer"}, "model.n_layer:6"),
        ({"set": "model.n_layer:0"}, "from 1 to 48"),
        ({"set": "model.n_layer:<script>"}, "model.n_layer"),
        ({"set": "model.wings:2"}, "no setting called 'model.wings'"),
        ({"set": "data.corpus:../../x"}, "data.corpus"),
        ({"set": "train.learning_rate:NaN"}, "train.learning_rate"),
        ({"set": "train.learning_rate:1e999"}, "train.learning_rate"),
        ({"set": f"train.steps:{'9' * 6000}"}, "train.steps"),
    ],
)
def test_a_wrong_address_is_refused_in_a_sentence(query, sentence):
    with pytest.raises(ConfigError) as raised:
        config_from(query)
    assert sentence in str(raised.value)


def test_every_choice_of_every_setting_survives_the_address():
    config = preset("gpt-quick")
    for path, setting in fields_of(type(config)):
        if setting.choices:
            for choice in setting.choices:
                changed = config.replace({path: choice})
                assert config_from(address_of(changed)) == changed


def test_pages_are_found_by_name_and_by_path():
    assert page_file("train") == page_file("pages/train.py") == page_file(page_file("train"))


def test_a_query_contains_the_run():
    assert query_for("abc") == {"run": "abc"} and query_for(None) == {}


def _tickets():
    import streamlit as st

    from explorer.widgets import session

    number, done = session.ticket("start"), []
    st.text(f"{number == session.ticket('start')} {session.click_result('start')}")
    for _time in range(2):
        session.do_once(number, lambda: done.append("work") or "result")
    st.text(f"{session.click_result('start')} {session.click_result('start')} {done}")
    session.forget_click("start")
    st.text(f"{session.ticket('start') != number} {session.click_result('start')}")


def test_a_click_does_its_work_once_and_the_next_click_gets_a_new_ticket():
    texts = [text.value for text in AppTest.from_function(_tickets).run().text]
    assert texts == ["True None", "result result ['work']", "True None"]


def _refused():
    import streamlit as st

    from core.errors import RunError
    from explorer.widgets import session

    def work() -> None:
        raise RunError("no disk space")

    session.do_once(session.ticket("start"), work)
    with session.notifying():
        session.click_result("start")
    st.text(f"{session.take_notice()} {session.click_result('start')}")


def test_an_error_after_a_click_is_shown_once():
    assert AppTest.from_function(_refused).run().text[0].value == "no disk space None"


def _clicked_twice():
    import threading

    import streamlit as st

    from explorer.widgets import session

    number, working, go_on = session.ticket("start"), threading.Event(), threading.Event()

    def work() -> str:
        working.set()
        go_on.wait(30)
        return "the run"

    first = threading.Thread(target=session.do_once, args=(number, work))
    first.start()
    working.wait(30)
    threading.Timer(0, go_on.set).start()
    session.do_once(number, lambda: "another run")  # the second click arrives while the first is at work
    st.text(session.click_result("start"))
    first.join()


def test_a_second_click_waits_for_the_result_of_the_first():
    assert AppTest.from_function(_clicked_twice).run().text[0].value == "the run"


def _ended_at_work():
    import threading
    from contextlib import suppress

    import streamlit as st
    from streamlit.runtime.scriptrunner import StopException

    from explorer.widgets import session

    number, working, go_on = session.ticket("start"), threading.Event(), threading.Event()

    def work() -> str:
        working.set()
        go_on.wait(30)
        raise StopException

    def click() -> None:
        with suppress(StopException):
            session.do_once(number, work)

    first = threading.Thread(target=click)
    first.start()
    working.wait(30)
    threading.Timer(0, go_on.set).start()
    session.do_once(number, lambda: "the run")  # the second click, for which Streamlit interrupted the first
    st.text(session.click_result("start"))
    first.join()


def test_a_second_click_does_the_work_if_the_first_was_interrupted():
    assert AppTest.from_function(_ended_at_work).run().text[0].value == "the run"


def _draft():
    import streamlit as st

    from explorer.widgets import drafts

    st.text(drafts.draft().preset)
    drafts.keep_draft(drafts.draft().replace({"model.n_layer": 5}))
    st.text(str(drafts.draft().model.n_layer))


def test_the_draft_comes_from_the_address_and_stays_with_the_visitor():
    app = AppTest.from_function(_draft)
    app.query_params["preset"] = "gpt-tiny"
    app.run()
    assert [text.value for text in app.text] == ["gpt-tiny", "5"]
    assert app.query_params == {"preset": "gpt-tiny", "set": "model.n_layer:5"}
    app.query_params.clear()
    assert [text.value for text in app.run().text] == ["gpt-tiny", "5"]


def _view():
    import streamlit as st

    from explorer.widgets import address

    before = address.parameter(address.RUN)
    address.view_run("some-run")
    st.text(f"{before} {address.parameter(address.RUN)}")
    address.view_run(None)
    st.text(str(address.parameter(address.RUN)))


def test_the_viewed_run_is_in_the_address():
    app = AppTest.from_function(_view)
    app.query_params["run"] = "another"
    app.run()
    assert [text.value for text in app.text] == ["another some-run", "None"] and "run" not in app.query_params


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("999999999", 999_999_999), ("", None), ("9" * 5000, None), ("-1", None), ("²", None), ("٣", None)],
)
def test_a_number_in_an_address_has_ascii_digits_and_a_bounded_length(text, number):
    assert whole_number(text) == number


def test_deeply_nested_json_in_an_address_is_refused_in_a_sentence():
    for value in ("[" * 100_000, "9" * 5000):
        with pytest.raises(ConfigError, match="model.n_layer cannot be"):
            config_from({"set": f"model.n_layer:{value}"})
