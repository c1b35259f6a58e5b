"""Train: settings from a preset, a link or the user; refusals before a run starts; the page of a run."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.config import SETTINGS, RunConfig
from core.presets import PRESETS
from core.runs.commands import waiting_commands
from core.runs.folder import list_runs
from core.runs.queue import Queue
from core.text.own_text import save_text
from explorer.services import shared
from explorer.train.dashboard import device_label
from explorer.widgets.address import ROOT


@pytest.fixture
def app(explorer_home: Path) -> AppTest:
    return AppTest.from_file(ROOT / "pages" / "train.py", default_timeout=30)


def words_of(app: AppTest) -> str:
    kinds = ("title", "markdown", "caption", "text", "info", "warning", "error", "code")
    helps = (element.proto.help for element in app.markdown)
    return "\n".join([*(str(element.value) for kind in kinds for element in app.get(kind)), *helps])


def keys_of_buttons(app: AppTest) -> list[str]:
    return [button.key for button in app.button]


def primary_buttons(app: AppTest) -> list[str]:
    return [button.key for button in app.button if button.proto.type == "primary"]


def test_a_first_visit_can_start_a_run_and_shows_its_cost(app):
    app.run()
    assert not app.exception
    assert app.session_state["preset"] == "gpt-quick"
    assert primary_buttons(app) == ["train_start"]
    assert not app.button(key="train_start").disabled
    assert "parameters" in words_of(app) and "for training" in words_of(app)
    assert "What you will see" in words_of(app)


def test_a_preset_sets_everything_except_the_text(app):
    app.run()
    app.selectbox(key="corpus").set_value("python").run()
    app.slider(key="set-model.n_layer").set_value(7).run()
    app.radio(key="preset").set_value("gpt-tiny").run()
    assert not app.exception
    assert app.slider(key="set-model.n_layer").value == 4
    assert app.select_slider(key="set-model.n_embd").value == 128
    assert app.selectbox(key="corpus").value == "python"


def test_a_task_preset_selects_its_text_and_another_preset_restores_the_default(app):
    app.run()
    app.selectbox(key="corpus").set_value("python").run()
    app.radio(key="preset").set_value("modular-addition").run()
    assert app.selectbox(key="corpus").value == "modular-addition" and "grokking" in words_of(app)
    assert not app.button(key="train_start").disabled
    app.radio(key="preset").set_value("gpt-tiny").run()
    assert not app.exception and app.selectbox(key="corpus").value == "shakespeare"
    app.selectbox(key="corpus").set_value("repeats").run()  # its context of 64 tokens could be as short as 49
    app.select_slider(key="set-model.block_size").set_value(48).run()
    assert app.button(key="train_start").disabled
    assert "must have at least 49 tokens, not 48" in words_of(app)


def test_every_preset_has_a_short_description(app):
    drawn = app.run().radio(key="preset").proto
    assert len(drawn.captions) == len(PRESETS) and all(20 < len(words) < 65 for words in drawn.captions)


def test_a_time_budget_sets_all_settings_and_shows_the_expected_loss(app):
    app.run()
    assert "validation loss about" not in words_of(app)
    app.select_slider(key="time_budget_minutes").set_value(2).run()
    app.button(key="time_budget_apply").click().run()
    assert not app.exception and "validation loss about" in words_of(app)
    assert app.radio(key="preset").value == "gpt-fast" and not app.button(key="train_start").disabled


def test_a_bigram_has_no_layers_to_set(app):
    app.run()
    app.radio(key="preset").set_value("bigram").run()
    assert "set-model.n_layer" not in [slider.key for slider in app.slider]


def test_a_link_opens_its_settings_and_marks_those_that_differ_from_the_preset(app):
    app.query_params["preset"] = "gpt-tiny"
    app.query_params["set"] = "model.n_layer:6;train.learning_rate:0.000123"
    app.run()
    assert app.slider(key="set-model.n_layer").value == 6
    assert "preset: 4" in app.slider(key="set-model.n_layer").label
    assert app.select_slider(key="set-train.learning_rate").value == 0.000123
    assert not app.exception


def test_a_warm_up_too_long_for_the_steps_gets_a_warning_and_can_be_fitted(app):
    app.query_params["preset"] = "gpt-tiny"
    app.query_params["set"] = "train.steps:100"
    app.run()
    assert any("takes 100 of 100 steps" in warning.value for warning in app.warning)
    app.button(key="fit_schedule").click().run()
    assert not app.exception and not any("warm-up" in warning.value for warning in app.warning)
    assert "train.warmup_steps:10" in "".join(app.query_params["set"])


def test_chosen_settings_are_in_the_address(app):
    app.run()
    app.radio(key="preset").set_value("gpt-tiny").run()
    app.slider(key="set-model.n_layer").set_value(6).run()
    assert app.query_params["preset"] in ("gpt-tiny", ["gpt-tiny"])
    assert "model.n_layer:6" in str(app.query_params["set"])


def test_a_link_with_a_value_out_of_range_is_reported(app):
    app.query_params["preset"] = "gpt-tiny"
    app.query_params["set"] = "model.n_layer:600"
    app.run()
    assert not app.exception
    assert "600" in words_of(app) and "48" in words_of(app)


def test_a_number_of_heads_that_does_not_divide_the_width_cannot_start(app):
    app.run()
    app.radio(key="preset").set_value("gpt-tiny").run()
    assert app.select_slider(key="set-model.n_head").options == ["1", "2", "4", "8", "16", "32", "64"]
    app.query_params["set"] = "model.n_head:7"
    app.run()
    assert app.error and "n\\_head 7" in app.error[0].value
    assert "train_start" not in keys_of_buttons(app) or app.button(key="train_start").disabled
    app.query_params["set"] = "model.n_head:8"
    app.run()
    assert not app.button(key="train_start").disabled
    assert not app.error


def test_the_number_of_heads_is_adjusted_to_a_new_width(app):
    app.query_params.update({"preset": "gpt-tiny", "set": "model.n_head:16"})
    app.run()
    app.select_slider(key="set-model.n_embd").set_value(56).run()
    assert not app.exception and not app.error
    heads = app.select_slider(key="set-model.n_head")
    assert heads.options == ["1", "2", "4", "7", "8", "14", "28", "56"] and heads.value == 14
    assert "model.n_head:14" in str(app.query_params["set"]) and not app.button(key="train_start").disabled


def test_an_odd_head_size_under_rope_cannot_start(app):
    app.query_params.update({"preset": "gpt-tiny", "set": "model.n_embd:24;model.n_head:4"})
    app.run()
    app.selectbox(key="set-model.position").set_value("rope").run()
    app.select_slider(key="set-model.n_head").set_value(8).run()
    assert app.button(key="train_start").disabled
    assert "must be even" in app.error[0].value


def all_keys(app: AppTest) -> set[str]:
    kinds = ("slider", "select_slider", "number_input", "selectbox", "toggle")
    return {element.key for kind in kinds for element in app.get(kind) if element.key}


def test_every_setting_in_use_is_shown_in_one_of_the_groups(app):
    chosen = (
        "train.optimizer:muon;data.tokenizer:bpe;train.processes:2;train.schedule:wsd;model.mixture_of_experts:true"
    )
    app.query_params.update({"preset": "gpt-tiny", "set": chosen})
    app.run()
    assert not app.exception
    assert [tab.label for tab in app.tabs] == ["Architecture", "Attention", "Training", "Evaluation", "Machine"]
    assert {f"set-{path}" for path in SETTINGS if path != "data.corpus"} <= all_keys(app)


def test_a_hidden_setting_keeps_its_value(app):
    muon = "train.optimizer:muon;train.muon_momentum:0.9"
    app.query_params.update({"preset": "gpt-tiny", "set": f"model.n_layer:6;{muon}"})
    app.run()
    app.selectbox(key="set-train.optimizer").set_value("adamw").run()
    assert not {"set-train.muon_momentum", "set-train.muon_learning_rate"} & all_keys(app)
    app.selectbox(key="set-model.kind").set_value("bigram").run()
    assert not app.exception and "set-model.n_layer" not in all_keys(app)
    assert [tab.label for tab in app.tabs] == ["Training", "Evaluation", "Machine"]
    assert "model.n_layer:6" in str(app.query_params["set"])
    app.selectbox(key="set-model.kind").set_value("gpt").run()
    app.selectbox(key="set-train.optimizer").set_value("muon").run()
    assert app.slider(key="set-train.muon_momentum").value == 0.9
    assert app.slider(key="set-model.n_layer").value == 6


def test_the_model_diagram_follows_the_sliders(app):
    app.query_params["preset"] = "gpt-tiny"
    app.run()
    app.slider(key="set-model.n_layer").set_value(6).run()
    (drawn,) = [element.proto.body for element in app.get("html") if "model-diagram" in element.proto.body]
    assert 'role="img"' in drawn and "6 blocks with 4 heads each, width 128, context 64" in drawn


def test_a_model_too_large_for_memory_is_refused(app):
    app.query_params["preset"] = "gpt2"
    app.query_params["set"] = (
        "model.n_layer:48;model.n_head:16;model.n_embd:2048;model.block_size:2048;train.batch_size:512"
    )
    app.run()
    assert app.button(key="train_start").disabled
    assert "memory" in app.error[0].value
    assert not list_runs(shared.data_dir())


def test_a_text_shorter_than_the_context_is_refused(app, explorer_home):
    corpus = save_text("to be or not to be", "Short", explorer_home)
    app.query_params["preset"] = "gpt-tiny"
    app.query_params["set"] = f"data.corpus:{corpus.name}"
    app.run()
    assert not app.exception
    assert app.button(key="train_start").disabled
    assert app.error


def test_starting_a_run_opens_its_page(app, explorer_home):
    app.query_params["preset"] = "bigram"
    app.run()
    app.button(key="train_start").click().run()
    assert not app.exception
    (folder,) = list_runs(explorer_home)
    assert folder.record().config.preset == "bigram"
    assert folder.id in str(app.query_params["run"])
    assert "preset" not in app.query_params


@pytest.mark.parametrize(
    ("status", "buttons", "primary"),
    [
        ({"state": "queued", "step": 0}, {"train_stop"}, []),
        ({"state": "running", "step": 10}, {"train_pause", "train_step", "train_stop"}, []),
        ({"state": "paused", "step": 10}, {"train_resume", "train_step", "train_stop"}, ["train_resume"]),
        ({"state": "stopped", "step": 10}, {"train_resume", "train_generate", "train_look"}, ["train_resume"]),
        (
            {"state": "failed", "step": 10, "reason": "It *broke*."},
            {"train_resume", "train_generate", "train_look"},
            ["train_resume"],
        ),
        ({"state": "finished", "step": 20}, {"train_generate", "train_look"}, ["train_look"]),
    ],
    ids=lambda value: value["state"] if isinstance(value, dict) else "",
)
def test_the_page_of_a_run_offers_the_buttons_for_its_state(app, add_run, status, buttons, primary):
    folder = add_run(**status)
    app.query_params["run"] = folder.id
    app.run()
    assert not app.exception
    further = {"train_continue"} if status["state"] == "finished" else set()
    further |= {"train_again"} if folder.status().ended else set()
    assert set(keys_of_buttons(app)) == buttons | further | {"fork_go"}
    assert primary_buttons(app) == primary
    assert "How well does it predict" in words_of(app)
    if status["state"] == "failed":
        assert app.error[0].value == "It \\*broke\\*\\."


def test_the_device_of_a_run_is_named():
    labels = {device: device_label(RunConfig().replace({"train.device": device})) for device in ("cpu", "cuda", "mps")}
    assert labels == {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}


def test_a_waiting_run_shows_its_place_in_the_queue(app, add_run, running_run):
    runs = [running_run, *(add_run(name, state="queued", step=0) for name in ("first", "second"))]
    queue = Queue(running_run.data_dir)
    for run in runs:
        queue.put(run.id)
    assert queue.claim("me") == running_run.id
    for run, place in zip(runs, ("", "Waits at place 1 of 2: about ", "Waits at place 2 of 2: about "), strict=True):
        app.query_params["run"] = run.id
        app.run()
        drawn = [json.loads(component.proto.json) for component in app.get("bidi_component")]
        (waits,) = [data["waits"] for data in drawn if "waits" in data]
        assert waits.startswith(place) and bool(waits) == bool(place)


def test_a_finished_run_whose_loss_rose_has_an_orange_badge(app, ruined_run, finished_run):
    colors = {}
    for run in (ruined_run, finished_run):
        app.query_params["run"] = run.id
        app.run()
        (badge,) = [element.value for element in app.markdown if "-badge[● " in element.value]
        colors[run.name] = badge.split("-badge")[0].removeprefix(":")
    assert colors == {"ruined": "orange", "patient-otter": "gray"}


def test_pause_sends_a_command_to_the_worker(app, running_run):
    app.query_params["run"] = running_run.id
    app.run()
    app.button(key="train_pause").click().run()
    assert not app.exception
    assert [command.name for command in waiting_commands(running_run)] == ["pause"]


def test_markup_in_a_run_name_is_escaped(app, add_run):
    folder = add_run("<img src=x onerror=alert(1)> ![x](http://x)")
    app.query_params["run"] = folder.id
    app.run()
    (badge,) = [element.value for element in app.markdown if "img" in element.value]
    assert "\\<img" in badge and "\\!\\[x\\]" in badge


@pytest.mark.parametrize("run_id", ["20260101-000000-zzzzzzzzzzzz", "../../etc", "<script>"])
def test_a_missing_run_is_reported_with_a_button_for_a_new_one(app, run_id):
    app.query_params["run"] = run_id
    app.run()
    assert not app.exception
    assert app.error
    assert primary_buttons(app) == ["train_new"]


def test_a_damaged_run_is_reported(app, damaged_run):
    app.query_params["run"] = damaged_run.id
    app.run()
    assert not app.exception
    assert "damaged" in app.error[0].value


def test_warnings_are_below_the_start_button_and_do_not_move_it(app):
    app.query_params.update({"preset": "gpt-tiny", "set": "train.steps:100"})
    app.run()
    drawn = list(app.main)
    place = next(at for at, each in enumerate(drawn) if getattr(each, "key", "") == "train_start")
    assert drawn[place - 1].value == "## Training run"
    assert "## Estimated cost" in [each.value for each in drawn[place:] if each.type == "markdown"]
    assert any("warm-up" in each.value for each in drawn[place:] if each.type == "alert" or each.type == "warning")


def test_a_request_with_the_old_address_after_the_start_still_opens_the_new_run(app):
    app.query_params.update({"preset": "gpt-quick", "set": "train.steps:5"})
    app.run()
    app.button(key="train_start").click().run()
    run_id = app.query_params["run"]
    app.query_params.clear()
    app.query_params.update({"preset": "gpt-quick", "set": "train.steps:5"})  # the browser still had this address
    app.run()
    assert not app.exception and app.query_params["run"] == run_id
    assert "train_start" not in keys_of_buttons(app)


@pytest.mark.parametrize("address", [{}, {"run": "20260101-000000-aaaaaaaaaaaa"}, {"run": "another"}])
def test_a_started_run_stays_the_run_to_open_unless_the_address_names_another(address):
    def start_and_ask_again(address):
        import streamlit as st

        from explorer.widgets import drafts

        drafts.note_started_run("20260101-000000-aaaaaaaaaaaa")
        st.query_params.from_dict(address)
        st.text(drafts.run_to_open())

    app = AppTest.from_function(start_and_ask_again, kwargs={"address": address}).run()
    assert app.text[0].value == ("None" if "another" in address.values() else "20260101-000000-aaaaaaaaaaaa")


@pytest.mark.parametrize("drawn", [False, True])
def test_a_started_run_stays_the_run_to_open_while_its_page_is_slowly_drawn(drawn):
    def start_and_draw_for_a_minute(drawn):
        import streamlit as st

        from explorer.widgets import drafts

        drafts.note_started_run("20260101-000000-aaaaaaaaaaaa")
        begun = st.session_state["started_run"]
        st.session_state["started_run"] = begun._replace(at=begun.at - 60)
        if drawn:
            drafts.note_started_run_drawn()
        st.text(drafts.run_to_open())

    app = AppTest.from_function(start_and_draw_for_a_minute, kwargs={"drawn": drawn}).run()
    assert app.text[0].value == ("20260101-000000-aaaaaaaaaaaa" if drawn else "None")


def test_a_link_to_a_missing_text_is_reported_and_another_is_offered(app):
    app.query_params.update({"preset": "gpt-tiny", "set": "data.corpus:text-gone;train.steps:77"})
    app.run()
    assert not app.exception and "asks for the text 'text\\-gone', which is not on this machine" in app.error[0].value
    assert "text-gone" in str(app.query_params["set"]) and not app.selectbox
    app.button(key="take_another").click().run()
    assert not app.exception and not app.error
    assert app.selectbox(key="corpus").value == "shakespeare" and "train.steps:77" in str(app.query_params["set"])


def test_a_link_to_a_missing_preset_is_reported(app):
    app.query_params["preset"] = "gpt-tinny"
    app.run()
    assert not app.exception and "There is no preset called 'gpt\\-tinny'" in app.error[0].value
