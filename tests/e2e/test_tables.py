"""Tables that link to runs and are saved as CSV, and a loss curve as sound and speech."""

import re

import pandas as pd
import pytest
from playwright.sync_api import expect

from tests.e2e.board import at_rest, wait_for_points

pytestmark = pytest.mark.e2e


def test_the_table_of_runs_is_saved_only_by_our_own_button(empty_server, open_page, trained_run, tmp_path):
    trained_run.rename("=1+1")
    page = open_page()
    page.goto(f"{empty_server.url}/runs")
    table = page.get_by_test_id("stDataFrame")
    table.hover()
    expect(page.get_by_role("button", name="Search")).to_be_visible()
    expect(page.locator('[aria-label="Download as CSV"]')).to_have_count(1)
    expect(page.locator('[aria-label="Download as CSV"]')).to_be_hidden()
    with page.expect_download() as download:
        page.locator(".st-key-runs_table_csv").get_by_role("button").click()
    saved = tmp_path / "runs.csv"
    download.value.save_as(saved)
    assert saved.read_bytes().startswith(b"\xef\xbb\xbf")
    runs = pd.read_csv(saved)
    assert list(runs["Name"]) == ["'=1+1"] and runs["Validation loss"].dtype == float


def test_a_loss_curve_is_spoken_point_by_point(server, open_page, trained_run):
    first, second = [row["loss"] for row in trained_run.rows("metrics") if row.get("loss") is not None][:2]
    page = open_page()
    page.goto(f"{server.url}/train?run={trained_run.id}")
    wait_for_points(page, more_than=2)
    assert not page.evaluate("'c2mChart' in globalThis")  # loaded on demand only
    hear, spoken = page.get_by_role("button", name="Hear it"), page.locator(".loss-spoken > div").last
    hear.press("Enter")
    expect(hear).to_have_attribute("aria-pressed", "true")
    expect(spoken).to_contain_text('Line chart showing "training".')
    expect(page.locator(".loss-chart")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(spoken).to_contain_text(re.compile(rf"\b{second:.2f}\b"))
    page.keyboard.press("ArrowLeft")
    expect(spoken).to_contain_text(re.compile(rf"\b{first:.2f}\b"))
    page.keyboard.press("PageDown")
    expect(spoken).to_contain_text("validation")
    hear.press("Enter")
    expect(spoken).to_have_count(0)


def test_a_row_of_the_table_opens_its_run_and_the_selection_survives_sorting(empty_server, open_page, trained_run):
    trained_run.rename("otter")
    page = open_page()
    page.goto(f"{empty_server.url}/runs")
    table = page.locator(".dvn-scroller")  # this element covers the canvas
    expect(table).to_be_visible()
    at_rest(page)
    table.click(position={"x": 16, "y": 57})  # the box of the first row
    expect(page.locator(".st-key-run_delete")).to_be_visible()
    table.click(position={"x": 90, "y": 19})  # sorts by the name
    expect(page.locator(".st-key-run_delete")).to_be_visible()
    table.click(position={"x": 216, "y": 57})  # "Open", after the box, the color and a name of 120 pixels
    page.wait_for_url(re.compile(f"/train\\?run={trained_run.id}"))
    expect(page.get_by_text("otter").first).to_be_visible()
