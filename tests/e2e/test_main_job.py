"""The main use of the app by a newcomer: train, watch, return, look inside, generate; and a sweep of many runs."""

import re

import pytest
from playwright.sync_api import expect

from core.runs.folder import list_runs, open_run
from core.text.own_text import save_text
from tests.conftest import TEXT
from tests.e2e.board import generate, leave_cores_to_pages, look_inside, on_the_board, wait_for_points, walk_to, watch

pytestmark = pytest.mark.e2e


def test_a_newcomer_trains_watches_looks_inside_and_generates(empty_server, open_page):
    page = open_page()
    page.goto(empty_server.url)
    page.get_by_role("button", name="Train your own").click()
    id = on_the_board(page)
    watch(page)
    assert id in page.url
    run = open_run(empty_server.data_dir, id)
    assert "turn" not in {row["kind"] for row in run.rows("events")}  # nobody changed a setting
    leave_cores_to_pages(run)
    walk_to(page, "Look inside")
    assert id in page.url
    look_inside(page)
    walk_to(page, "Generate")
    generate(page)


def test_text_and_names_from_users_never_become_html(free_server, open_page):
    page = open_page()
    attack = "<img src=x onerror=document.title='owned'> ../../x "
    page.goto(f"{free_server.url}/data")
    page.get_by_role("button", name="Use your own text").click()
    page.locator(".st-key-own_title input").fill(attack)
    page.locator(".st-key-own_text textarea").fill(attack * 60)
    page.locator(".st-key-own_text_go button").click()
    expect(page.locator(".st-key-corpus input")).to_have_value(re.compile("onerror"))
    expect(page.get_by_role("button", name="Train with this text")).to_be_enabled()
    page.get_by_role("button", name="Train with this text").click()
    page.locator(".st-key-train_start button").click()
    wait_for_points(page, more_than=1)
    expect(page.locator(".st-key-live_samples")).to_contain_text("step 0")
    assert page.title() != "owned"
    assert page.locator("img[src=x]").count() == 0
    assert {path.name for path in free_server.data_dir.parent.iterdir()} <= {"home", "home.log"}


def test_a_sweep_is_planned_trained_and_extended(empty_server, open_page):
    corpus = save_text(TEXT, "Hamlet", empty_server.data_dir)
    short = "train.steps:20;train.warmup_steps:0;train.eval_interval:10;train.batch_size:4;model.block_size:8"
    page = open_page()
    page.goto(f"{empty_server.url}/train?preset=bigram&set=data.corpus:{corpus.name};{short}")
    page.locator(".st-key-sweep_form").get_by_role("button", name="Sweep over settings").click()
    page.get_by_label("Settings to vary").click()
    page.get_by_role("option", name="Learning rate", exact=True).click()
    expect(page.get_by_text("12 runs, about")).to_be_visible()
    page.locator(".st-key-sweep_points input").fill("3")
    page.keyboard.press("Enter")
    expect(page.get_by_text("3 runs, about")).to_be_visible()
    page.keyboard.press("Escape")
    page.locator(".st-key-sweep_start button").click()
    page.wait_for_url(re.compile(r"/sweeps\?sweep="))
    expect(page.locator(".st-key-sweep_state")).to_contain_text("3 of 3 runs")
    expect(page.locator(".st-key-sweep_best")).to_contain_text("nats/token")
    expect(page.locator(".st-key-sweep_slices .js-plotly-plot")).to_be_visible()
    page.locator(".st-key-sweep_more input").fill("1")
    page.keyboard.press("Enter")
    page.locator(".st-key-sweep_extend button").click()  # the page follows the sweep again
    expect(page.locator(".st-key-sweep_state")).to_contain_text("4 of 4 runs")
    page.locator(".st-key-sweep_open button").click()
    page.wait_for_url(re.compile(r"/train\?run="))
    assert page.url.partition("run=")[2] in {run.id for run in list_runs(empty_server.data_dir)}
