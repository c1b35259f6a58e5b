"""Runs: the table, differing settings, curves, renaming and deleting."""

import json
import math

import pytest
from streamlit.testing.v1 import AppTest

from core.config import RunConfig
from core.paths import data_dir
from core.runs.ancestry import new_run
from core.runs.folder import list_runs
from core.runs.worker import train_run
from explorer.runs.table import table_key
from explorer.services.model_files import EXPORTS
from explorer.widgets.address import NAVIGATION
from explorer.widgets.run_rows import differing_settings, read_run_rows


@pytest.fixture
def page(explorer_home) -> AppTest:
    return AppTest.from_file(NAVIGATION, default_timeout=30).switch_page("../pages/runs.py")


def pick(page: AppTest, *rows: int) -> AppTest:
    """Tick rows of the table, counted from the top."""
    page.run()
    page.session_state[table_key(read_run_rows(data_dir()))] = {
        "selection": {"rows": list(rows), "columns": [], "cells": []}
    }
    return page.run()


def test_without_runs_the_page_offers_to_start_one_and_lists_the_gallery(page):
    page.run()
    assert not page.exception and "empty_state_go" in [button.key for button in page.button]
    assert {text.value for text in page.text} >= {"Shakespeare", "Induction heads"}  # the gallery


def test_a_gallery_model_has_a_board_without_live_settings(page):
    page.query_params["run"] = "gallery-induction"
    page.switch_page("../pages/train.py").run()
    assert not page.exception and "Induction heads" in "".join(element.value for element in page.markdown)
    assert "live_settings" not in [toggle.key for toggle in page.toggle]


def test_every_run_has_a_row_in_the_table(page, finished_run, running_run, damaged_run):
    page.run()
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["Name"]) == [damaged_run.id, "busy-bee", "patient-otter"]
    assert list(table["State"]) == ["damaged", "training", "finished"]
    assert list(table["Step"]) == ["", "10 / 20", "20 / 20"]
    assert list(table["Text"])[1:] == ["Two lines of Hamlet"] * 2
    for name, label in (("train", "Open"), ("look_inside", "Look inside"), ("generate", "Generate")):
        assert list(table[name].fillna("")) == ["", label, label]


def test_the_columns_shown_first_fit_in_a_window_of_1280_pixels(page, add_run):
    _first, second = add_run("one"), add_run("a name as long as names become")
    record = second.record()
    second.write_record(record.model_copy(update={"config": record.config.replace({"model.dropout": 0.25})}))
    page.run()
    table = page.dataframe[0].proto
    widths = {name: look.get("width") for name, look in json.loads(table.columns).items()}
    assert sum(widths[name] for name in table.column_order) <= 930 and "Validation loss" in table.column_order
    hidden = len(page.dataframe[0].value.columns) - len(table.column_order)
    assert f"The eye above the table shows {hidden} more columns." in [caption.value for caption in page.caption]


def test_a_damaged_run_is_named_in_a_warning(page, damaged_run):
    page.run()
    assert damaged_run.id in page.warning[0].value.replace("\\", "")


def test_only_settings_that_differ_are_columns(page, add_run):
    first, second = add_run("one"), add_run("two")
    page.run()
    assert "Layers" not in page.dataframe[0].value
    record = second.record()
    second.write_record(record.model_copy(update={"config": record.config.replace({"model.dropout": 0.25})}))
    page.run()
    table = page.dataframe[0].value
    assert list(table["Dropout"]) == ["0.25", "0"] and "Layers" not in table
    assert differing_settings([first.record().config, second.record().config]) == {"model.dropout": [0.0, 0.25]}


def test_a_setting_without_effect_is_not_listed():
    for changes, listed in (
        ({"data.tokenizer": "bpe", "data.vocab_size": 1024}, {"data.tokenizer": ["char", "bpe"]}),
        ({"train.optimizer": "muon", "train.muon_momentum": 0.8}, {"train.optimizer": ["adamw", "muon"]}),
        ({"model.kind": "bigram", "model.n_layer": 2, "model.dropout": 0.5}, {}),
        ({"train.muon_momentum": 0.8, "data.vocab_size": 300}, {}),
    ):
        assert differing_settings([RunConfig(), RunConfig().replace(changes)]) == listed


