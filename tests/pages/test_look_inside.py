"""Look inside: without a run, during training and afterwards."""

import json

import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.config import ModelConfig
from core.model import build_model
from core.runs.weights import load_model, steps_with_weights
from core.training.checkpoints import save_weights
from explorer.services import jobs
from explorer.widgets.address import ROOT
from tests.components import wait_for_jobs


@pytest.fixture
def app(explorer_home) -> AppTest:
    return AppTest.from_file(ROOT / "pages" / "look_inside.py", default_timeout=60)


def drawn(app: AppTest, field: str) -> list[dict]:
    """Return the data of the page's components that have the field."""
    data = [json.loads(component.proto.json or "{}") for component in app.get("bidi_component")]
    return [one for one in data if field in one]


def said(app: AppTest) -> str:
    return "\n".join(str(element.value) for kind in ("markdown", "caption", "info") for element in app.get(kind))


def figures(app: AppTest) -> list[dict]:
    return [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]


def test_without_a_run_a_gallery_model_is_opened(app):
    app.run()
    assert not app.exception
    assert app.selectbox(key="inspect_run").value == "gallery-shakespeare" and "The whole model" in said(app)
    assert all("from the gallery" in option for option in app.selectbox(key="inspect_run").options)


def test_a_finished_run_opens_at_its_first_head(app, finished_run):
    app.query_params["view"] = "Attention"
    app.run()
    assert not app.exception
    (address,) = drawn(app, "query")
    assert address["query"] == f"view=Attention&run={finished_run.id}"
    assert [(bar["step"], bar["steps"]) for bar in drawn(app, "note")] == [(20, 20)]
    assert app.selectbox(key="inspect_layer").options == ["layer 1", "layer 2"]
    assert app.selectbox(key="inspect_head").options == ["head 1", "head 2"]
    assert all(clock["head"] == [0, 0] for clock in drawn(app, "saved_steps"))
    assert "Attention pattern, head 1.1" in said(app)


def test_only_a_choice_changes_the_address_and_back_restores_the_view(app, finished_run):
    app.query_params["run"] = finished_run.id
    app.run()
    assert list(app.query_params) == ["run"] and "The whole model" in said(app)
    app.segmented_control(key="inspect_view").set_value("Embeddings").run()
    assert app.query_params["view"] in ("Embeddings", ["Embeddings"])
    del app.query_params["view"]  # as the browser's Back does
    app.run()
    assert app.segmented_control(key="inspect_view").value == "Model" and "view" not in app.query_params


def test_choosing_a_head_shows_that_head(app, finished_run):
    app.query_params["view"] = "Attention"
    app.run()
    app.selectbox(key="inspect_layer").set_value(1)
    app.selectbox(key="inspect_head").set_value(1).run()
    assert not app.exception
    assert "Attention pattern, head 2.2" in said(app)
    assert all(clock["head"] == [1, 1] for clock in drawn(app, "saved_steps"))
    app.selectbox(key="inspect_head").set_value(0).run()  # the first one again
    assert "Attention pattern, head 2.1" in said(app)


def test_a_prompt_longer_than_the_context_is_cut_with_a_note(app, finished_run):
    app.query_params["view"] = "Attention"
    app.run()
    app.text_input(key="inspect_prompt").set_value("to be or not to be that is the question").run()
    assert "39 letters" in said(app) and "last 16" in said(app)
    assert "".join(drawn(app, "nobody")[0]["tokens"]) == "t·is·the·question"[-16:]


def test_unknown_characters_are_reported_and_stay_in_the_field(app, finished_run):
    app.query_params["view"] = "Attention"
    app.run()
    app.text_input(key="inspect_prompt").set_value("to 😀 be").run()
    assert not app.exception
    assert "U+1F600" in said(app).replace("\\", "")
    assert app.text_input(key="inspect_prompt").value == "to 😀 be"
    assert "".join(drawn(app, "nobody")[0]["tokens"]) == "to··be"


@pytest.mark.parametrize("prompt", ["", "😀"])
def test_a_prompt_without_known_characters_asks_for_another(app, finished_run, prompt):
    app.run()
    app.text_input(key="inspect_prompt").set_value(prompt).run()
    assert not app.exception
    assert "Type a prompt" in said(app)


