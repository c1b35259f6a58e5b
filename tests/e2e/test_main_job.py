"""The main job, as a newcomer does it: open the app, train, watch, come back, look inside, generate."""

import re

import pytest
from playwright.sync_api import expect

from core.runs.folder import open_run
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
    assert "turn" not in {row["kind"] for row in run.rows("events")}  # nobody did
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
