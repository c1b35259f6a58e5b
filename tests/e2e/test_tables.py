"""Tables that are taken along: a name that a spreadsheet would compute stays a name."""

import pandas as pd
import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_the_list_of_runs_is_saved_by_our_button_alone(empty_server, open_page, trained_run, tmp_path):
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