def test_the_prompt_field_is_shown_only_in_views_that_use_it_and_keeps_its_text(app, finished_run):
    app.run()
    app.text_input(key="inspect_prompt").set_value("to be").run()
    for view, used in (("Losses", False), ("Heads", False), ("Embeddings", True), ("Predictions", True)):
        app.segmented_control(key="inspect_view").set_value(view).run()
        boxes = [box.value for box in app.text_input if box.key == "inspect_prompt"]
        assert boxes == (["to be"] if used else [])


def test_predictions_show_the_probability_of_every_token_of_the_prompt(app, finished_run):
    app.run()
    app.text_input(key="inspect_prompt").set_value("to be")
    app.segmented_control(key="inspect_view").set_value("Predictions").run()
    assert not app.exception
    (written,) = drawn(app, "go")
    assert [token["text"] for token in written["tokens"]] == list("o be")
    assert all(0 < token["p"] < 1 and len(token["alternatives"]) == 5 for token in written["tokens"])
    assert written["url"] is None


@pytest.mark.parametrize("method", ["PCA", "t-SNE"])
@pytest.mark.parametrize("dimensions", ["2D", "3D"])
def test_embeddings_are_drawn_with_every_method_in_2d_and_3d(app, finished_run, method, dimensions):
    app.run()
    app.segmented_control(key="inspect_view").set_value("Embeddings").run()
    app.segmented_control(key="map_method").set_value(method)
    app.segmented_control(key="map_dims").set_value(dimensions).run()
    assert not app.exception
    wait_for_jobs()  # t-SNE of all snapshots
    app.run()
    assert not app.exception
    *map_, neighbors, _positions = figures(app)
    if dimensions == "2D":
        assert not map_ and len(drawn(app, "chosen")[0]["xy"]) == len(steps_with_weights(finished_run))
    else:
        assert {trace["type"] for trace in map_[0]["data"]} == {"scatter3d"}
    assert len(neighbors["data"][0]["hovertext"]) == 8


def test_a_run_in_training_opens_at_its_newest_step_with_weights(app, running_run):
    app.query_params["run"] = running_run.id
    app.run()
    assert not app.exception
    (bar,) = drawn(app, "note")
    assert (bar["step"], bar["steps"]) == (steps_with_weights(running_run)[-1], 20)


def test_a_bigram_shows_its_table(app, finished_run):
    record = finished_run.record()
    config = record.config.model_copy(update={"model": ModelConfig(kind="bigram", block_size=8)})
    finished_run.write_record(record.model_copy(update={"config": config}))
    vocab_size = len(json.loads(finished_run.tokenizer_path.read_text())["tokens"])
    for _, path in finished_run.snapshots():
        path.unlink()
    save_weights(finished_run.weights_path, build_model(config.model, vocab_size), 20)
    app.query_params["view"] = "Table"
    app.run()
    assert not app.exception
    assert "Which token follows which?" in said(app) and "Mean difference from the counted table" in said(app)
    tables = []
    for which in ("Learned", "Counted", "Difference"):
        app.segmented_control(key="table_which").set_value(which).run()
        assert not app.exception
        tables.append(figures(app)[0]["data"][0]["text"][0][1])
    assert "learned" in tables[2] and len(set(tables)) == 3
    for view in ("Predictions", "Embeddings", "Model"):
        app.segmented_control(key="inspect_view").set_value(view).run()
        assert not app.exception and "head_ablate" not in [button.key for button in app.button]


def test_a_missing_run_is_reported_and_another_is_offered(app, finished_run):
    app.query_params["run"] = "../../etc"
    app.run()
    assert not app.exception
    assert "There is no run" in app.error[0].value
    assert app.query_params["run"] == "../../etc"
    app.button(key="take_another").click().run()
    assert not app.exception and not app.error
    assert app.query_params["run"] == finished_run.id


def test_a_misspelled_view_is_reported_and_another_is_offered(app, finished_run):
    app.query_params["view"] = "Atention"
    app.run()
    assert not app.exception
    assert "has no view 'Atention'" in app.error[0].value and app.query_params["view"] == "Atention"
    app.button(key="take_another").click().run()
    assert not app.exception and not app.error and app.query_params["view"] == "Model"


def test_a_part_in_the_address_is_opened_and_a_missing_part_is_reported(app, finished_run):
    app.query_params["part"], app.query_params["view"] = "head-2.1@3", "Attention"
    app.run()
    assert not app.exception and [app.session_state[f"inspect_{kind}"] for kind in ("layer", "head")] == [1, 0]
    app.query_params["view"] = "Model"
    app.run()
    assert not app.exception and all(clock["place"] == "head-2.1@3" for clock in drawn(app, "saved_steps"))
    app.query_params["part"] = "head-7.1"
    app.run()
    assert "This model has no part" in app.error[0].value
    assert all(clock["place"] is None for clock in drawn(app, "saved_steps"))  # so no frame with it is requested
    app.button(key="take_another").click().run()
    assert not app.exception and not app.error and "part" not in app.query_params
    assert all(clock["place"] == "" for clock in drawn(app, "saved_steps"))


