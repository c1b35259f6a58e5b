"""Controlling runs from the page: live settings, continuing, forks, single steps, and recovery from failures."""

import json
import shutil
import time

import pytest
from streamlit.testing.v1 import AppTest

from core.live_settings import RESTART, SettingChange
from core.runs.ancestry import fork, fork_config, new_run
from core.runs.commands import requested_changes, setting_changes, waiting_commands, write_setting_change
from core.runs.folder import RunFolder, list_runs
from core.runs.records import Status, StepDetail
from core.text.tokenizers import load_tokenizer
from explorer.i18n.formatting import look_in_words, part_in_words
from explorer.streaming.run_events import read_step_detail
from explorer.train.forks import losses_about, nearest_saved_step, usual_steps
from explorer.widgets.address import NAVIGATION, address_of


def train_page() -> AppTest:
    """Return the training page within the app, because it links to other pages."""
    return AppTest.from_file(NAVIGATION, default_timeout=60).switch_page("../pages/train.py")


@pytest.fixture
def app(explorer_home) -> AppTest:
    return train_page()


def board_of(app: AppTest, folder: RunFolder) -> AppTest:
    app.query_params["run"] = folder.id
    app.run()
    assert not app.exception
    return app


def words_of(app: AppTest) -> str:
    kinds = ("markdown", "caption", "text", "info", "warning", "error")
    helps = (element.proto.help for element in app.markdown)
    return "\n".join([*(str(element.value) for kind in kinds for element in app.get(kind)), *helps]).replace("\\", "")


def keys_of(app: AppTest) -> set[str]:
    kinds = ("button", "slider", "select_slider", "number_input", "selectbox")
    return {element.key for kind in kinds for element in app.get(kind) if element.key}