def test_without_a_selection_the_curves_of_all_runs_are_drawn(page, add_run):
    add_run("one"), add_run("two")
    page.run()
    assert not page.exception and len(page.get("plotly_chart")) == 1
    below = [element.value for element in page.markdown]
    assert below.index("## Validation loss") < below.index("## Gallery"), "the curves are next to the table"


def test_a_gallery_model_can_be_added_to_the_comparison(page, add_run):
    add_run("one"), add_run("two")
    pick(page, 0)
    assert not any("learned best" in caption.value for caption in page.caption)
    page.checkbox(key="compare_gallery-bigram").check().run()
    assert not page.exception and any("learned best" in caption.value for caption in page.caption)
    figure = json.loads(page.get("plotly_chart")[0].proto.spec)
    drawn = {curve["name"]: curve["line"]["color"] for curve in figure["data"] if curve.get("name")}
    assert list(drawn) == ["two", "Shakespeare, bigram"] and len({*drawn.values()}) == 2
    settings = page.dataframe[1].value
    assert "Model" in list(settings["Setting"]) and {"two", "Shakespeare, bigram"} <= {*settings}
    assert len(page.code) == 2  # the newest samples
    highest = max(value for curve in figure["data"] if curve.get("name") for value in curve["y"])
    assert figure["layout"]["yaxis"]["range"][1] < highest
    assert any(f"up to {highest:.2f}, lie above" in caption.value for caption in page.caption)
    page.segmented_control(key="compare_over").set_value("seconds").run()
    assert not page.exception and any("no training times" in caption.value for caption in page.caption)


def test_runs_and_home_show_that_the_loss_of_a_run_rose(page, ruined_run, add_run):
    add_run("sound")
    page.run()
    shown = dict(zip(page.dataframe[0].value["Name"], page.dataframe[0].value["Training"], strict=True))
    assert shown["sound"] == "" and shown["ruined"] == "loss rose after step 21"
    page.switch_page("../pages/home.py").run()
    assert not page.exception
    advice = "raised at step 21. Go back to step 20."
    assert [one.value.endswith(f"{advice}]]") for one in page.markdown if ":small[:orange[" in one.value] == [True]


def test_runs_are_listed_newest_first(explorer_home, finished_run, running_run):
    rows = read_run_rows(explorer_home)
    assert [row.name for row in rows] == ["busy-bee", "patient-otter"]
    assert [row.going_on for row in rows] == [True, False]


def test_a_selected_run_can_be_renamed(page, add_run):
    add_run("one")
    second = add_run("two")
    pick(page, 0)
    page.text_input(key=f"rename_to_{second.id}").set_value("  ../../x <b> ")
    next(button for button in page.button if button.label == "Save").click().run()
    assert not page.exception
    assert second.name == "../../x <b>" and [row.name for row in read_run_rows(data_dir())] == ["../../x <b>", "one"]
    assert list(page.dataframe[0].value["Name"]) == ["../../x <b>", "one"]


def test_a_stale_form_does_not_rename_a_run_that_was_renamed_elsewhere(page, finished_run):
    pick(page, 0)
    finished_run.rename("by another tab")
    page.text_input(key=f"rename_to_{finished_run.id}").set_value("mine")
    page.button[[button.label for button in page.button].index("Save")].click().run()
    assert not page.exception and finished_run.name == "by another tab"


def test_selected_runs_are_deleted_after_a_confirmation(page, add_run, explorer_home):
    kept, first, second = add_run("kept"), add_run("one"), add_run("two")
    pick(page, 0, 1)
    page.button(key="run_delete").click().run()
    assert {"one", "two"} <= {text.value.split(",")[0] for text in page.text}
    assert len(list_runs(explorer_home)) == 3
    page.button(key="delete_yes").click().run()
    assert not page.exception
    assert [folder.id for folder in list_runs(explorer_home)] == [kept.id]
    assert not first.path.exists() and not second.path.exists()