def test_the_prompt_is_in_the_address_and_a_link_restores_it(app, finished_run):
    app.query_params["prompt"] = "to be"
    app.run()
    assert app.text_input(key="inspect_prompt").value == "to be"
    app.text_input(key="inspect_prompt").set_value("not to be").run()
    assert app.query_params["prompt"] == "not to be"
    app.run()
    assert app.text_input(key="inspect_prompt").value == "not to be"


def test_other_views_request_no_model_picture(app, finished_run):
    app.query_params["view"] = "Embeddings"
    app.run()
    assert all(clock["place"] is None for clock in drawn(app, "saved_steps"))


def test_a_view_that_this_model_lacks_is_reported(app, finished_run):
    app.query_params["view"] = "Table"  # for bigram models only
    app.run()
    assert not app.exception and "This model has no view Bigram table" in said(app)


def test_a_damaged_run_is_reported_in_a_sentence(app, damaged_run):
    app.run()
    assert not app.exception
    assert "damaged" in app.error[0].value


def press(app: AppTest, view: str) -> AppTest:
    """Open a section and wait for all its computations."""
    app.query_params["view"] = view
    before = None
    while before != list(jobs._jobs):  # a result may start the next computation
        before = list(jobs._jobs)
        app.run()
        wait_for_jobs()
    return app.run()


def test_heads_are_named_by_role_and_their_emergence_is_described(app, finished_run):
    press(app, "Heads")
    assert not app.exception
    assert "Heads with a clear role" in said(app) or "No head has a clear role" in said(app)
    assert "Scores of head 1.1" in said(app)
    assert "from step" in said(app) or "no head has the role" in said(app)
    board = next(figure for figure in figures(app) if len(figure["layout"].get("shapes", [])) == 4)
    assert board["data"][0]["hovertext"][0].startswith("head 1.1:")


def test_ablated_heads_change_the_loss_and_can_be_restored(app, finished_run):
    press(app, "Surgery")
    assert not app.exception
    whole = app.metric[0].value
    assert whole == f"{finished_run.status().val_loss:.3f}"  # one model at one step has one validation loss
    assert app.metric[0].label == "Validation loss (nats/token)"
    assert len(app.metric) == 1 and "Select parts to see" in said(app)
    app.button_group(key="ablated_heads").set_value(["head 1.1", "head 1.2", "head 2.1", "head 2.2"])
    press(app, "Surgery")
    assert "Without head 1.1, head 1.2" in said(app)
    assert app.metric[0].value == whole and app.metric[1].value != whole
    assert app.metric[1].delta.startswith(("+", "−"))
    app.button_group(key="ablation_method").set_value("mean")
    press(app, "Surgery")
    assert not app.exception
    app.button(key="restore_all").click()
    press(app, "Surgery")
    assert len(app.metric) == 1 and "costs most" in said(app)


def test_a_loss_on_fewer_windows_than_the_curve_is_labeled_with_their_number(app, finished_run, monkeypatch):
    monkeypatch.setattr("explorer.look_inside.ablation.WORK", 0)
    press(app, "Surgery")
    assert app.metric[0].label == "Validation loss on 16 windows (nats/token)"


def test_the_viewed_head_can_be_ablated_next_to_its_pattern_and_restored(app, finished_run):
    app.query_params["view"] = "Attention"
    app.run()
    assert not app.metric
    app.button(key="head_ablate").click().run()
    assert not app.exception and "Without head 1.1" in said(app)
    assert app.metric[0].value == f"{finished_run.status().val_loss:.3f}" and app.metric[0].delta == ""
    assert app.metric[1].delta.startswith(("+", "−"))
    assert "Both losses are of the same 64 tokens of validation text" in said(app)
    prompt = app.text_input(key="inspect_prompt").value
    assert all(code.value.startswith(prompt[:4]) for code in app.code) and len(app.code) == 2
    app.selectbox(key="inspect_head").set_value(1).run()  # another head has its own button
    assert not app.metric and app.button(key="head_ablate")
    app.selectbox(key="inspect_head").set_value(0).run()
    app.button(key="head_restore").click().run()
    assert not app.metric and app.button(key="head_ablate")