def until(condition, what: str, seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s in vain for {what}"
        time.sleep(0.02)


def test_every_live_setting_is_shown_during_training(app, running_run):
    names = ("learning_rate", "dropout", "batch_size", "sample_temperature", "eval_interval", "steps")
    assert {f"setting_{name}" for name in names} <= keys_of(board_of(app, running_run))


def test_a_bigram_has_no_live_setting_for_dropout(app, running_run, explorer_home):
    config = running_run.record().config.replace({"model.kind": "bigram"})
    keys = keys_of(board_of(app, RunFolder.create(explorer_home, config)))
    assert "setting_dropout" not in keys and "setting_batch_size" in keys


def test_changing_a_live_setting_requests_it_from_the_worker_and_keeps_the_slider(app, running_run):
    board_of(app, running_run).slider(key="setting_dropout").set_value(0.2).run()
    assert not app.exception
    assert requested_changes(running_run) == [("model.dropout", 0.2)]
    assert app.slider(key="setting_dropout").value == 0.2 and "initially: 0" in app.slider(key="setting_dropout").label


def test_live_settings_follow_changes_made_by_others(app, running_run):
    board_of(app, running_run)
    write_setting_change(running_run, SettingChange(10, "model.dropout", 0.0, 0.35), "someone")
    app.run()
    assert app.slider(key="setting_dropout").value == 0.35


def test_a_last_step_before_the_current_step_is_refused(app, running_run):
    board_of(app, running_run)
    running_run.write_status(running_run.status().model_copy(update={"step": 15}))
    app.number_input(key="setting_steps").set_value(12).run()
    assert not app.exception
    assert "step 15" in words_of(app) and not requested_changes(running_run)
    assert app.number_input(key="setting_steps").value == 20


def test_a_finished_run_is_continued_for_more_steps(app, finished_run):
    board_of(app, finished_run).number_input(key="continue_steps-20").set_value(7).run()
    app.button(key="train_continue").click().run()
    assert not app.exception
    until(lambda: finished_run.status().state == "finished" and finished_run.status().step == 27, "27 steps")
    assert [row["step"] for row in finished_run.rows("metrics") if "val_loss" in row] == [0, 10, 20, 27]
    app.run()
    assert app.number_input(key="continue_steps-27").value == 100  # the default, not the seven entered before
    finished_run.write_status(finished_run.status().model_copy(update={"step": 700, "steps": 700}))
    app.run()
    assert not app.exception and app.number_input(key="continue_steps-700").value == 400
    assert [change.setting for change in setting_changes(finished_run)] == ["train.steps"]


def test_a_finished_run_can_restart_its_schedule_and_both_rate_curves_are_shown(app, finished_run):
    record = finished_run.record()
    config = record.config.replace({"train.warmup_steps": 4})
    finished_run.write_record(record.model_copy(update={"config": config}))
    board_of(app, finished_run)
    choice = app.radio(key="continue_schedule")
    assert choice.options == ["Stay at 1e-4", "Restart the schedule"] and choice.value == "stay"
    figure = json.loads(app.get("plotly_chart")[-1].proto.spec)
    curves = {trace["name"]: trace for trace in figure["data"]}
    assert set(curves) == {"so far", "Stay at 1e-4", "Restart the schedule"}
    choice.set_value("restart")
    app.number_input(key="continue_steps-20").set_value(20)
    app.button(key="train_continue").click().run()  # one request with all three changes, as on a busy machine
    assert not app.exception
    until(lambda: finished_run.status().state == "finished" and finished_run.status().step == 40, "40 steps")
    assert setting_changes(finished_run)[-1] == SettingChange(20, RESTART, 0, 20)
    rates = {row["step"]: row["lr"] for row in finished_run.rows("metrics") if "lr" in row}
    assert rates[26] > 9e-4 and rates[40] < 2e-4


def test_continuing_restarts_a_schedule_that_has_reached_zero_by_default(app, finished_run):
    record = finished_run.record()
    config = record.config.replace({"train.warmup_steps": 4, "train.min_learning_rate": 0.0})
    finished_run.write_record(record.model_copy(update={"config": config}))
    board_of(app, finished_run)
    choice = app.radio(key="continue_schedule")
    assert choice.options[0] == "Stay at 0" and choice.value == "restart"


def test_the_continue_button_of_a_stale_page_adds_no_steps(app, finished_run):
    board_of(app, finished_run)
    gone_on = {"state": "finished", "step": 40, "steps": 40, "attempt": finished_run.status().attempt + 1}
    finished_run.write_status(finished_run.status().model_copy(update=gone_on))
    app.button(key="train_continue").click().run()
    assert not app.exception
    assert "has changed since the page was drawn: it is finished at step 40." in words_of(app)
    assert finished_run.status().steps == 40 and waiting_commands(finished_run) == []


def test_a_stopped_run_offers_resume_and_not_continue(app, add_run):
    folder = add_run(state="stopped", step=10)
    keys = keys_of(board_of(app, folder))
    assert "train_resume" in keys and "train_continue" not in keys and "setting_steps" in keys


def test_a_fork_starts_from_the_chosen_step_with_its_parents_architecture(app, finished_run, explorer_home):
    steps = [step for step, _ in finished_run.snapshots()]
    assert board_of(app, finished_run).selectbox(key="fork_step").value == 20
    changed = fork_config(finished_run).replace({"train.learning_rate": 0.0005})
    setup = train_page()
    link = {"fork": finished_run.id, "step": str(steps[1])} | address_of(changed)
    for key, value in link.items():
        setup.query_params[key] = value
    setup.run()
    assert not setup.exception
    assert f"at step **{steps[1]}**" in words_of(setup) and "architecture is fixed" in words_of(setup)
    assert "set-model.n_layer" not in keys_of(setup) and "set-model.dropout" in keys_of(setup)
    assert "parent: 1e-3" in setup.select_slider(key="set-train.learning_rate").label
    setup.button(key="train_start").click().run()
    assert not setup.exception
    (new,) = [folder for folder in list_runs(explorer_home) if folder.id != finished_run.id]
    record = new.record()
    assert (record.parent, record.parent_step) == (finished_run.id, steps[1])
    assert record.config.train.learning_rate == 0.0005 and record.config.model == finished_run.record().config.model
    assert "fork" not in setup.query_params and "step" not in setup.query_params
    assert "Started from step" in words_of(board_of(app, new))


def test_a_fork_of_a_run_whose_loss_rose_starts_before_the_rise_by_default(app, ruined_run):
    shutil.copyfile(ruined_run.snapshot_path(20), ruined_run.snapshot_path(40))
    box = board_of(app, ruined_run).selectbox(key="fork_step")
    assert box.value == 20 and box.options[-1] == "step 40 · loss 5.50 (increased)"
    advice = "after the learning rate was raised at step 21. Go back to step 20."
    before = [warning.value for warning in app.warning]
    app.selectbox(key="fork_step").set_value(40).run()
    assert not app.exception
    assert len([one.value for one in app.warning if advice in one.value]) == len(before) + 1
    setup = train_page()
    setup.query_params["fork"] = ruined_run.id
    setup.run()
    assert "at step **20**" in words_of(setup) and not setup.warning
    setup.query_params["step"] = "40"
    setup.run()
    assert not setup.exception and advice in setup.warning[0].value


def test_a_fork_starts_with_the_settings_in_effect_at_its_step(explorer_home, finished_run):
    write_setting_change(finished_run, SettingChange(10, "train.learning_rate", 1e-3, 3e-3), "someone")
    assert fork_config(finished_run, 10).train.learning_rate == 1e-3
    late = fork_config(finished_run, 20)
    assert late.train.learning_rate == 3e-3 and "00000" not in str(address_of(late))


def test_a_typed_step_without_weights_becomes_the_nearest_saved_step():
    for typed in ("1,000", "1000", "step 1 000"):
        message = "No weights are saved for step 1,000; the nearest are those of step 869."
        assert nearest_saved_step(typed, [0, 456, 869, 1200]) == (869, message)
    assert nearest_saved_step("1,200", [0, 456, 869, 1200]) == (1200, "")
    assert nearest_saved_step("the last", [0, 456])[0] == 456


def test_a_fork_trains_to_its_parents_last_step_or_half_as_long_again_by_default(app, finished_run):
    step = [step for step, _ in finished_run.snapshots()][1]
    assert board_of(app, finished_run).number_input(key="fork_steps").value == 100
    app.selectbox(key="fork_step").set_value(step).run()
    assert app.number_input(key="fork_steps").value == 20 - step
    assert usual_steps(Status(state="finished", step=1200, steps=1200), 1200) == 600


def test_saved_steps_are_listed_with_a_validation_loss_measured_nearby():
    rows = [{"step": 0, "val_loss": 4.0}, {"step": 9, "loss": 3.0}, {"step": 50, "loss": 2.4, "val_loss": 2.5}]
    assert losses_about(rows, [0, 10, 30, 51]) == {0: 4.0, 10: 3.0, 51: 2.5}


def test_only_an_active_run_offers_to_restore_a_setting(app, finished_run, running_run):
    for run in (finished_run, running_run):
        write_setting_change(run, SettingChange(10, "model.dropout", 0.0, 0.2), "someone")
        drawn = [json.loads(component.proto.json) for component in board_of(app, run).get("bidi_component")]
        assert [data["ended"] for data in drawn if "waiting" in data] == [run is finished_run]


def test_the_page_shows_the_current_learning_rate_of_a_run_with_its_peak(app, running_run):
    drawn = [json.loads(component.proto.json) for component in board_of(app, running_run).get("bidi_component")]
    rate = {"run": running_run.id, "peak": 1e-3}
    assert any(rate.items() <= data.items() for data in drawn)


def test_a_fork_of_a_step_without_weights_is_refused_in_a_sentence(app, finished_run):
    app.query_params["fork"], app.query_params["step"] = finished_run.id, "19"
    app.run()
    assert not app.exception
    assert "has no saved weights for step 19" in words_of(app) and "preset" in {one.key for one in app.radio}


def test_a_fork_of_a_run_that_still_waits_is_refused_in_a_sentence(app, finished_run):
    waiting = new_run(finished_run.data_dir, finished_run.record().config, "waiting")
    app.query_params["fork"] = waiting.id
    app.run()
    assert not app.exception and "has no saved weights yet" in words_of(app)


def test_a_planned_fork_can_be_changed_to_a_run_from_scratch(app, finished_run):
    app.query_params["fork"] = finished_run.id
    app.run()
    app.button(key="fork_leave").click().run()
    assert not app.exception
    assert "fork" not in app.query_params and "set-model.n_layer" in keys_of(app)


def test_fitting_the_schedule_of_a_fork_does_not_change_the_draft_of_a_new_run(app, finished_run):
    app.query_params["fork"] = finished_run.id
    app.query_params["set"] = "train.steps:60;train.warmup_steps:60"
    app.run()
    app.button(key="fit_schedule").click().run()
    assert not app.exception and "train.warmup_steps:6" in "".join(app.query_params["set"])
    assert "draft_config" not in app.session_state


def test_the_table_of_runs_names_the_parent_and_step_of_a_fork(app, explorer_home, finished_run):
    fork(explorer_home, finished_run, 20, fork_config(finished_run), name="child")
    page = app.switch_page("../pages/runs.py").run()
    assert not page.exception
    assert list(page.dataframe[0].value["Branched from"]) == ["step 20 of patient-otter", ""]


def test_a_loss_that_is_not_finite_is_explained_and_a_fork_with_a_lower_rate_is_offered(app, add_run, explorer_home):
    folder = add_run(state="failed", step=12, reason="The loss is not finite.", problem="not_finite")
    assert "Probable cause" in words_of(board_of(app, folder))
    assert app.button(key="trouble_slower").proto.type == "primary"
    assert app.button(key="train_resume").proto.type != "primary"
    app.button(key="trouble_slower").click().run()
    assert not app.exception
    (new,) = [other for other in list_runs(explorer_home) if other.id != folder.id]
    assert new.record().config.train.learning_rate == pytest.approx(
        folder.record().config.train.learning_rate / 3, 0.02
    )
    assert new.record().parent == folder.id and new.id in str(app.query_params["run"])


def test_a_run_out_of_memory_offers_its_settings_with_half_the_batch_size(app, add_run):
    folder = add_run(state="failed", step=12, reason="There was not enough memory.", problem="memory")
    board_of(app, folder).button(key="trouble_smaller").click().run()
    assert not app.exception
    assert "train.batch_size:2" in str(app.query_params["set"])


def test_the_notice_and_the_reason_of_a_paused_run_are_shown(app, add_run):
    folder = add_run(state="paused", step=12, notice="Paused: the disk is *nearly* full.", reason="It waits for room.")
    board_of(app, folder)
    assert [one.value.replace("\\", "") for one in app.info] == [
        "Paused: the disk is *nearly* full.",
        "It waits for room.",
    ]
    assert not app.error


def test_the_reason_of_a_stopped_run_is_in_its_status(app, add_run):
    folder = add_run(state="stopped", step=12, reason="Stopped by hand at step 12.")
    board_of(app, folder)
    (numbers,) = [each for each in app.get("bidi_component") if '"view":"status"' in each.proto.json.replace(" ", "")]
    assert "Stopped by hand at step 12." in numbers.proto.json and not app.info


def test_the_details_of_a_single_step_are_shown_until_the_run_has_ended(app, add_run):
    folder = add_run(state="paused", step=12)
    ids = [1, 2, 3, 4]
    folder.write_step_detail(
        StepDetail(
            step=12,
            loss=2.0,
            batch_size=4,
            inputs=[ids[:3]],
            targets=[ids[1:]],
            losses=[[0.5, 2.0, None]],
            gradient_norms={"wte": 0.5, "h.0.attn": 0.25},
            weight_norms={"wte": 3.0, "h.0.attn": 2.0},
        )
    )
    message = read_step_detail(folder)
    tokens = load_tokenizer(folder.tokenizer_path).tokens
    assert "".join(message["sequences"][0]["tokens"]).replace("·", " ").replace("⏎", "\n") == "".join(
        tokens[id] for id in ids
    )
    assert [part["name"] for part in message["parts"]] == ["tokens", "layer 1, attention"]
    assert "live_step_detail_view" in str(board_of(app, folder).main)
    folder.write_status(folder.status().model_copy(update={"state": "finished"}))
    assert "live_step_detail_view" not in str(app.run().main)


def test_a_step_detail_with_unknown_tokens_is_ignored(add_run):
    folder = add_run()
    lists = {"inputs": [[10**6]], "targets": [[1]], "losses": [[1.0]]}
    folder.write_step_detail(StepDetail(step=1, loss=1.0, batch_size=1, gradient_norms={}, weight_norms={}, **lists))
    assert read_step_detail(folder) is None


def test_the_page_of_a_run_shows_precision_and_threads(app, finished_run):
    finished_run.update_record(precision="bfloat16", threads=2)
    assert "It computes in bfloat16 with 2 threads." in words_of(board_of(app, finished_run))


def test_the_attention_question_of_a_model_without_causal_mask_covers_all_letters(app, running_run):
    record = running_run.record()
    config = record.config.replace({"model.causal": False})
    running_run.write_record(record.model_copy(update={"config": config}))
    assert "Which letters does each letter attend to?" in words_of(board_of(app, running_run))
    assert look_in_words(True) == "Which earlier letters does each letter attend to?"


def test_parts_of_the_model_are_named_in_words():
    assert part_in_words("h.3.mlp") == "layer 4, MLP"
    assert part_in_words("wpe") == "positions" and part_in_words("new_part") == "new_part"


def test_the_page_shows_current_and_initial_settings_of_a_continued_run(app, finished_run):
    write_setting_change(finished_run, SettingChange(20, "train.steps", 20, 40), "someone")
    words = words_of(board_of(app, finished_run))
    assert "initially: 20" in words and "**40**" in words
    assert "Each text continues the prompt “⏎”, with the same random seed." in words
