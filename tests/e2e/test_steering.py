"""Controlling a run as a person does: change settings, take single steps, stop, continue for longer, fork."""

import re

import pytest
from playwright.sync_api import Page, expect

from core.runs.commands import setting_changes
from core.runs.folder import open_run
from tests.e2e.board import wait_until
from tests.e2e.test_every_page import MAX_SHIFT

pytestmark = pytest.mark.e2e

CHART = "document.querySelector('.st-key-live_loss .js-plotly-plot')"
MARKS = f"{CHART}?.data?.[4]?.customdata ?? []"
# With fewer windows the noisy loss may seem to rise, and a fork would start from an earlier step.
SMALL = "model.n_layer:1;model.n_embd:16;train.batch_size:4;train.eval_windows:64"


def move(page: Page, key: str, arrow: str) -> None:
    """Move a slider by one position with an arrow key."""
    page.locator(f".st-key-{key} input[type=range]").press(arrow)


def wait_for_mark(page: Page, label: str) -> None:
    wait_until(page, f"label => ({MARKS}).some(mark => mark.includes(label))", arg=label)


def run_on(page: Page, server):
    return open_run(server.data_dir, re.search(r"run=([0-9a-z-]+)", page.url)[1])


def test_a_run_gets_new_settings_is_stepped_continued_and_forked(free_server, open_page):
    page = open_page()
    page.goto(f"{free_server.url}/train?preset=gpt-quick&set=train.steps:100000;{SMALL}")
    start = page.locator(".st-key-train_start button")
    start.wait_for()
    page.evaluate("window.shifts.length = 0")
    start.click()
    page.wait_for_url(re.compile(r"/train\?.*run="))
    wait_until(page, f"() => {CHART}?.data?.[2]?.x?.length > 1")
    shifts = page.evaluate("window.shifts.map((each) => each.value)")
    assert sum(shifts) < MAX_SHIFT, shifts  # the old page does not shift when the new one appears
    run = run_on(page, free_server)

    page.locator(".st-key-live_settings label").click()
    move(page, "setting_dropout", "ArrowRight")
    wait_for_mark(page, "dropout 0 → 0.05")
    move(page, "setting_learning_rate", "ArrowLeft")
    wait_for_mark(page, "learning rate 6e-3 → 5e-3")
    expect(page.get_by_text("from step").first).to_be_visible()
    assert [(change.setting, change.value) for change in setting_changes(run)] == [
        ("model.dropout", 0.05),
        ("train.learning_rate", 0.005),
    ]
    page.get_by_role("button", name="Restore").click()
    wait_for_mark(page, "learning rate 5e-3 → 6e-3")
    expect(page.locator(".st-key-setting_learning_rate")).to_contain_text("6e-3")
    assert run.status().state == "running"

    page.locator(".st-key-train_pause button").click()
    page.locator(".st-key-train_resume button").wait_for()
    expect(page.locator(".st-key-live_step_detail")).to_be_hidden()
    for _ in range(2):
        at = run.status().step
        page.locator(".st-key-train_step button").click()
        trained = f"Step {at + 1:,} trained on 4 sequences. Its loss is"
        expect(page.locator(".detail-summary")).to_contain_text(trained)
    page.locator(".detail-letter").nth(3).hover()
    expect(page.locator(".detail-hint")).to_contain_text("probability")
    expect(page.locator(".detail-bar").first).to_contain_text("tokens")

    page.locator(".st-key-train_stop button").click()
    page.locator(".st-key-train_resume button").wait_for()
    stopped_at = run.status().step
    end = page.locator(".st-key-setting_steps input")
    end.fill(str(stopped_at + 40))
    end.press("Enter")
    expect(page.locator(".change-label").first).to_contain_text("steps →")
    page.locator(".st-key-train_resume button").click()
    expect(page.get_by_text(f"for {stopped_at + 40:,} steps")).to_be_visible()
    page.locator(".st-key-train_look button").wait_for()
    assert run.status().step == stopped_at + 40
    wait_until(page, f"last => {CHART}.data[2].x.at(-1) === last", arg=stopped_at + 40)

    page.locator(".st-key-fork button").first.click()
    page.locator(".st-key-fork_go button").click()
    page.wait_for_url(re.compile(rf"fork={run.id}"))
    page.reload()  # the address contains everything
    expect(page.get_by_text(f"at step {stopped_at + 40:,}")).to_be_visible()
    page.locator(".st-key-train_start button").click()
    page.wait_for_url(re.compile(r"/train\?run="))
    wait_until(page, f"() => {CHART}?.data?.[2]?.x?.length > 0")
    child = run_on(page, free_server)
    assert (child.record().parent, child.record().parent_step) == (run.id, stopped_at + 40)
    expect(page.locator(".st-key-parent")).to_contain_text(run.name)
    page.get_by_text("log steps").click()
    wait_until(page, f"() => {CHART}.layout.xaxis.type === 'log'")
    parent = page.evaluate(f"(() => {{ const {{x, y}} = {CHART}.data.at(-1); return [[...x], [...y]]; }})()")
    assert page.evaluate(f"{CHART}.layout.xaxis.range[0]") == 0  # the axis starts at step 1 for any fork
    first, *_, last = run.rows("metrics")
    assert (parent[0][0], parent[1][0]) == (1, first["val_loss"])  # the parent's first loss, at the left edge
    assert (parent[0][-1], parent[1][-1]) == (last["step"], last["val_loss"])
    page.go_back()
    expect(page.get_by_text(f"at step {stopped_at + 40:,}")).to_be_visible()