def test_an_opened_head_can_be_ablated_and_leads_to_the_ablation_view(app, finished_run):
    app.query_params["part"] = "head-2.1@3"
    app.run()
    app.button(key="head_ablate").click().run()
    assert not app.exception and "Without head 2.1" in said(app) and len(app.metric) == 2
    app.button(key="open_ablation").click().run()
    assert not app.exception and app.query_params["view"] == "Surgery"
    assert app.button_group(key="ablated_heads").value == ["head 2.1"] and "Without head 2.1" in said(app)


def test_a_head_opened_in_the_picture_is_selected_in_the_other_views(app, finished_run):
    app.query_params["part"] = "head-2.1@3"
    app.run()
    press(app, "Heads")
    assert not app.exception and "Scores of head 2.1" in said(app)
    press(app, "Surgery")
    assert app.button_group(key="ablated_heads").value == ["head 2.1"]
    app.button(key="restore_all").click()
    press(app, "Surgery")
    press(app, "Heads")
    press(app, "Surgery")  # a restored head stays restored
    assert not app.exception and not app.button_group(key="ablated_heads").value


def test_without_its_text_a_head_cannot_be_ablated_and_the_view_stays(app, finished_run, explorer_home):
    for path in (explorer_home / "texts").iterdir():
        path.unlink()
    app.query_params["view"] = "Attention"
    app.run()
    app.button(key="head_ablate").click().run()
    assert not app.exception and "can no longer be read" in app.error[0].value
    assert "Attention arcs" in said(app)  # the rest of the view


def test_without_its_text_the_ablation_view_reports_an_error(app, finished_run, explorer_home):
    for path in (explorer_home / "texts").iterdir():
        path.unlink()
    press(app, "Surgery")
    assert not app.exception
    assert any("text" in error.value for error in app.error)


def test_damaged_weights_are_reported_with_a_button_to_the_last_snapshot(app, finished_run):
    data = bytearray(finished_run.weights_path.read_bytes())
    data[-5] ^= 1
    finished_run.weights_path.write_bytes(data)
    app.run()
    assert not app.exception and not app.error  # the snapshot of the same step has the same weights
    *_, (earlier, _path), (_step, same) = finished_run.snapshots()
    same.unlink()
    app.run()
    assert not app.exception
    assert "weights.safetensors is damaged: its checksum" in app.error[0].value.replace("\\", "")
    app.button(key="show_snapshot").click().run()
    assert not app.exception and not app.error
    assert app.query_params["step"] == str(earlier) and [bar["step"] for bar in drawn(app, "note")] == [earlier]


def test_weights_that_are_not_finite_are_reported_in_a_sentence(app, finished_run):
    model = load_model(finished_run).model
    with torch.no_grad():
        model.lm_head.weight[0, 0] = float("nan")
    save_weights(finished_run.weights_path, model, 20)
    finished_run.snapshots()[-1][1].unlink()
    app.run()
    assert not app.exception
    assert "not finite (inf or nan)" in app.error[0].value.replace("\\", "")


def test_the_prompt_is_kept_separately_for_each_text(app):
    def open_run(name: str) -> str:
        app.query_params["run"] = name
        app.run()
        assert not app.exception and not app.info  # nothing was left out of the prompt
        return app.text_input(key="inspect_prompt").value

    romeo = open_run("gallery-shakespeare")
    app.text_input(key="inspect_prompt").set_value("To be").run()
    assert app.query_params["prompt"] == "To be"
    task = open_run("gallery-grokking")
    assert "=" in task and task != romeo
    key = "Each number is one character: 0 to 9 are 0 to 9, a to z are 10 to 35, A to W are 36 to 58."
    assert key in said(app).replace("\\", "")
    app.text_input(key="inspect_prompt").set_value("G+f=V").run()
    assert "G+f=V is 42 + 15 = 57." in said(app).replace("\\", "")
    app.text_input(key="inspect_prompt").set_value("1+2=").run()
    assert open_run("gallery-layers") == "To be"  # another model of the same text
    assert open_run("gallery-grokking") == "1+2="


@pytest.mark.parametrize(("run", "is_task"), [("gallery-grokking", True), ("gallery-shakespeare", False)])
def test_losses_of_a_task_have_a_note_that_only_answers_were_trained_on(app, run, is_task):
    app.query_params.update({"run": run, "view": "Losses"})
    app.run()
    assert not app.exception and ("Only answers were trained on" in said(app)) == is_task