def test_markdown_in_a_notice_is_escaped_and_the_notice_is_shown_once(page, finished_run):
    page.run()
    page.session_state["notice"] = "The run ![x](https://example.org/x.png) :red[*otter*] cannot be deleted."
    page.run()
    shown = page.toast[0].value
    assert shown.replace("\\", "").startswith("The run ![x](https://example.org/x.png)")
    assert all(f"\\{letter}" in shown for letter in "![]():*") and "notice" not in page.session_state


def test_a_damaged_run_can_be_deleted(page, damaged_run, explorer_home):
    pick(page, 0)
    page.button(key="run_delete").click().run()
    page.button(key="delete_yes").click().run()
    assert not page.exception and list_runs(explorer_home) == []


def test_opening_a_run_leads_to_its_page(page, finished_run):
    pick(page, 0)
    page.button(key="run_open").click().run()
    assert not page.exception and page.query_params["run"] == finished_run.id


def test_downloads_are_links_in_every_export_format(page, finished_run):
    pick(page, 0)
    address = f"api/runs/{finished_run.id}/download"
    links = [link.proto.url for link in page.get("link_button")]
    assert links == [address, *(f"{address}?for={kind}" for kind in EXPORTS)]
    assert {"report", "notebook", "script", "huggingface", "nanogpt"} == {*EXPORTS}


def test_the_comparison_lists_differing_settings_code_and_machine(page, add_run):
    add_run("one")
    second = add_run("one")
    page.run()
    assert "These runs have the same settings, text, code and machine." in [caption.value for caption in page.caption]
    record = second.record()
    changed = record.config.replace({"train.steps": 40, "model.n_layer": 1})
    versions = record.versions | {"code": "0a1b2c3d"}
    second.write_record(record.model_copy(update={"config": changed, "machine": "another", "versions": versions}))
    page.run()
    table = page.dataframe[1].value
    assert not page.exception and list(table["Setting"]) == ["Layers", "Steps", "Code version", "Machine"]
    assert list(table["one"])[:2] == ["2", "20"] and list(table["one (2)"]) == ["1", "40", "0a1b2c3d", "another"]
    assert "compare_seeds" not in [toggle.key for toggle in page.toggle]
    second.write_record(record.model_copy(update={"config": record.config.replace({"train.seed": 7})}))
    page.run()
    assert not page.exception and page.toggle(key="compare_seeds").value


def test_runs_with_different_tokenizers_are_compared_only_in_bits_per_byte(page, add_run, explorer_home):
    config = add_run("letters").record().config.replace({"data.tokenizer": "byte", "train.steps": 2})
    train_run(new_run(explorer_home, config, "bytes"), explorer_home)
    app = page.run()
    assert not app.exception
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert figure["layout"]["yaxis"]["title"]["text"] == "validation loss (bits/byte)"
    bits = [figure["data"][at]["y"][-1] for at in (0, 2)]
    app.segmented_control(key="compare_unit_of_tokens").set_value("nats").run()
    assert not app.exception and not app.get("plotly_chart")
    assert "losses per token do not compare" in app.info[0].value
    losses = [run.status().val_loss for run in list_runs(explorer_home)]
    assert bits == pytest.approx([loss / math.log(2) for loss in losses], rel=1e-5)  # the text is all ASCII


def test_runs_on_tasks_can_be_compared_by_accuracy(page, add_run, explorer_home):
    config = add_run("text").record().config
    for task in ("copy", "parity"):
        task_config = config.replace({"data.corpus": task, "model.block_size": 24, "train.steps": 2})
        train_run(new_run(explorer_home, task_config, task), explorer_home)
    app = page.run()
    app.segmented_control(key="compare_unit_of_tasks").set_value("accuracy").run()
    assert not app.exception
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert figure["layout"]["yaxis"]["title"]["text"] == "validation accuracy"
    drawn = {curve["name"]: curve["y"][-1] for curve in figure["data"] if curve.get("name")}
    measured = {run.name: run.status().val_accuracy for run in list_runs(explorer_home)}
    assert drawn == {name: value for name, value in measured.items() if value is not None} and len(drawn) == 2
    assert any("not a task" in caption.value and "text" in caption.value for caption in app.caption)
